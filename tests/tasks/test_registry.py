"""From a task's name to its problem, through ``load_task``."""

from __future__ import annotations

import json
import sys

import pytest
import torch

from weightstring.errors import InvalidSetting, TaskError
from weightstring.tasks import TASKS, load_task, resolve

HEADER = """\
from __future__ import annotations
import torch
import weightstring as ws

"""
PROBLEM = (
    "ws.ModuleProblem(torch.nn.Linear(2, {}), torch.nn.functional.mse_loss, (torch.ones(4, 2), torch.ones(4, {})))\n"
)


@pytest.fixture
def task_file(tmp_path):
    def write(text: str, name: str = "user.py") -> str:
        (tmp_path / name).write_text(HEADER + text)
        return f"{tmp_path / name}:task"

    return write


def test_every_built_in_task_loads(small_sets, tmp_path):
    built_in = {"digits", "polynomial", "mnist", "fashion-mnist", "text", "cifar10", "cifar100"}  # CIFAR: test_cifar.py
    assert set(TASKS) == built_in
    (tmp_path / "words.txt").write_text("one two three " * 100)
    words = {"data": str(tmp_path / "words.txt"), "hidden": "3", "layers": "1", "test_words": "60"}
    assert load_task("text", words).size == 4 * 3 + 4 * 3 * (3 + 3 + 2) + 4 * 3 + 4
    for name in ("mnist", "fashion-mnist"):
        options = {"data": str(small_sets), "train_size": "20", "test_size": "5"}
        assert load_task(name, options).size == 785 * 256 + 257 * 128 + 129 * 10
    assert load_task("digits").size == 64 * 64 + 64 + 64 * 64 + 64 + 64 * 10 + 10
    assert load_task("polynomial").size == 4 + 4 + 16 + 4 + 4 + 1


def test_options_are_converted_by_their_annotations(task_file):
    name = task_file(
        "def task(width: int = 1, scale: float = 1.0, bias: bool = True, label='none', other: str = 'x'):\n"
        "    assert type(scale) is float and scale == 0.5\n"
        "    assert bias is False\n"
        "    assert (label, other) == ('7', '8')\n"
        f"    return {PROBLEM.format('width', 'width')}"
    )
    options = {"width": "3", "scale": ".5", "bias": "False", "label": "7", "other": "8"}
    assert load_task(name, options).size == 3 * 2 + 3


@pytest.mark.parametrize(
    ("option", "kind"), [("width=3.5", "int"), ("width=", "int"), ("scale=wide", "float"), ("bias=yes", "bool")]
)
def test_an_option_of_another_kind(task_file, option, kind):
    name = task_file("def task(width: int = 1, scale: float = 1.0, bias: bool = True): ...\n")
    key, _, value = option.partition("=")
    with pytest.raises(TaskError, match=f"option {option} is not {kind}$"):
        load_task(name, {key: value})


def test_an_option_without_an_annotation_has_the_type_of_its_default(task_file):
    name = task_file(
        "from pathlib import Path\n"
        "def task(width=1, scale=1.0, bias=True, label='none', root=Path('x'), other=None):\n"
        "    assert (scale, bias, label, root, other) == (2.0, False, '7', Path('a/b'), '9')\n"
        "    assert type(scale) is float\n"
        f"    return {PROBLEM.format('width', 'width')}"
    )
    options = {"width": "5", "scale": "2", "bias": "false", "label": "7", "root": "a/b", "other": "9"}
    assert load_task(name, options).size == 5 * 2 + 5


def test_an_annotation_for_type_checkers_only_costs_no_other_option_its_own(task_file):
    name = task_file(
        "from typing import TYPE_CHECKING, Optional\n"
        "from pathlib import Path\n"
        "if TYPE_CHECKING: from nowhere import Width, Problem\n"
        "def task(width: Width = 1, *, depth: int | None = None, scale: Optional[float] = None,\n"
        "         root: Path | None = None, label: Width = None) -> Problem:\n"
        "    assert (depth, scale, root, label) == (3, 0.5, Path('here'), '4')\n"
        "    assert type(depth) is int\n"
        f"    return {PROBLEM.format('width', 'width')}"
    )
    options = {"width": "5", "depth": "3", "scale": ".5", "root": "here", "label": "4"}
    assert load_task(name, options).size == 5 * 2 + 5


@pytest.mark.parametrize(
    ("parameter", "kind"),
    [
        ("sizes: list[int] = (1,)", r"list\[int\]"),
        ("sizes=(1, 2)", "tuple"),
        ("sizes: int | str = 1", r"int \| str"),
        ("sizes: torch.Tensor = None", "Tensor"),
        ("sizes=torch.zeros(3)", "Tensor"),
    ],
)
def test_an_option_that_text_cannot_express(task_file, parameter, kind):
    name = task_file(f"def task({parameter}): ...\n")
    with pytest.raises(TaskError, match=f"option sizes=3 cannot be read as {kind}; annotate it as one of int, float, "):
        load_task(name, {"sizes": "3"})


