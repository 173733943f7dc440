"""However a command ends: an exit code, one line, no traceback; and what was written is kept."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from torch import nn

import weightstring as ws
from weightstring.cli.ending import DEBUG, FAULT
from weightstring.errors import InvalidSetting, UserCodeFailed

RAISING = """\
raise_at = Path(__file__).with_name("raise_at")


class Net(Net):
    def forward(self, x):
        if raise_at.exists() and self[2].bias.abs().max() > float(raise_at.read_text()):
            {what}
        return super().forward(x)
"""


@pytest.fixture
def moody(workshop, tmp_path):
    """A task whose module raises for large biases, as soon as a file beside it says from which on."""

    def write(what: str) -> tuple[str, Path]:
        before, middle, after = (workshop.root / "sine.py").read_text().partition("\n\ndef task")
        source = before.replace("import time\n", "import time\nfrom pathlib import Path\n")
        (tmp_path / "moody.py").write_text(source + "\n\n" + RAISING.format(what=what) + middle + after)
        return f"{tmp_path}/moody.py:task", tmp_path / "raise_at"

    return write


@pytest.mark.many(quick=2)
@pytest.mark.parametrize(
    ("what", "says"),
    [
        ("raise ValueError('boom\\nover two lines')", "ValueError: boom over two lines"),
        ("return undefined", "NameError: name 'undefined' is not defined"),
        ("x @ torch.ones(7, 7)", "RuntimeError: mat1 and mat2"),
        ("import sys; sys.exit(0)", "SystemExit: 0"),
        ("return self.forward(x)", "RecursionError: maximum recursion depth exceeded"),
    ],
)
def test_a_module_that_raises_for_some_weights_is_told_with_its_place(cli, workshop, moody, tmp_path, what, says):
    task, raise_at = moody(what)
    run, command = tmp_path / "run", ("connect", task, workshop.a, workshop.b, "--threshold", 0.051)
    assert cli(*command, "--max-beads", 2, "--out", run).code == 3
    raise_at.write_text("0.5")  # between the bias of the networks and that of beads
    failed = cli(*command, "--out", run)
    assert failed.code == 2
    assert failed.out == ""
    assert failed.err.count("\n") == 1
    assert "Traceback" not in failed.err
    assert f"moody.py:{line_of(tmp_path / 'moody.py', what)}" in failed.err or "forward" in what
    assert says.split(":")[0] in failed.err
    raise_at.unlink()
    assert cli(*command, "--out", run).code == 0  # mended: the same call goes on


def line_of(path: Path, text: str) -> int:
    return next(i for i, line in enumerate(path.read_text().splitlines(), 1) if text.split("\\n")[0][:20] in line)


class Raising(nn.Module):
    """Raises once it is armed."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(3))
        self.armed = False

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if self.armed:
            raise KeyError("mine")
        return x @ self.weight.tanh()


def raising() -> tuple[ws.ModuleProblem, Raising]:
    x = torch.eye(3)
    problem = ws.ModuleProblem(Raising(), nn.functional.mse_loss, (x, x.sum(1)), batch_size=None, engine="loop")
    return problem, problem.evaluating.module  # type: ignore[return-value]


def test_in_python_it_is_the_cause_of_an_error_of_ours():
    problem, module = raising()
    module.armed = True
    with pytest.raises(UserCodeFailed, match=r"test_ending\.py:\d+: KeyError: 'mine', while computing ") as caught:
        problem.measure(torch.zeros(1, 3))
    assert isinstance(caught.value.__cause__, KeyError)


def test_a_stop_rule_or_a_display_that_raises_is_told_too(tmp_path):
    class Display:
        def stage(self, name: str, seconds: float | None = None) -> None:
            pass

        def estimated(self, estimate: object) -> None:
            pass

        def event(self, event: object) -> None:
            raise LookupError("display")

        def measuring(self) -> None:
            raise LookupError("display")

    problem, _ = raising()
    ends = torch.full((3,), -2.0), torch.full((3,), 2.0)
    with pytest.raises(UserCodeFailed, match=r"test_ending\.py:\d+: LookupError: display, in .* of round 1; "):
        ws.connect(problem, *ends, 4.0, store=tmp_path / "run", progress=Display())
    assert (tmp_path / "run" / "manifest.json").exists()


