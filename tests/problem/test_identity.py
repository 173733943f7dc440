"""Functions by what they compute: the same however they are imported, another once they are edited."""

from __future__ import annotations

import functools
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

import weightstring as ws
from weightstring.errors import InvalidRun
from weightstring.problem.digests.identity import lines_of
from weightstring.tasks import load_task

TASK = '''
import functools
import torch
import weightstring as ws
from torch import nn
import own_helpers
import own_helpers as h

POWER = 2

class Net(nn.Module):
    scale = 2.0
    def __init__(self):
        super().__init__()
        self.layer, self.factor, self.calls = nn.Linear(2, 1), 2.0, 0
    def forward(self, inputs):
        self.calls += 1
        return self.scaled(self.layer(inputs))
    def scaled(self, x):
        return x * self.factor

class Focal(nn.Module):
    def __init__(self, gamma):
        super().__init__()
        self.gamma, self.calls = gamma, 0
    def forward(self, output, targets):
        self.calls += 1
        return (output - targets).abs().pow(self.gamma).mean()

def clipped(output, targets, most):
    return (output - targets).abs().clamp(max=most).mean()

@torch.no_grad()
def error(output, targets):
    return (output.sign() != targets.sign()).double().mean()

def problem():
    weight = 0.5
    def loss(output, targets):
        """Of its own."""
        # and a comment
        return weight * h.difference(output, targets).pow(POWER).mean()
    torch.manual_seed(0)
    x = torch.randn(9, 2)
    metrics = {"focal": Focal(2.0), "clipped": functools.partial(clipped, most=1.0), "error": error,
               "mean": lambda output, targets: (output - targets).mean()}
    return ws.ModuleProblem(Net(), loss, (x, x[:, :1]), metrics=metrics, engine="loop", batch_size=None)

if __name__ == "__main__":
    print(problem().fingerprint())
'''
HELPERS = """
def difference(a, b):
    return a - b

def unused(a):
    return a
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    (tmp_path / "own_task.py").write_text(TASK)
    (tmp_path / "own_helpers.py").write_text(HELPERS)
    return tmp_path


def by_file(folder: Path) -> ws.ModuleProblem:
    sys.modules.pop("own_helpers", None)
    return load_task(f"{folder / 'own_task.py'}:problem")


def by_import() -> ws.ModuleProblem:
    import own_task

    return own_task.problem()


@pytest.fixture(autouse=True)
def _forgotten():
    yield
    for name in ("own_task", "own_helpers"):
        sys.modules.pop(name, None)


@pytest.mark.slow
def test_a_script_computes_the_same_as_what_is_imported_from_it(folder):
    done = subprocess.run([sys.executable, folder / "own_task.py"], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == by_file(folder).fingerprint()


@pytest.mark.slow
def test_a_run_begun_from_the_command_line_belongs_to_what_is_imported(folder, monkeypatch):
    begun, imported = by_file(folder), by_import()
    a, b = begun.initial(0), begun.initial(1)
    ws.connect(begun, a, b, threshold=100.0, store=folder / "run")
    assert ws.load(folder / "run", imported).string.problem is imported
    (folder / "own_task.py").write_text(TASK.replace("weight = 0.5", "weight = 0.25"))
    with pytest.raises(InvalidRun, match=r"run: a run of another problem; load it without one, or with its own: the "):
        ws.load(folder / "run", by_file(folder))
    monkeypatch.setattr("platform.python_version", lambda: "3.99.1")
    with pytest.raises(InvalidRun, match=r"another problem \(functions of your own are .* another in Python 3.99 than"):
        ws.load(folder / "run", by_file(folder))


@pytest.mark.parametrize(
    ("was", "becomes"),
    [
        ("weight = 0.5", "weight = 0.25"),
        ("POWER = 2", "POWER = 4"),
        ("weight * h", "weight + h"),
        ("Focal(2.0)", "Focal(3.0)"),
        ("abs().pow", "square().pow"),
        ("most=1.0", "most=2.0"),
        ("clamp(max", "clamp(min"),
        ("output.sign() !=", "output.sign() =="),
        ("(output - targets).mean()}", "(targets - output).mean()}"),
        ("x * self.factor", "x + self.factor"),
        ("nn.Linear(2, 1), 2.0", "nn.Linear(2, 1), 3.0"),
        ("return a - b", "return b - a"),
    ],
)
def test_an_edit_is_noticed(folder, was, becomes):
    before = by_file(folder).fingerprint()
    for file, text in (("own_task.py", TASK), ("own_helpers.py", HELPERS)):
        (folder / file).write_text(text.replace(was, becomes))
    assert by_file(folder).fingerprint() != before


def test_what_changes_nothing_is_not_noticed(folder):
    before = by_file(folder)
    text = TASK.replace('"""Of its own."""', "").replace("# and a comment", "\n\n").replace("POWER = 2", "\nPOWER = 2")
    (folder / "own_task.py").write_text(text + "\nOTHER = 3\n")
    (folder / "own_helpers.py").write_text(HELPERS.replace("return a\n", "return 2 * a\n"))
    assert by_file(folder).fingerprint() == before.fingerprint()


def counted(calls: list[int], scale: float = 1.0):
    def loss(output: Tensor, targets: Tensor) -> Tensor:
        calls.append(1)
        return scale * (output - targets).square().mean()

    return loss


def test_what_a_call_changes_is_no_setting():
    x = torch.ones(4, 1)

    def fingerprint(*settings) -> str:
        return ws.ModuleProblem(nn.Linear(1, 1), counted(*settings), (x, x), engine="loop").fingerprint()

    assert fingerprint([]) == fingerprint([1, 2, 3]) != fingerprint([], 2.0)


class Scaled:
    def __init__(self, scale: object) -> None:
        self.scale = scale

    def __call__(self, output: Tensor, targets: Tensor) -> Tensor:
        return self._difference(output, targets).mean()

    def _difference(self, output: Tensor, targets: Tensor) -> Tensor:
        return (output - targets) * self.scale

    def method(self, output: Tensor, targets: Tensor) -> Tensor:
        return self(output, targets)


def plain(output: Tensor, targets: Tensor) -> Tensor:
    return output


def test_callables_of_every_kind_differ_in_their_settings():
    named = [
        Scaled(1.0),
        Scaled(2.0),
        Scaled(torch.ones(2)),
        Scaled(torch.ones(2) + 1e-6),
        Scaled(1.0)._difference,
        Scaled(2.0)._difference,
        lambda output, targets: output,
        lambda output, targets, more=1: output,
        lambda output, targets, more=2: output,
        lambda output, targets: output in {"a", "b", "c"},
        functools.lru_cache(plain),
        torch.no_grad()(plain),
        functools.partial(Scaled(1.0), targets=None),
        functools.partial(Scaled(2.0), targets=None),
        nn.MSELoss(),
        nn.MSELoss(reduction="sum"),
        nn.CrossEntropyLoss(weight=torch.ones(2)),
        nn.CrossEntropyLoss(weight=torch.zeros(2)),
        nn.CrossEntropyLoss(ignore_index=0),
        nn.CrossEntropyLoss(label_smoothing=0.1),
        functools.partial(nn.functional.cross_entropy, weight=torch.tensor([1.0, 2.0])),
        functools.partial(nn.functional.cross_entropy, weight=torch.tensor([1.0, 2.0 + 1e-6])),
        torch.nn.functional.max_pool1d,
        torch.nn.functional.max_pool2d,
        torch.dist,
    ]
    lines = [lines_of(each) for each in named]
    assert len(set(lines)) == len(lines)
    assert not any("0x" in line for each in lines for line in each)
    assert lines_of(Scaled(1.0)) == lines[0]


def test_a_method_counts_by_what_it_asks_of_its_object_and_no_more():
    trainer = Scaled(1.0)
    before = lines_of(trainer.method)
    trainer.epoch, trainer.net = 3, nn.Linear(2, 2)
    assert lines_of(trainer.method) == before
    trainer.scale = 2.0
    assert lines_of(trainer.method) != before


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_compiling_and_modes_change_nothing():
    assert lines_of(torch.compile(plain)) == lines_of(plain)
    held = Scaled(nn.CrossEntropyLoss())
    before = lines_of(held)
    held.scale.eval()
    assert lines_of(held) == before
