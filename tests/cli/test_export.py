"""``export`` and ``merge``: a model on a run's string as a checkpoint, what merging is worth, and what is refused."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file
from torch import nn

import weightstring as ws
from weightstring.study.merge import best_point
from weightstring.tasks import load_task

TASK = '''\
"""Three classes by a network with BatchNorm, on train, evaluation and hold-out data."""

import torch
from torch import nn

import weightstring as ws


def labelled(count, seed):
    generator = torch.Generator().manual_seed(seed)
    inputs = 2 + torch.randn(count, 4, generator=generator)
    return inputs, (inputs.sum(1) - 8).sign().long() + 1


def an_unusually_long_name(output, targets):
    return (output.argmax(1) != targets).double().mean()


def network():
    return nn.Sequential(nn.Linear(4, 6), nn.BatchNorm1d(6), nn.Tanh(), nn.Linear(6, 3))


def task():
    sets = {"train": labelled(31, 0), "evaluate": labelled(23, 1), "holdout": labelled(17, 2)}
    return ws.ModuleProblem(
        network(),
        nn.CrossEntropyLoss(),
        **sets,
        metrics={"an_unusually_long_name": an_unusually_long_name},
        batch_size=None,
        engine="loop",
    )
'''


@dataclass(frozen=True)
class Classes:
    """A task with BatchNorm and a run between two of its models, which is straight and far from flat."""

    task: str
    run: Path

    @property
    def string(self) -> ws.WeightString:
        return ws.load(self.run, load_task(self.task)).string


@pytest.fixture(scope="module")
def classes(cli, tmp_path_factory) -> Iterator[Classes]:
    root = tmp_path_factory.mktemp("classes")
    (root / "classes.py").write_text(TASK)
    task = f"{root}/classes.py:task"
    ends = [f"{root}/{seed}.safetensors" for seed in (0, 1)]
    for seed, out in enumerate(ends):
        assert cli("train", task, "--seed", seed, "--until", 0.9, "--out", out).code == 0
    assert cli("connect", task, *ends, "--threshold", 20, "--out", root / "run").code == 0
    return Classes(task, root / "run")


def about(path: Path) -> dict[str, object]:
    with safe_open(path, "pt") as file:
        return json.loads(file.metadata()["weightstring"])


def loss_of(path: Path, problem: ws.ModuleProblem) -> float:
    return problem.measure(problem.flatten(load_file(path)).unsqueeze(0))["loss"].item()


class TestExport:
    @pytest.mark.parametrize("s", [0, 0.3, 1])
    def test_the_loss_is_that_of_the_string_there(self, cli, workshop, tmp_path, s):
        out = tmp_path / "new" / "net.safetensors"
        done = cli("export", workshop.connected, "--at", s, "--out", out)
        assert done.code == 0, done.err
        problem = load_task(workshop.task)
        string = ws.load(workshop.connected, problem).string
        assert torch.equal(problem.flatten(load_file(out)), string.at(s))
        expected = problem.measure(string.at(s).unsqueeze(0), problem.quantities)
        assert loss_of(out, problem) == pytest.approx(expected["loss"].item(), rel=1e-6)
        told = about(out)
        assert (told["run"], told["task"], told["s"]) == (str(workshop.connected), workshop.task, s)
        assert told["measured"] == pytest.approx({name: value.item() for name, value in expected.items()}, rel=1e-6)
        assert done.out.startswith(f"{out}\ns = {s:.6g}, loss {told['measured']['loss']:.6g}, train_loss ")

    def test_the_ends_come_back_byte_for_byte(self, cli, workshop, tmp_path):
        for s, end in ((0, workshop.a), (1, workshop.b)):
            assert cli("export", workshop.connected, "--at", s, "--out", tmp_path / "end.safetensors").code == 0
            one, other = load_file(tmp_path / "end.safetensors"), load_file(end)
            assert one.keys() == other.keys()
            assert all(torch.equal(one[name], other[name]) for name in one)

    def test_the_best_is_no_higher_than_any_sample(self, cli, workshop, tmp_path):
        out = tmp_path / "best.safetensors"
        assert cli("export", workshop.connected, "--at", "best", "--out", out).code == 0
        problem = load_task(workshop.task)
        string = ws.load(workshop.connected, problem).string
        assert loss_of(out, problem) <= min(string.curve.values["loss"]) * (1 + 1e-6)
        assert about(out)["at"] == "best"
        assert about(out)["s"] == best_point(problem, string).s

    @pytest.mark.slow
    def test_buffers_are_those_of_the_model(self, cli, classes, tmp_path):
        out = tmp_path / "middle.safetensors"
        assert cli("export", classes.run, "--at", "midpoint", "--out", out).code == 0
        net = nn.Sequential(nn.Linear(4, 6), nn.BatchNorm1d(6), nn.Tanh(), nn.Linear(6, 3))
        net.load_state_dict(load_file(out))
        names: dict[str, object] = {}
        exec(TASK, names)
        inputs, targets = names["labelled"](23, 1)
        with torch.no_grad():
            loss = nn.functional.cross_entropy(net.eval()(inputs), targets).item()
        told = about(out)
        assert told["s"] == 0.5
        assert told["measured"]["loss"] == pytest.approx(loss, rel=1e-5)
        problem = load_task(classes.task)
        assert loss == pytest.approx(problem.measure(classes.string.at(0.5).unsqueeze(0))["loss"].item(), rel=1e-5)

    def test_the_same_place_gives_the_same_bytes(self, cli, workshop, tmp_path):
        for name in ("one", "two"):
            out = tmp_path / f"{name}.safetensors"
            assert cli("export", workshop.connected, "--at", 0.3, "--out", out).code == 0
        assert (tmp_path / "one.safetensors").read_bytes() == (tmp_path / "two.safetensors").read_bytes()

    def test_an_unresolved_run_has_a_string_too(self, cli, workshop, tmp_path):
        assert cli("export", workshop.unresolved, "--at", 0.5, "--out", tmp_path / "net.safetensors").code == 0


SAVING = '''
import json

import torch
from torch import nn

import weightstring as ws


class Saving(nn.Linear):
    """A module that writes a folder of itself, as those of Hugging Face do."""

    def save_pretrained(self, folder):
        torch.save(self.state_dict(), folder / "weights.pt")
        (folder / "config.json").write_text(json.dumps({"features": self.in_features}))


def task():
    inputs = torch.linspace(-1, 1, 12).view(6, 2)
    return ws.ModuleProblem(Saving(2, 1), nn.MSELoss(), (inputs, inputs.sum(1, keepdim=True)), engine="loop")
'''


class TestFolder:
    def test_a_model_that_writes_folders_is_exported_as_one(self, cli, tmp_path):
        (tmp_path / "task.py").write_text(SAVING)
        task, run, out = f"{tmp_path}/task.py:task", tmp_path / "run", tmp_path / "merged"
        assert cli("connect", task, "random:0", "random:1", "--threshold", 100, "--out", run).code == 0
        assert cli("export", run, "--at", 0.3, "--out", out).code == 0
        problem = load_task(task)
        held = torch.load(out / "weights.pt", weights_only=True)
        assert torch.equal(problem.flatten(held), ws.load(run, problem).string.at(0.3))
        assert json.loads((out / "config.json").read_text()) == {"features": 2}
        assert json.loads((out / "weightstring.json").read_text())["s"] == 0.3
        again = cli("export", run, "--at", 0.3, "--out", out)
        assert (again.code, "there is something already" in again.err) == (2, True)

    def test_any_other_model_is_a_file(self, cli, workshop, tmp_path):
        refused = cli("export", workshop.connected, "--at", 0.3, "--out", tmp_path / "merged")
        assert (refused.code, "has no save_pretrained() to write a folder" in refused.err) == (2, True)


class TestMerge:
    def test_the_table_fits_80_columns(self, cli, classes, tmp_path, monkeypatch):
        monkeypatch.setenv("COLUMNS", "80")
        monkeypatch.chdir(tmp_path)
        done = cli("merge", classes.run, "--points", 3)
        assert done.code == 0, done.err
        assert max(map(len, done.out.splitlines())) <= 80
        assert "3 models along the string: class probabilities (softmax over axis 1)" in done.out
        merging = ws.merge(load_task(classes.task), classes.string, points=3)
        rows = [line.split() for line in done.out.splitlines() if line.startswith("holdout_loss ")]
        single = [*merging.ends, merging.midpoint, merging.best]
        assert rows[0][1:] == [f"{point.values['holdout_loss']:.5g}" for point in single]
        assert rows[1][1] == f"{merging.ensemble.values['holdout_loss']:.5g}"
        assert " ".join(merging.verdict.split()) in " ".join(done.out.split())
        assert " ".join(f"note: {merging.warning}".split()) in " ".join(done.out.split())

    def test_json_and_nothing_else_on_stdout(self, cli, classes):
        done = cli("merge", classes.run, "--points", 3, "--json")
        printed = json.loads(done.out)
        merging = ws.merge(load_task(classes.task), classes.string, points=3)
        assert printed["run"] == str(classes.run)
        assert printed["midpoint"] == {"s": 0.5, "values": pytest.approx(dict(merging.midpoint.values))}
        assert printed["best"]["s"] == merging.best.s
        assert printed["ensemble"]["average"] == "probabilities"
        assert printed["ensemble"]["values"] == pytest.approx(dict(merging.ensemble.values))
        assert printed["ensemble"]["mean"] == pytest.approx(merging.ensemble.mean)
        assert [model["s"] for model in printed["ensemble"]["models"]] == [0, 0.5, 1]
        assert printed["warning"] == merging.warning

    def test_the_average_is_the_callers_choice(self, cli, classes):
        printed = json.loads(cli("merge", classes.run, "--points", 2, "--average", "outputs", "--json").out)
        assert printed["ensemble"]["average"] == "outputs"

    @pytest.mark.parametrize("command", ["export", "merge"])
    def test_help(self, cli, command):
        done = cli(command, "--help")
        assert done.code == 0
        assert done.out.startswith(f"usage: weightstring {command}")


class TestMisuse:
    @pytest.mark.parametrize(
        ("arguments", "says"),
        [
            ("export run --at 1.01 --out a.safetensors", "--at: '1.01' is not on the string: give 0 to 1"),
            ("export run --at nan --out a.safetensors", "'nan' is not on the string"),
            ("export run --at worst --out a.safetensors", "'worst' is not on the string"),
            ("export run --out a.safetensors", "--at"),
            ("merge run --points 1", "1 is less than 2"),
            ("merge run --average logits", "'logits'.*probabilities"),
            ("merge nowhere", "no run here"),
            ("export nowhere --at 0.5 --out a.safetensors", "no run here"),
        ],
    )
    def test_the_parser_refuses_in_one_line(self, refused, arguments, says):
        assert re.search(says, refused(*arguments.split()))

    def test_other_kinds_of_files_are_refused(self, refused, workshop):
        assert "name it net.safetensors" in refused("export", workshop.connected, "--at", 0.5, "--out", "net.pt")

    @pytest.mark.parametrize("command", [["merge"], ["export", "--at", "0.5", "--out", "net.safetensors"]])
    def test_a_run_without_a_task_is_refused(self, refused, workshop, tmp_path, command):
        shutil.copytree(workshop.connected, tmp_path / "run")
        manifest = json.loads((tmp_path / "run" / "manifest.json").read_text())
        (tmp_path / "run" / "manifest.json").write_text(json.dumps({**manifest, "task": None}))
        assert "run: begun from Python, without a task" in refused(command[0], "run", *command[1:])

    @pytest.mark.parametrize("command", [["merge"], ["export", "--at", "0.5", "--out", "net.safetensors"]])
    def test_an_unfinished_run_is_refused(self, refused, workshop, tmp_path, command):
        shutil.copytree(workshop.connected, tmp_path / "run")
        (tmp_path / "run" / "result.json").unlink()
        assert "`weightstring resume run` goes on with it" in refused(command[0], "run", *command[1:])

    def test_a_task_that_became_another_is_refused(self, refused, workshop, tmp_path):
        shutil.copytree(workshop.connected, tmp_path / "run")
        line = refused("merge", "run", "--task", workshop.task, "--set", "lr=0.01")
        assert "a run of another problem" in line
