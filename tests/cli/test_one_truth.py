"""A sample over the threshold, whoever meets it, is told the same everywhere: text, exit code, result.json and page."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

WALL = """\
import torch
from torch import nn
import weightstring as ws


def task() -> ws.ModuleProblem:
    \"\"\"One weight w, whose loss is the square of a tent of width 0.002 at w = 0.07, made of three fixed units.\"\"\"
    net = nn.Sequential(nn.Linear(1, 1, bias=False), nn.Linear(1, 3), nn.ReLU(), nn.Linear(3, 1, bias=False))
    net[1].weight.data = torch.full((3, 1), 1000.0)
    net[1].bias.data = torch.tensor([-69.0, -70.0, -71.0])
    net[3].weight.data = torch.tensor([[1.0, -2.0, 1.0]])
    for layer in (net[1], net[3]):
        layer.requires_grad_(False)
    x = torch.ones(3, 1)
    recipe = ws.Recipe("sgd", {"lr": 1e-8}, check_every=5, patience=4, max_steps=50)
    return ws.ModuleProblem(net, nn.functional.mse_loss, (x, 0 * x), batch_size=None, engine="loop", recipe=recipe)
"""


@pytest.fixture
def ends(tmp_path, monkeypatch) -> tuple[str, ...]:
    monkeypatch.chdir(tmp_path)
    Path("wall.py").write_text(WALL)
    tent = {
        "1.weight": torch.full((3, 1), 1000.0),
        "1.bias": torch.tensor([-69.0, -70.0, -71.0]),
        "3.weight": torch.tensor([[1.0, -2.0, 1.0]]),
    }
    for name, weight in (("a", -1.0), ("b", 1.0)):
        save_file({**tent, "0.weight": torch.tensor([[weight]])}, f"{name}.safetensors")
    return "wall.py:task", "a.safetensors", "b.safetensors", "--threshold", "0.1", "--out", "run"


def is_unresolved_everywhere(cli) -> None:
    assert json.loads(Path("run/result.json").read_text())["outcome"]["kind"] == "unresolved"
    shown = cli("show", "run")
    assert shown.code == 3
    assert "unresolved (higher_sample)" in shown.out
    page = Path("run/report.html").read_text()
    assert "Unresolved (higher sample)" in page
    assert "<strong>Connected</strong>" not in page


@pytest.mark.slow
@pytest.mark.parametrize(
    ("command", "code"),
    [
        (("certify", "run"), 4),
        (("export", "run", "--at", "0.535", "--out", "net.safetensors"), 0),
        (("merge", "run", "--points", "201"), 0),
    ],
)
def test_what_a_command_meets_on_the_string_takes_the_verdict_back(cli, ends, command, code):
    assert cli("connect", *ends).code == 0
    done = cli(*command)
    assert done.code == code, done.err
    assert re.search(r"run: no longer connected: a sample of [.\d]+ was met .* over the threshold 0\.1\n", done.err)
    is_unresolved_everywhere(cli)
    assert cli("resume", "run").code == 3


@pytest.mark.slow
def test_connect_certify_says_so_at_once(cli, ends):
    done = cli("connect", *ends, "--certify")
    assert done.code == 3, done.err
    assert "connected: every sample" not in done.out
    is_unresolved_everywhere(cli)


@pytest.mark.slow
def test_resume_goes_on_with_the_certificate_that_was_asked_for(cli, ends, workshop):
    common = ("connect", workshop.task, workshop.a, workshop.b, "--threshold", 0.051, "--out", "own", "--certify")
    assert cli(*common, "--max-beads", 2).code == 3
    done = cli("resume", "own", "--max-beads", 64)
    assert done.code == 0, done.err
    assert "certified" in done.out
    assert cli("verify", "own").code == 0


@pytest.mark.slow
def test_a_certificate_of_another_run_is_not_shown_nor_verified_as_its_own(cli, refused, ends, workshop):
    common = ("connect", workshop.task, workshop.a, workshop.b, "--out")
    assert cli(*common, "one", "--threshold", 0.051, "--certify").code == 0
    assert cli(*common, "other", "--threshold", 0.9).code == 0
    Path("other/certificate.json").write_bytes(Path("one/certificate.json").read_bytes())
    assert "certified" not in cli("show", "other").out
    assert re.search("its string is another|the run's 0.9", refused("verify", "other"))
