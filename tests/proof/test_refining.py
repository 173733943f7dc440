"""Examples that leave a proof early, and radii in float32: bounds stay bounds, whatever was guessed."""

from __future__ import annotations

import pytest
import torch
from torch import nn

import weightstring as ws
from weightstring.proof.enclose import refining, single
from weightstring.proof.enclose.enclosing import Enclosing
from weightstring.proof.enclose.enclosure import measured
from weightstring.proof.enclose.intervals import Intervals, Weights
from weightstring.proof.enclose.linear import LinearMap, fully_connected


def pair() -> tuple[ws.ModuleProblem, ws.WeightString]:
    draw = torch.Generator().manual_seed(3)
    inputs, targets = torch.randn(90, 3, generator=draw), torch.randint(3, (90,), generator=draw)
    net = nn.Sequential(nn.Linear(3, 8), nn.ReLU(), nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 3))
    problem = ws.ModuleProblem(net, nn.functional.cross_entropy, (inputs, targets), dtype=torch.float64)
    models = 1.5 * torch.randn(3, problem.size, generator=draw, dtype=torch.float64)
    return problem, ws.WeightString(problem, models)


@pytest.mark.parametrize("share", [0.0, 0.4, 50.0])
def test_no_interval_is_bounded_too_low_however_many_leave(share: float, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(refining, "SHARE", share)
    monkeypatch.setattr(refining, "AT_MOST", 0.9)
    monkeypatch.setattr(refining, "MANY", 20)
    problem, string = pair()
    certificate = ws.certify(problem, string, tol=0.03, max_intervals=120)
    for piece in certificate.partition:
        ts = torch.linspace(piece.low, piece.high, 9, dtype=torch.float64).unsqueeze(1)
        values = problem.measure(torch.lerp(string[piece.segment], string[piece.segment + 1], ts))["loss"]
        assert values.max() <= piece.bound


def test_fewer_examples_are_enclosed_on_small_intervals(monkeypatch: pytest.MonkeyPatch) -> None:
    problem, string = pair()
    counts: list[int] = []
    examined = Enclosing.examined

    def counted(self: Enclosing, at: Intervals, rows: torch.Tensor) -> object:
        counts.append(len(rows))
        return examined(self, at, rows)

    monkeypatch.setattr(Enclosing, "examined", counted)
    monkeypatch.setattr("weightstring.proof.enclose.proving.fastest", lambda enclosing, room, where: enclosing)
    ws.certify(problem, string, tol=1e-3)
    assert counts[0] == 90
    assert min(counts) < 60


@pytest.mark.parametrize("scale", [1.0, 1e-5, 1e3])
def test_a_radius_in_float32_is_no_smaller_and_hardly_larger(scale: float) -> None:
    draw = torch.Generator().manual_seed(1)

    def normal(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, generator=draw, dtype=torch.float64)

    low, high = torch.tensor([0.25]).double(), torch.tensor([0.5]).double()
    interval = Intervals(torch.zeros(1, dtype=torch.int64), low, high)
    layer = LinearMap(fully_connected, Weights(normal(2, 40, 300)), None, interval, 1)
    x = measured((scale * normal(1, 20, 300), scale * normal(1, 20, 300)), 1e-3 * scale * normal(1, 20, 300).abs())
    assert single.carried(x.radius, x.size, layer.both_sums[0])
    found = layer.of(x)
    exact = x.radius @ layer.largest.mT + (x.top @ layer.slope.mT).abs() / 2
    assert bool((found.radius >= exact).all())
    assert bool((found.radius <= exact * 1.03).all())


def test_float32_is_not_asked_where_it_is_coarser_or_cannot_hold_the_numbers() -> None:
    values, sums = torch.ones(1, 2, 8, dtype=torch.float64), torch.ones(1, 4, dtype=torch.float64)
    size = torch.ones(1, dtype=torch.float64)
    assert single.carried(values, size, sums)
    assert not single.carried(values, size * 1e-9, sums)
    assert not single.carried(values, size * 1e30, sums)
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("medium")
    try:
        assert not single.carried(values, size, sums)
    finally:
        torch.set_float32_matmul_precision(before)


def test_a_planned_proof_that_its_budget_ends_has_a_bound_of_everything(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(refining, "MANY", 20)
    monkeypatch.setattr(refining, "STEP", 5)
    problem, string = pair()
    highest = float(problem.measure(string.beads)["loss"].max())
    certificate = ws.certify(problem, string, 1.001 * highest, max_intervals=2)
    assert certificate.loosest.bound < torch.inf
    assert certificate.intervals > 8


def test_a_budget_is_kept_however_narrow_intervals_are_planned(monkeypatch: pytest.MonkeyPatch) -> None:
    hopeless = lambda self, intervals: torch.full((len(intervals),), 1e6, dtype=torch.float64)  # noqa: E731
    monkeypatch.setattr(refining.Refining, "foreseen", hopeless)
    problem, string = pair()
    assert len(ws.certify(problem, string, tol=1e-4, max_intervals=40).partition) <= 60
