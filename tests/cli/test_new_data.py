"""Waypoints, and a finished run on other data, from the command line."""

from __future__ import annotations

import json
import shutil

import pytest

from weightstring.store import RunDirectory

OTHER = """
import torch
from torch import nn

import weightstring as ws


def absolute(output, targets):
    return (output - targets).abs().mean()


def shifted(by: float = 0.3) -> ws.ModuleProblem:
    x = torch.linspace(-1, 2, 21).unsqueeze(1) + by
    net = nn.Sequential(nn.Linear(1, 5), nn.Tanh(), nn.Linear(5, 1))
    return ws.ModuleProblem(
        net, nn.functional.mse_loss, (x, torch.sin(3 * x)), metrics={"absolute": absolute}, engine="loop"
    )
"""


@pytest.fixture
def finished(workshop, tmp_path):
    (tmp_path / "other.py").write_text(OTHER)
    return shutil.copytree(workshop.connected, tmp_path / "run")


@pytest.mark.slow
def test_other_data_are_measured_shown_and_drawn(cli, finished, tmp_path):
    verdict = (finished / "result.json").read_bytes()
    done = cli("measure", finished, "--task", f"{tmp_path}/other.py:shifted")
    assert done.code == 0, done.err
    assert "other-shifted" in done.out
    assert "absolute" in done.out
    assert max(map(len, done.out.splitlines())) <= 80
    assert (finished / "result.json").read_bytes() == verdict
    assert "other-shifted: absolute" in (finished / "report.html").read_text()
    more = cli("measure", finished, "--task", f"{tmp_path}/other.py:shifted", "--set", "by=0.5", "--name", "far")
    assert more.code == 0, more.err
    shown = cli("show", finished)
    assert shown.code == 0
    assert "on other data, measured since; the verdict is about the run's own" in shown.out
    told = json.loads(cli("show", finished, "--json").out)["measured"]
    assert [record["name"] for record in told] == ["other-shifted", "far"]
    assert told[1]["task"]["options"] == {"by": "0.5"}
    assert told[0]["command"][:3] == ["weightstring", "measure", "run"]
    assert told[0]["barriers"]["max"] == max(told[0]["curve"]["values"]["loss"])
    as_json = json.loads(cli("measure", finished, "--task", f"{tmp_path}/other.py:shifted", "--json").out)
    assert as_json["measured"] == told


def test_an_unfinished_run_has_no_string_to_measure(workshop, refused):
    shutil.copytree(workshop.connected, "unfinished")
    RunDirectory("unfinished").remove("result.json")
    assert "not finished" in refused("measure", "unfinished")


def test_the_manifest_tells_files_and_command(workshop):
    told = RunDirectory(workshop.connected).manifest().provenance
    assert (told.files["a"].name, told.files["b"].name) == ("a.safetensors", "b.safetensors")
    assert told.files["a"].size == (workshop.root / "a.safetensors").stat().st_size
    assert told.command[:4] == ("weightstring", "connect", "sine.py:task", "a.safetensors")
    assert str(workshop.root) not in " ".join(told.command)


@pytest.mark.slow
def test_a_search_begins_with_waypoints_and_goes_on_with_them(cli, workshop, tmp_path):
    through = tmp_path / "through"
    for place, name in ((0.3, "one"), (0.6, "two")):
        done = cli("export", workshop.connected, "--at", place, "--out", through / f"{name}.safetensors")
        assert done.code == 0, done.err
    run = tmp_path / "run"
    words = ("connect", workshop.task, workshop.a, workshop.b, "--threshold", 0.0505, "--out", run)
    assert cli(*words, "--max-beads", 4, "--through", through).code == 3
    manifest = RunDirectory(run).manifest()
    assert len(manifest.through) == 2
    assert [manifest.provenance.files[f"given{k}"].name for k in (1, 2)] == ["one.safetensors", "two.safetensors"]
    resumed = cli("resume", run, "--max-beads", 64)
    assert resumed.code in (0, 3), resumed.err
    assert RunDirectory(run).manifest().through == manifest.through
    assert "waypoints differs" in cli(*words).err
    alone = ("connect", workshop.task, workshop.a, workshop.b, "--strategy", "as-in-the-paper", "--through", through)
    assert "AsInThePaper begins with the segment between the ends" in cli(*alone, "--out", tmp_path / "paper").err
