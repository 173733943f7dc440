"""``components``: how models join, from folders and seeds, kept where asked."""

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
    arguments = ("components", workshop.task, folder, "random:5", "--max-beads", "4", "--out", out)
    done = cli(*arguments)
    assert done.code == 0, done.err
    assert max(map(len, done.out.splitlines())) <= 80 + len(str(out))
    found = json.loads((out / "components.json").read_text())
    assert [name.rpartition("/")[2] for name in found["models"]] == ["one.safetensors", "two.safetensors", "random:5"]
    assert found["joins"][-1]["level"] >= max(found["losses"])
    assert found["counts"][-1] == {"level": found["joins"][-1]["level"], "models": 3, "at_least": 1, "at_most": 1}
    assert (out / "tree.html").stat().st_size > 10**6
    again = cli(*arguments, "--json", "--levels", "0.001,inf")
    assert json.loads(again.out) == {**found, "counts": [
        {"level": 0.001, "models": 0, "at_least": 0, "at_most": 0},
        {"level": None, "models": 3, "at_least": 1, "at_most": 1},
    ]}  # fmt: skip
    other = cli(*arguments, "--lr", "0.5")
    assert other.code == 2
    assert "its recipe differs" in other.err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("random:4",), "components of 1 models: give two or more"),
        (("random:4", "random:3-5"), "random:4 is named twice"),
        (("random:5-3",), "random:5-3: give FIRST-LAST, rising"),
        (("random:1", "nowhere"), "nowhere"),
        (("random:1", "."), ".: a folder without checkpoints in it"),
        (("random:1-2", "--strategy", "breadth-first", "--ends", "free"), "this strategy moves the ends"),
    ],
)
def test_models_that_are_none_are_refused_in_one_line(refused, workshop, words, said):
    assert said in refused("components", workshop.task, *words)