def test_what_a_task_prints_is_no_result(task_file, capsys):
    name = task_file(f"print('reading')\ndef task():\n    print('building')\n    return {PROBLEM.format(1, 1)}")
    load_task(name)
    assert capsys.readouterr() == ("", "reading\nbuilding\n")


def test_a_resolved_name_means_the_same_in_another_directory(task_file, tmp_path, monkeypatch):
    task_file(f"def task(): return {PROBLEM.format(2, 2)}")
    monkeypatch.chdir(tmp_path)
    name = resolve("user.py:task")
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert name == f"{tmp_path.resolve() / 'user.py'}:task" == resolve(name)
    assert load_task(name).size == 6
    assert resolve("polynomial") == "polynomial"
    with pytest.raises(TaskError, match=r"^task user.py:task: there is no file user.py; give the path from here"):
        resolve("user.py:task")
    (tmp_path / "mine.py").touch()
    with pytest.raises(TaskError, match=r"mine.py: which function of it\? give .*mine.py:NAME"):
        resolve(f"{tmp_path}/mine.py")
    with pytest.raises(
        TaskError,
        match=r"^unknown task 'cifar' \(did you mean cifar10\?\): give one of digits, .*path/to/file",
    ):
        resolve("cifar")


def test_an_unknown_option_names_the_known_ones(task_file):
    name = task_file("def task(width: int = 1, scale: float = 1.0): ...\n")
    with pytest.raises(TaskError, match=r"has no option 'depth'; it has: width, scale$"):
        load_task(name, {"depth": "3"})


def test_a_task_imports_its_neighbours_and_leaves_the_path_alone(task_file, tmp_path):
    (tmp_path / "neighbour_of_the_task.py").write_text("WIDTH = 5\n")
    name = task_file(f"import neighbour_of_the_task as n\ndef task(): return {PROBLEM.format('n.WIDTH', 'n.WIDTH')}")
    before = list(sys.path)
    assert load_task(name).size == 15
    assert sys.path == before


def test_two_files_of_one_name_are_two_tasks(task_file, tmp_path):
    (tmp_path / "other").mkdir()
    first = task_file(f"def task(): return {PROBLEM.format(1, 1)}")
    second = task_file(f"def task(): return {PROBLEM.format(4, 4)}", "other/user.py")
    assert [load_task(name).size for name in (first, second, first)] == [3, 12, 3]


def test_a_file_named_like_a_library_does_not_shadow_it(task_file):
    assert load_task(task_file(f"def task(): return {PROBLEM.format(1, 1)}", "json.py")).size == 3
    assert sys.modules["json"] is json


def test_what_the_task_refuses_passes_through(task_file):
    name = task_file("def task(): raise ws.InvalidSetting('width must be odd')\n")
    with pytest.raises(InvalidSetting, match=r"^width must be odd$"):
        load_task(name)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("def task(): return 3\n", "returned int; return a weightstring.ModuleProblem"),
        ("def task(): return torch.nn.Linear(1, 1)\n", "returned Linear; return a weightstring.ModuleProblem"),
        ("def task(): raise KeyError\n", r"KeyError: no message \(user.py, line 5\)"),
        ("def task(): raise SystemExit(3)\n", r"SystemExit: 3 \(user.py, line 5\)"),
        ("def task(): raise OSError('one\\ntwo')\n", r"OSError: one \(user.py, line 5\)"),
        ("raise OSError('one\\ntwo')\n", "user.py fails: OSError: one$"),
        ("raise SystemExit\n", "user.py fails: SystemExit: no message"),
        ("task = 3\n", "has no function 'task'"),
        ("task = int\n", "returned int; return a weightstring.ModuleProblem"),
    ],
)
def test_a_task_that_fails(task_file, text, says):
    with pytest.raises(TaskError, match=says):
        load_task(task_file(text))


@pytest.mark.parametrize("name", ["cifar", "", "digits:task", "user.txt:task", "user.py"])
def test_a_name_that_is_no_task(name):
    with pytest.raises(
        TaskError,
        match=r"one of digits, polynomial, mnist, fashion-mnist, cifar10, cifar100, text, or path/to/file\.py:function",
    ):
        load_task(name)


def test_a_file_that_is_not_there(tmp_path):
    with pytest.raises(TaskError, match=f"there is no file {tmp_path}/user.py"):
        load_task(f"{tmp_path}/user.py:task")


def test_a_problem_of_a_task_is_the_same_in_every_load(task_file):
    name = task_file(f"torch.manual_seed(3)\ndef task(): return {PROBLEM.format(2, 2)}")
    first, second = load_task(name), load_task(name)
    assert first.fingerprint() == second.fingerprint()
    assert torch.equal(first.initial(4), second.initial(4))
