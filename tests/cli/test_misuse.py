"""Every misuse ends with exit code 2 and one line that names the thing, and leaves every file as it was."""

from __future__ import annotations

import io
import json
import os
import pickle
import re
import shutil
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn

State = dict[str, torch.Tensor]


class TestArguments:
    @pytest.mark.parametrize(
        ("arguments", "says"),
        [
            ("", "COMMAND"),
            ("conect digits a b", "unknown command 'conect' \\(did you mean connect"),
            ("connect digits a b --treshold 1", "weightstring connect: .*'--treshold' \\(did you mean --threshold"),
            ("show run other", "weightstring show: unknown argument 'other'"),
            ("train digits --out a.safetensors", "--until"),
            ("train digits --until low --out a.safetensors", "--until.*'low'"),
            ("train digits --seed -1 --until 1 --out a.safetensors", "-1 is less than 0"),
            ("train digits --seed 1.5 --until 1 --out a.safetensors", "'1.5' is not a whole number"),
            ("train digits --set width --until 1 --out a.safetensors", "'width' is not KEY=VALUE"),
            ("connect digits a.safetensors", "required: B"),
            ("connect digits a b --strategy lucky", "'lucky'.*greedy"),
            ("connect digits a b --max-beads 0", "0 is less than 1"),
            ("show run --page", "--page"),
        ],
    )
    def test_the_parser_refuses_in_one_line(self, refused, arguments, says):
        assert re.search(says, refused(*arguments.split()))


class PayloadNet(nn.Linear):
    """A whole module, as ``torch.save(net)`` writes it."""


class Payload:
    """Touches a file when it is unpickled."""

    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.system, (f"touch {self.target}",)


def truncated(path: Path, state: State) -> None:
    save_file(state, path)
    path.write_bytes(path.read_bytes()[:-5])


def forged(path: Path, state: State, **changes: object) -> None:
    """Rewrite the header of a good file and leave its data."""
    save_file(state, path)
    content = path.read_bytes()
    (size,) = struct.unpack("<Q", content[:8])
    header = json.loads(content[8 : 8 + size])
    header["0.weight"].update(changes)
    text = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + content[8 + size :])


def torch_zip_without_data(path: Path, state: State) -> None:
    torch.save(state, path)
    content = io.BytesIO(path.read_bytes())
    with zipfile.ZipFile(content) as whole, zipfile.ZipFile(path, "w") as part:
        for name in whole.namelist():
            if "/data/" not in name:
                part.writestr(name, whole.read(name))


def first(state: State, change: Callable[[torch.Tensor], torch.Tensor]) -> State:
    return {name: change(tensor) if name == "0.weight" else tensor for name, tensor in state.items()}


def spoiled(tensor: torch.Tensor) -> torch.Tensor:
    spoiled = tensor.clone()
    spoiled[1] = torch.nan
    return spoiled


STATES = {
    "shape": (lambda s: first(s, lambda w: w[:-1].clone()), r"'0.weight'.*\(4, 1\).*\(5, 1\)"),
    "dtype": (lambda s: first(s, torch.Tensor.long), r"'0.weight'.*int64.*float32"),
    "NaN": (lambda s: first(s, spoiled), r"'0.weight'.*1 of 5.*NaN"),
    "missing key": (lambda s: {name: s[name] for name in s if name != "2.bias"}, r"'2.bias'"),
    "extra key": (lambda s: {**s, "3.bias": torch.ones(2)}, r"'3.bias'.*not in the module"),
}