def test_an_unforeseen_fault_is_one_line_and_a_file(cli, workshop, tmp_path, monkeypatch):
    def fail(*_: object, **__: object) -> None:
        raise ZeroDivisionError("nobody\nforesaw it")

    monkeypatch.setattr("weightstring.load", fail)
    done = cli("show", workshop.connected)
    assert (done.code, done.out, done.err.count("\n")) == (FAULT, "", 1)
    assert "ZeroDivisionError: nobody foresaw it" in done.err
    kept = Path(done.err.partition("the traceback is in ")[2].partition(": please")[0])
    assert kept.parent == workshop.connected
    assert "Traceback" in kept.read_text()
    kept.unlink()
    monkeypatch.setenv(DEBUG, "1")
    assert "Traceback" in cli("show", workshop.connected).err
    kept.unlink()


@pytest.mark.slow
def test_brackets_and_colons_in_a_path_are_no_markup(cli, workshop, tmp_path):
    run = tmp_path / "a [bold]run[/nonsense] :smile:"
    done = cli("connect", workshop.task, workshop.a, workshop.b, "--threshold", 0.051, "--out", run)
    assert (done.code, done.err) == (0, "")
    assert f"run   {run}\n" in done.out


@pytest.mark.parametrize(
    "options",
    [
        ("--seed", 2**64),
        ("--seconds", "nan"),
        ("--seconds", -1),
        ("--strategy", "bezier", "--points", 10**9),
        ("--strategy", "poly-chain", "--bends", 10**9),
        ("--out", "x" * 300),
    ],
)
def test_numbers_and_names_beyond_all_bounds_are_refused(refused, workshop, options):
    refused("connect", workshop.task, workshop.a, workshop.b, *options)


def test_seeds_beyond_a_generator_are_refused(refused, workshop):
    assert "64 bits" in refused("connect", workshop.task, f"random:{2**70}", workshop.b)


def test_settings_given_without_a_name_are_refused():
    for wrong in (lambda: ws.Constrained("hyperplane"), lambda: ws.Bezier("two"), lambda: ws.BreadthFirst("soft")):
        with pytest.raises(InvalidSetting, match="give a number; name settings"):
            wrong()


@pytest.mark.slow
class TestOutput:
    def ran(self, *arguments: object, **options: object) -> subprocess.CompletedProcess[str]:
        script = Path(sys.executable).with_name("weightstring")
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONIOENCODING": "ascii"}
        return subprocess.run(
            [script, *map(str, arguments)], stderr=subprocess.PIPE, text=True, env=environment, **options
        )

    def test_that_takes_no_letters_but_ascii(self, workshop):
        done = self.ran("show", workshop.connected, stdout=subprocess.PIPE)
        assert (done.returncode, done.stderr) == (0, "")

    def test_on_a_full_disk(self, workshop):
        with open("/dev/full", "w") as full:
            done = self.ran("show", workshop.connected, stdout=full)
        assert done.returncode == 2
        assert done.stderr == "weightstring: standard output cannot be written: No space left on device\n"

    def test_that_nobody_reads(self, workshop):
        read, write = os.pipe()
        os.close(read)
        done = self.ran("show", workshop.connected, stdout=write)
        os.close(write)
        assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.slow
def test_no_folders_name_steers_the_terminal(cli, workshop, tmp_path):
    run = tmp_path / "run\x1b[2J"
    shutil.copytree(workshop.connected, run)
    for command in (
        ("show",),
        ("report",),
        ("merge",),
        ("certify",),
        ("sharpness", "--between", "0", "--out", run / "kappa.json"),
        ("export", "--at", "0.5", "--out", run / "m.safetensors"),
    ):
        done = cli(command[0], run, *command[1:])
        assert done.code == 0, done.err
        assert "\x1b" not in done.out + done.err
    for command, *words in (("random-pair",), ("atlas", "random:1", "random:2", "--max-beads", "2")):
        done = cli(command, workshop.task, *words, "--out", run / command)
        assert done.code == 0, done.err
        assert "\x1b" not in done.out + done.err


PARENT = """
import sys, time
import weightstring as ws
if __name__ == "__main__":
    pool = ws.Processes(2)
    print(pool.pool.submit(__import__("os").getpid).result(), flush=True)
    pool.pool.submit(time.sleep, 100)
    time.sleep(100)
"""


@pytest.mark.slow
def test_workers_end_with_a_parent_that_is_killed(tmp_path):
    (tmp_path / "parent.py").write_text(PARENT)
    with subprocess.Popen([sys.executable, tmp_path / "parent.py"], stdout=subprocess.PIPE, text=True) as parent:
        worker = int(parent.stdout.readline())
        parent.kill()
    for _ in range(200):
        try:
            state = Path(f"/proc/{worker}/stat").read_text().rpartition(")")[2].split()[0]
        except FileNotFoundError:
            break
        if state == "Z":
            break
        time.sleep(0.1)
    else:
        pytest.fail("the worker outlived its parent")
