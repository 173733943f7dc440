"""What a run measures of a costly problem: each model once, and no more of them than its curve asks for."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import cast

import pytest
import torch
from torch import Tensor, nn

import weightstring as ws
from weightstring.runs import run
from weightstring.store import RunDirectory


class Counted(nn.Module):
    """A small network that counts the examples that pass through it."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Linear(2, 8), nn.Tanh(), nn.Linear(8, 1))
        self.seen: list[int] = [0]

    def __deepcopy__(self, memo: object) -> Counted:
        other = Counted()
        other.body.load_state_dict(self.body.state_dict())
        other.seen = self.seen
        return other

    def forward(self, inputs: Tensor) -> Tensor:
        self.seen[0] += len(inputs)
        return cast("Tensor", self.body(inputs))


def spread(output: Tensor, targets: Tensor) -> Tensor:
    return (output - targets).abs().mean()


def task(examples: int = 40, train: int = 400) -> tuple[ws.ModuleProblem, list[int]]:
    net = Counted()
    draw = torch.Generator().manual_seed(0)
    inputs = torch.randn(train + examples, 2, generator=draw)
    targets = inputs.prod(1, keepdim=True)
    problem = ws.ModuleProblem(
        net,
        nn.MSELoss(),
        (inputs[:train], targets[:train]),
        evaluate=(inputs[train:], targets[train:]),
        metrics={"spread": spread},
        engine="loop",
        recipe=ws.Recipe("adam", {"lr": 0.02}, check_every=20),
    )
    return problem, net.seen


def neighbours(problem: ws.ModuleProblem) -> tuple[Tensor, Tensor]:
    """Two models with a low straight line between them."""
    a = problem.initial(0)
    shift = torch.randn(len(a), generator=torch.Generator().manual_seed(1))
    return a, a + 0.02 * shift


@pytest.fixture
def costly(monkeypatch: pytest.MonkeyPatch) -> None:
    """However fast this machine is: an evaluation takes long."""
    monkeypatch.setattr(run, "COSTLY", 0.0)


@pytest.mark.usefixtures("costly")
def test_a_straight_line_of_a_costly_problem_takes_nine_evaluations_in_all(tmp_path: Path) -> None:
    problem, seen = task()
    a, b = neighbours(problem)
    seen[0] = 0
    result = ws.connect(problem, a, b, 4.0, store=tmp_path / "run")
    assert (result.connected, len(result.string)) == (True, 2)
    assert result.evaluations == 7  # and the two ends
    assert seen[0] == 9 * 40
    curve = result.string.curve
    assert (len(curve.t), set(curve.values)) == (9, {"loss", "spread"})
    for at in (0, 4, 8):
        measured = problem.measure(result.string.at(curve.s[at])[None], ["spread"])
        assert measured["spread"].item() == pytest.approx(curve.values["spread"][at])


@pytest.mark.usefixtures("costly")
def test_the_training_set_is_measured_along_the_string_where_that_costs_less_than_the_search(tmp_path: Path) -> None:
    large, _ = task(examples=40, train=60)
    small, _ = task(examples=40, train=30)
    for problem, expected in ((large, False), (small, True)):
        a, b = neighbours(problem)
        result = ws.connect(problem, a, b, 4.0, store=tmp_path / str(expected))
        assert ("train_loss" in result.string.curve.values) is expected
        assert len(result.string.curve.t) == 9


@pytest.mark.usefixtures("costly")
def test_what_was_left_out_is_measured_when_it_is_asked_for_and_nothing_else_with_it(tmp_path: Path) -> None:
    problem, seen = task()
    a, b = neighbours(problem)
    ws.connect(problem, a, b, 4.0, store=tmp_path / "run")
    string = ws.load(tmp_path / "run", problem).string
    seen[0] = 0
    curve = string.measure()
    assert (len(curve.t), set(curve.values)) == (9, {"loss", "spread", "train_loss", "train_spread"})
    assert seen[0] == 9 * 400


def test_a_resumed_run_samples_as_it_began(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    problem, _ = task()
    a, b = neighbours(problem)
    whole = ws.connect(problem, a, b, 4.0, sampling="dense")
    stopped = tmp_path / "run"
    monkeypatch.setattr("weightstring.runs.stages.search", _interrupted)
    with pytest.raises(KeyboardInterrupt):
        ws.connect(problem, a, b, 4.0, sampling="dense", store=stopped)
    monkeypatch.undo()
    assert RunDirectory(stopped).manifest().sampling == "dense"
    resumed = ws.connect(problem, a, b, 4.0, store=stopped)  # by itself it would be sampled adaptively
    assert resumed.evaluations == whole.evaluations > 31
    assert resumed.string.curve == whole.string.curve


def test_other_sampling_than_a_run_began_with_is_refused(tmp_path: Path) -> None:
    problem, _ = task()
    a, b = neighbours(problem)
    ws.connect(problem, a, b, 4.0, store=tmp_path / "run")
    with pytest.raises(ws.errors.InvalidRun, match="how densely segments are sampled differs"):
        ws.connect(problem, a, b, 4.0, store=tmp_path / "run", sampling="dense")
    with pytest.raises(ws.errors.InvalidSetting, match="sampling='thin': give"):
        ws.connect(problem, a, b, 4.0, sampling="thin")


def test_a_cheap_problem_is_sampled_adaptively_and_its_curve_has_every_set() -> None:
    problem, _ = task()
    a, b = neighbours(problem)
    result = ws.connect(problem, a, b, 4.0)
    assert result.evaluations == 7
    assert Counter(result.string.curve.segment) == {0: 9}
    assert "train_loss" in result.string.curve.values


def _interrupted(*_: object) -> None:
    raise KeyboardInterrupt