FILES: dict[str, tuple[str, Callable[[Path, State], object], str]] = {
    "truncated": ("b.safetensors", truncated, "truncated"),
    "forged size": ("b.safetensors", lambda p, s: forged(p, s, shape=[10**9, 10**9]), "damaged"),
    "forged offsets": ("b.safetensors", lambda p, s: forged(p, s, data_offsets=[0, 10**12]), "damaged"),
    "forged overlap": ("b.safetensors", lambda p, s: forged(p, s, data_offsets=[4, 24]), "damaged"),
    "forged dtype": ("b.safetensors", lambda p, s: forged(p, s, dtype="F128"), "damaged"),
    "header longer than file": ("b.safetensors", lambda p, s: p.write_bytes(struct.pack("<Q", 2**62)), "damaged"),
    "text as safetensors": ("b.safetensors", lambda p, s: p.write_text("weights, honestly\n"), "damaged"),
    "text as pt": ("b.pt", lambda p, s: p.write_text("weights, honestly\n"), "b.pt"),
    "empty safetensors": ("b.safetensors", lambda p, s: p.touch(), "damaged"),
    "empty pt": ("b.pt", lambda p, s: p.touch(), "truncated, damaged"),
    "truncated pt": ("b.pt", lambda p, s: (torch.save(s, p), p.write_bytes(p.read_bytes()[:-99])), "damaged"),
    "pt without its data": ("b.pt", torch_zip_without_data, "damaged"),
    "whole module": ("b.pt", lambda p, s: torch.save(PayloadNet(1, 2), p), r"net\.state_dict\(\)"),
    "a list": ("b.pt", lambda p, s: torch.save([1, 2], p), "no state dict"),
    "a directory": ("b.safetensors", lambda p, s: p.mkdir(), "a folder without model.safetensors"),
    "a directory as pt": ("b.pt", lambda p, s: p.mkdir(), "a folder without model.safetensors"),
    "missing": ("b.safetensors", lambda p, s: None, "No such file"),
    "unknown ending": ("b.onnx", lambda p, s: save_file(s, p), r"'\.onnx'.*save_file"),
    "no ending": ("b", lambda p, s: save_file(s, p), "no ending"),
}


class TestEnds:
    @pytest.mark.parametrize("case", STATES)
    def test_an_end_of_another_model(self, refused, workshop, tmp_path, case):
        change, says = STATES[case]
        save_file(change(load_file(workshop.b)), tmp_path / "b.safetensors")
        for ends in ((workshop.a, "b.safetensors"), ("b.safetensors", workshop.a)):
            line = refused("connect", workshop.task, *ends, "--out", "run")
            assert re.search(says, line)
            assert "b.safetensors" in line

    @pytest.mark.parametrize("case", FILES)
    def test_a_file_that_is_no_checkpoint(self, refused, workshop, tmp_path, case):
        name, write, says = FILES[case]
        write(tmp_path / name, load_file(workshop.b))
        line = refused("connect", workshop.task, workshop.a, name, "--out", "run")
        assert re.search(says, line)
        assert line.startswith(f"weightstring: {name}: ")

    @pytest.mark.parametrize("protocol", [None, 2, 4])
    def test_a_pickle_is_never_executed(self, refused, workshop, tmp_path, protocol):
        """Neither in torch's own container (None) nor as a plain pickle of an old or a new protocol."""
        touched = tmp_path / "touched"
        payload = {**load_file(workshop.b), "extra": Payload(touched)}
        if protocol is None:
            torch.save(payload, tmp_path / "b.pt")
        else:
            (tmp_path / "b.pt").write_bytes(pickle.dumps(payload, protocol=protocol))
        line = refused("connect", workshop.task, workshop.a, "b.pt", "--out", "run")
        assert not touched.exists()
        assert "could run code" in line


