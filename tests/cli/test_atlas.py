"""``atlas``: how models join, from folders and seeds, kept where asked."""

from __future__ import annotations

import json
import shutil

import pytest


@pytest.mark.slow
def test_models_of_a_folder_and_of_seeds_join_and_are_counted(cli, workshop, tmp_path):
    folder, out = tmp_path / "networks", tmp_path / "out"
    folder.mkdir()
    for name, source in (("one", workshop.a), ("two", workshop.b)):
        shutil.copy(source, folder / f"{name}.safetensors")
    (folder / "notes.txt").write_text("no checkpoint")
    arguments = ("atlas", workshop.task, folder, "random:5", "--max-beads", "4", "--out", out)
    done = cli(*arguments)
    assert done.code == 0, done.err
    assert max(map(len, done.out.splitlines())) <= 80 + len(str(out))
    found = json.loads((out / "atlas.json").read_text())
    assert [name.rpartition("/")[2] for name in found["models"]] == ["one.safetensors", "two.safetensors", "random:5"]
    assert found["joins"][-1]["level"] >= max(found["losses"])
    assert found["counts"][-1] == {
        "level": found["joins"][-1]["level"], "models": 3, "at_least": 1, "at_most": 1, "certified_at_most": 3,
    }  # fmt: skip
    assert f"{workshop.task}: 3 lines" in (out / "report.html").read_text().replace("&#x2F;", "/")
    again = cli(*arguments, "--json", "--levels", "0.001,inf")
    none, all_of_them = {"models": 0, "at_least": 0, "at_most": 0}, {"models": 3, "at_least": 1, "at_most": 1}
    assert json.loads(again.out) == {**found, "counts": [
        {"level": 0.001, **none, "certified_at_most": 0},
        {"level": None, **all_of_them, "certified_at_most": 1},
    ]}  # fmt: skip
    other = cli(*arguments, "--lr", "0.5")
    assert other.code == 2
    assert "its recipe differs" in other.err


@pytest.mark.slow
def test_under_a_threshold_in_few_words(cli, workshop):
    done = cli("atlas", workshop.task, workshop.a, workshop.b, "--threshold", "100", "--quiet")
    assert done.code == 0, done.err
    assert done.out.startswith("under 100: 1 component of 2 models")
    assert done.out.count("\n") == 1


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("random:4",), "matrix of 1 models: give two or more"),
        (("random:4", "random:3-5"), "random:4 is named twice"),
        (("random:5-3",), "random:5-3: give FIRST-LAST, rising"),
        (("random:1", "nowhere"), "nowhere"),
        (("random:1", "."), ".: a folder without checkpoints in it"),
        (("random:1-2", "--strategy", "breadth-first", "--ends", "free"), "this strategy moves the ends"),
    ],
)
def test_models_that_are_none_are_refused_in_one_line(refused, workshop, words, said):
    assert said in refused("atlas", workshop.task, *words)
