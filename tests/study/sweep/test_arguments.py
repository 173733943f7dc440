"""What a sweep is asked is checked whole before anything is trained or written, and refused in one line."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch

import weightstring as ws
from weightstring.errors import InvalidSetting
from weightstring.study.sweep.directory import SweepDirectory
from weightstring.study.sweep.plan import MISSING, Plan, Variant
from weightstring.tasks import load_task


@pytest.fixture(scope="module")
def problem() -> ws.ModuleProblem:
    return load_task("polynomial", {"width": "4"})


@pytest.mark.parametrize(
    ("setting", "words"),
    [
        ({"strategy": "greedy"}, r"^strategy='greedy': pass one"),
        ({"strategy": ws.Greedy}, r"strategy=.*pass one"),
        ({"stop": 5}, r"^stop=5: pass a rule"),
        ({"thresholds": 0.1}, r"thresholds=0.1\): give positive numbers, such as"),
        ({"thresholds": ["x"]}, r"thresholds=\['x'\]"),
        ({"thresholds": "12"}, r"thresholds='12'"),
        ({"thresholds": None}, r"thresholds=None"),
        ({"thresholds": [math.nan]}, r"thresholds=\(nan,\)"),
        ({"seed": 1.5}, r"seed=1.5\): give a whole number"),
        ({"seed": None}, r"seed=None"),
        ({"seed": 2**64}, r"seed=18446744073709551616"),
        ({"seed": -1}, r"seed=-1\): give a whole number, at least 0"),
        ({"pairs": True}, r"pairs=True"),
        ({"pairs": 1.0}, r"pairs=1.0"),
        ({"tries": np.float64(2)}, r"tries=(np.float64\()?2.0\)?"),
        ({"bind": "eror"}, r"bind='eror'.*choose one of evaluate, train, both, loss"),
        ({"bind": "both"}, r"trained to one quantity, not loss and train_loss"),
        ({"bind": ["loss"]}, r"bind=\['loss'\]\): give a name"),
        ({"ends": "new"}, r"ends='new'\): choose one of carried, afresh"),
        ({"variants": []}, r"named \[\], but the problems are \['all'\]"),
        ({"variants": ["all"]}, r"variants=\['all'\]\): give a list of Variant"),
        ({"variants": [Variant("other")]}, r"named \['other'\], but the problems are \['all'\]"),
    ],
)
def test_what_cannot_be_swept_is_refused_before_anything_is_written(problem, tmp_path, refused, setting, words):
    with refused(InvalidSetting, words):
        ws.sweep(problem, **{"thresholds": [0.1], "pairs": 1, "store": tmp_path / "s", **setting})
    assert not (tmp_path / "s").exists()


@pytest.mark.parametrize(
    ("given", "words"),
    [({}, "at least one problem"), ([None], r"problem=\[None\]\): give a ws.ModuleProblem"), ({"a": 5}, "problem=5")],
)
def test_problems_of_another_kind_are_refused(given, words, tmp_path, refused):
    with refused(InvalidSetting, words):
        ws.sweep(given, [0.1], pairs=1, store=tmp_path / "s")
    assert not (tmp_path / "s").exists()


def test_a_recipe_that_no_optimizer_takes_is_refused_first(tmp_path, refused):
    x = torch.linspace(-1, 1, 5).unsqueeze(1)
    net, loss = torch.nn.Linear(1, 1), torch.nn.functional.mse_loss
    problem = ws.ModuleProblem(net, loss, (x, x), recipe=ws.Recipe("nonsense"))
    with refused(InvalidSetting, "nonsense"):
        ws.sweep(problem, [0.1], pairs=1, store=tmp_path / "s")
    assert not (tmp_path / "s").exists()


def test_after_a_mistyped_setting_the_right_one_goes_on(problem, tmp_path):
    with pytest.raises(InvalidSetting):
        ws.sweep(problem, [0.1], pairs=1, bind="eror", store=tmp_path / "s")
    assert len(ws.sweep(problem, [0.1], pairs=1, store=tmp_path / "s").rows) == 1


def test_whole_numbers_of_any_type_are_taken(unchecked):
    plan = Plan((0.1,), pairs=np.int64(3), seed=np.uint8(2), tries=np.int32(4))
    assert (plan.pairs, plan.seed, plan.tries) == (3, 2, 4)
    assert {type(plan.pairs), type(plan.seed), type(plan.tries)} == {int}


# Names of variants


@pytest.mark.parametrize("name", ["width=4,depth=2", "all", "4", "data=/some/where", "a/b", "größe=2", "x=nan", ".a"])
def test_names_that_come_back_as_themselves_are_taken(name, tmp_path):
    directory = SweepDirectory(tmp_path)
    assert Variant(name).name == name
    for path in (directory.ends(name), directory.run(name, 0.1, 0)):
        assert path.is_relative_to(tmp_path)
        assert path.parent != tmp_path


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("/absolute", "leads out"),
        ("..", "leads out"),
        ("a/../../b", "leads out"),
        (".", "leads out"),
        ("a\rb", "cannot be printed"),
        ("a\nb", "cannot be printed"),
        ("a\0b", "cannot be printed"),
        ("a\ud800", "cannot be printed"),
        ("x" * 300, "longer than 200 bytes"),
        ("é" * 101, "longer than 200 bytes"),
        *((name, "missing value") for name in ("", "nan", "NA", "null")),
        (4, "a name is text"),
    ],
)
def test_names_that_break_files_or_tables_are_refused(problem, tmp_path, refused, name, words):
    with refused(InvalidSetting, words):
        ws.sweep({name: problem}, [0.1], pairs=1, store=tmp_path / "s")
    assert list(tmp_path.iterdir()) == []


def test_two_names_of_one_folder_are_refused(problem, tmp_path, refused):
    with refused(InvalidSetting, "two have one folder"):
        ws.sweep({"a": problem, "./a": problem}, [0.1], pairs=1, store=tmp_path / "s")


def test_missing_values_are_those_of_pandas():
    parsers = pytest.importorskip("pandas._libs.parsers")
    assert parsers.STR_NA_VALUES <= MISSING


def test_a_swept_name_names_its_row_and_its_folders(problem, tmp_path):
    name = "data=/a,width=4"
    (row,) = ws.sweep({name: problem}, [0.1], pairs=1, store=tmp_path).rows
    assert row.variant == name
    assert Path(tmp_path, row.run, "result.json").exists()
    assert ws.sweep({name: problem}, [0.1], pairs=1, store=tmp_path).rows == (row,)