TASKS = {
    "missing file": (None, "there is no file user.py"),
    "syntax error": ("def task(:\n", r"user\.py.*SyntaxError"),
    "fails on import": ("import weightstring_of_nobody\n", "ModuleNotFoundError.*weightstring_of_nobody"),
    "leaves on import": ("import sys\nsys.exit('no licence')\n", "SystemExit.*no licence"),
    "two lines": ("raise ValueError('first\\nsecond')\n", "ValueError: first"),
    "no function": ("def other(): ...\n", "no function 'task'"),
    "no callable": ("task = 3\n", "no function 'task'"),
    "returns something else": ("def task(): return 3\n", "returned int.*ModuleProblem"),
    "returns nothing": ("def task(): pass\n", "returned NoneType.*ModuleProblem"),
    "raises": ("def task():\n    return 1 / 0\n", r"ZeroDivisionError.*user\.py, line 2"),
    "leaves": ("def task():\n    raise SystemExit(0)\n", "SystemExit"),
    "wants an argument": ("def task(width): return 3\n", "width"),
    "empty data": (
        "def task(): return ws.ModuleProblem(net, loss, (torch.ones(0, 2), torch.ones(0).long()))\n",
        "train has no examples",
    ),
    "labels out of range": (
        "def task(): return ws.ModuleProblem(net, loss, (torch.ones(4, 2), torch.tensor([0, 1, 2, 3])))\n",
        r"train targets must be in \[0, 3\): found 0..3",
    ),
}
PREAMBLE = "import torch; import weightstring as ws; net = torch.nn.Linear(2, 3); loss = torch.nn.CrossEntropyLoss()\n"


class TestTasks:
    @pytest.mark.parametrize("case", TASKS)
    def test_a_task_file(self, refused, workshop, tmp_path, case):
        text, says = TASKS[case]
        if text is not None:
            (tmp_path / "user.py").write_text((PREAMBLE if "ws." in text else "") + text)
        line = refused("connect", "user.py:task", workshop.a, workshop.b, "--out", "run")
        assert re.search(says, line)
        assert "user.py:task" in line or "train" in says

    @pytest.mark.parametrize(
        ("task", "option", "says"),
        [
            ("cifar", "width=3", "unknown task 'cifar'.*digits, polynomial"),
            ("user.txt:task", "width=3", "unknown task 'user.txt:task'"),
            ("polynomial", "colour=red", "polynomial has no option 'colour'.*target"),
            ("polynomial", "width=wide", "width=wide is not int"),
            ("polynomial", "target=quartic", "target='quartic'.*quadratic, cubic"),
            ("polynomial", "activation=tanh", "activation='tanh'.*relu, sigmoid"),
            ("polynomial", "loss=cubed", "loss='cubed'.*squared, absolute"),
            ("polynomial", "output=relu", "output='relu'.*linear, sigmoid"),
            ("polynomial", "samples=1", "samples=1.*2"),
            ("polynomial", "width=0", "width=0"),
            ("polynomial", "width=-3", "width=-3"),
            ("polynomial", "batch_size=0", "batch_size=0"),
            ("polynomial", "optimizer=lucky", "optimizer.*'lucky'"),
            ("polynomial", "lr=-1", "rmsprop.*rate: -1"),
            ("polynomial", "lr=nan", "rmsprop.*rate: nan"),
            ("digits", "width=0", "width=0.*positive"),
            ("digits", "depth=-1", "depth=-1.*not negative"),
            ("digits", "batch_size=-4", "batch_size=-4"),
        ],
    )
    def test_an_option(self, refused, task, option, says):
        assert re.search(says, refused("train", task, "--set", option, "--until", 0.5, "--out", "a.safetensors"))

    def test_an_option_of_a_random_target(self, refused):
        command = ("train", "polynomial", "--set", "target=random", "--set", "degree=-1", "--until", 1)
        assert "degree=-1" in refused(*command, "--out", "a.safetensors")


class TestSettings:
    @pytest.mark.parametrize(
        ("options", "says"),
        [
            ("--threshold 0.01", r"threshold 0\.01.*ends lie at A 0\.0\d{1,7}, B 0\.0\d{1,7},.*raise it"),
            ("--threshold nan", "threshold: 'nan' is not a number"),
            ("--threshold -1", "threshold -1"),
            ("--bind accuracy", "'accuracy'.*evaluate, train, both"),
            ("--alpha 0", "alpha=0"),
            ("--alpha 1.5", "alpha=1.5"),
            ("--alpha nan", "alpha=nan"),
            ("--max-depth -2", "max_depth=-2"),
            ("--max-beads 1", r"MaxBeads\(1\)"),
            ("--seconds 0", r"seconds=0"),
            ("--seconds nan", r"argument --seconds: 'nan' is not a number"),
        ],
    )
    def test_out_of_range(self, refused, workshop, options, says):
        line = refused("connect", workshop.task, workshop.a, workshop.b, "--out", "run", *options.split())
        assert re.search(says, line)

    def test_a_level_that_is_no_number(self, refused, workshop):
        assert "'nan' is not a number" in refused("train", workshop.task, "--until", "nan", "--out", "a.safetensors")


