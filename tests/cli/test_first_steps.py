"""What a newcomer runs first: a task file to begin with, and what can be done with it."""

from __future__ import annotations

import json

import pytest
import torch

import weightstring as ws
from weightstring.cli import main
from weightstring.errors import Unsupported
from weightstring.problem.surfaces import Ring


def run(*words: str) -> int:
    with pytest.raises(SystemExit) as ended:
        main(list(words))
    return ended.value.code


@pytest.mark.slow
def test_the_task_file_runs_as_it_stands(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert run("init") == 0
    next_steps = capsys.readouterr().out.splitlines()[2:]
    assert [line.split()[1] for line in next_steps] == ["doctor", "train", "train", "threshold", "connect"]
    assert run("doctor", "task.py:problem", "--json") == 0
    told = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert told["possible"] == {"align": True, "certify": True, "ensemble": True}
    for name, seed in (("a", "0"), ("b", "1")):
        assert run("train", "task.py:problem", "--seed", seed, "--until", "0.3", "--out", f"{name}.safetensors") == 0
    assert run("connect", "task.py:problem", "a.safetensors", "b.safetensors", "--out", "run") == 0


def test_a_file_that_is_there_is_not_overwritten(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "task.py").write_text("mine")
    assert run("init") == 2
    assert "there is one already" in capsys.readouterr().err
    assert (tmp_path / "task.py").read_text() == "mine"


def test_what_is_refused_is_said_with_its_reason():
    class Sorted(torch.nn.Linear):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return super().forward(x).sort(dim=1).values

    x = torch.rand(8, 2)
    diagnosis = ws.diagnose(ws.ModuleProblem(Sorted(2, 2), torch.nn.functional.mse_loss, (x, x), engine="loop"))
    assert not diagnosis.possible["certify"]
    assert "sort" in diagnosis.refusals["certify"]
    assert f"no: {diagnosis.refusals['certify']}" in str(diagnosis)


def test_a_formula_draws_no_random_models():
    with pytest.raises(Unsupported, match=r"Ring draws no random models"):
        ws.diagnose(Ring())


def test_a_module_that_draws_no_random_models_is_diagnosed_and_gets_a_level_for_two_of_its_own():
    class Shifted(torch.nn.Module):
        def __init__(self, shift: float):
            super().__init__()
            self.shift = torch.nn.Parameter(torch.tensor([shift]))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x + self.shift

    x = torch.rand(8, 1)
    problem = ws.ModuleProblem(Shifted(0.0), torch.nn.functional.mse_loss, (x, x + 1), engine="loop")
    diagnosis = ws.diagnose(problem)
    assert "no reset_parameters" in dict(diagnosis.facts)["random models"]
    assert diagnosis.possible["certify"]
    a, b = (problem.flatten(Shifted(shift)) for shift in (0.5, 1.5))
    suggestion = ws.suggest_threshold(problem, a, b)
    assert suggestion.value == pytest.approx(1.02 * 0.25)
    assert suggestion.constant == pytest.approx(float(x.var(correction=0)), rel=1e-3)
