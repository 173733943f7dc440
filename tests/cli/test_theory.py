"""``theory``: bounds without a search, and the paths as checkpoints."""

from __future__ import annotations

import json

import pytest
import torch
from safetensors.torch import load_file

from weightstring.tasks import load_task

TASK = """\
import torch
from torch import nn

import weightstring as ws


def task(deep: bool = False) -> ws.ModuleProblem:
    x = torch.randn(9, 2, generator=torch.Generator().manual_seed(0)) + 0.4
    net = nn.Sequential(nn.Linear(2, 3, bias=False), nn.Linear(3, 2, bias=False))
    if deep:
        net.extend([nn.Tanh(), nn.Linear(2, 2)])
    return ws.ModuleProblem(net, nn.MSELoss(), (x, x.flip(1)), batch_size=None, engine="loop")
"""


@pytest.fixture
def task(tmp_path):
    (tmp_path / "linear.py").write_text(TASK)
    return f"{tmp_path}/linear.py:task"


@pytest.mark.slow
def test_bounds_are_told_and_beads_written_as_checkpoints(cli, task, tmp_path):
    out = tmp_path / "out"
    done = cli("theory", task, "random:0", "random:1", "--out", out)
    assert done.code == 0, done.err
    assert max(len(line) for line in done.out.splitlines() if str(tmp_path) not in line) <= 80
    told = json.loads((out / "theory.json").read_text())
    assert told["at_least"] == pytest.approx(max(told["losses"]))
    assert told["at_most"] == pytest.approx(told["at_least"], rel=1e-6)
    problem = load_task(task)
    for own in told["constructions"]:
        files = sorted((out / own["name"]).iterdir())
        assert len(files) == own["beads"]
        ends = [problem.flatten(load_file(file)) for file in (files[0], files[-1])]
        assert torch.equal(torch.stack(ends), torch.stack([problem.initial(0), problem.initial(1)]))
    assert json.loads(cli("theory", task, "random:0", "random:1", "--json").out) == told


def test_where_nothing_applies_that_is_said_with_its_reasons(cli, task):
    done = cli("theory", task, "--set", "deep=true", "random:0", "random:1")
    assert done.code == 3
    assert "no path is given by theory" in done.out
    assert "not linear: not recognised as linear layers" in done.out


def test_a_share_that_is_none_is_refused_in_one_line(refused, task):
    assert "tolerance=0.0: give a positive share" in refused("theory", task, "random:0", "random:1", "--tolerance", "0")