class TestOut:
    def test_another_problem(self, refused, workshop, tmp_path):
        shutil.copytree(workshop.connected, "run")
        command = ("connect", workshop.task, workshop.a, workshop.b, "--threshold", 0.051, "--out", "run")
        assert re.search("run: holds another run: the problem", refused(*command, "--set", "lr=0.03"))

    def test_other_ends(self, refused, workshop):
        shutil.copytree(workshop.connected, "run")
        command = ("connect", workshop.task, workshop.b, workshop.a, "--threshold", 0.051, "--out", "run")
        assert re.search("run: holds another run: the ends", refused(*command))

    @pytest.mark.parametrize(
        ("options", "what"),
        [
            ("--threshold 0.06", "the threshold"),
            ("--threshold 0.051 --alpha 0.9", "the strategy"),
            ("--threshold 0.051 --seed 1", "the seed"),
            ("--threshold 0.07 --bind train", "the threshold|what the threshold binds"),
        ],
    )
    def test_other_settings(self, refused, workshop, options, what):
        shutil.copytree(workshop.connected, "run")
        command = ("connect", workshop.task, workshop.a, workshop.b, "--out", "run", *options.split())
        assert re.search(f"run: holds another run: ({what}).*another directory", refused(*command))

    def test_foreign_files(self, refused, workshop):
        Path("run").mkdir()
        Path("run/thesis.tex").write_text("precious")
        line = refused("connect", workshop.task, workshop.a, workshop.b, "--out", "run")
        assert re.search(r"run: holds 'thesis\.tex'.*empty or new directory", line)

    def test_a_file(self, refused, workshop):
        Path("run").write_text("precious")
        assert line_names(refused("connect", workshop.task, workshop.a, workshop.b, "--out", "run"), "run")

    @pytest.mark.parametrize("out", ["file/below/run", "/proc/weightstring/run"])
    def test_unwritable(self, refused, workshop, out):
        Path("file").write_text("precious")
        assert line_names(refused("connect", workshop.task, workshop.a, workshop.b, "--out", out), out)

    @pytest.mark.parametrize("out", ["a.pt", "a", "file/a.safetensors", "/proc/a.safetensors", "folder.safetensors"])
    def test_a_checkpoint_that_cannot_be_written(self, refused, workshop, out):
        Path("file").write_text("precious")
        Path("folder.safetensors").mkdir()
        assert line_names(refused("train", workshop.task, "--until", 0.5, "--out", out), out)

    @pytest.mark.parametrize("out", ["a.pt", "file/a.safetensors", "folder.safetensors"])
    def test_and_that_is_said_before_training(self, refused, workshop, out):
        Path("file").write_text("precious")
        Path("folder.safetensors").mkdir()
        never = ("--until", 1e-30, "--max-steps", 1)
        assert line_names(refused("train", workshop.task, *never, "--out", out), out)

    @pytest.mark.parametrize("out", ["file/page.html", "/proc/page.html", "folder"])
    def test_a_page_that_cannot_be_written(self, refused, workshop, out):
        Path("file").write_text("precious")
        Path("folder").mkdir()
        assert line_names(refused("report", workshop.connected, "--out", out), out)

    @pytest.mark.slow
    def test_a_demo_that_cannot_be_written(self, refused):
        Path("file").write_text("precious")
        assert line_names(refused("demo", "--out", "file"), "file")


def line_names(line: str, out: str) -> bool:
    return line.startswith(f"weightstring: {out}")
