"""Dynamic String Sampling with tied beads (Section II.C)."""

from __future__ import annotations

import pytest
import torch
from torch import nn

import weightstring as ws
from weightstring.descent import Free, Hyperplane, Spring, Start, Tether, descend
from weightstring.errors import InvalidSetting
from weightstring.problem.surfaces import Ring
from weightstring.recipe import Recipe
from weightstring.search import Constrained, Greedy


@pytest.mark.parametrize("constraint", ["free", "hyperplane", "spring:0.001", "soft:0.001", "spring:0.001+hyperplane"])
def test_it_connects_the_ring_under_every_constraint(constraint):
    ring = Ring()
    result = ws.connect(ring, *ring.ends, 0.1, strategy=Constrained(constraint=constraint))
    assert result.connected
    assert result.largest <= 0.1


def test_without_a_constraint_it_is_greedy():
    ring = Ring()
    free, greedy = (ws.connect(ring, *ring.ends, 0.1, strategy=s) for s in (Constrained(constraint=Free()), Greedy()))
    assert torch.equal(free.string.beads, greedy.string.beads)


def test_a_first_bead_on_the_hyperplane_is_equidistant():
    ring = Ring(size=6)
    result = ws.connect(ring, *ring.ends, 0.5, strategy=Constrained())
    a, bead, b = result.string
    assert float((bead - a).norm()) == pytest.approx(float((bead - b).norm()), rel=1e-12)


def test_constraints_are_kept_by_name(refused):
    assert Constrained(constraint=Hyperplane() & Spring(0.5)) == Constrained(constraint="hyperplane+spring:0.5")
    with refused(InvalidSetting, r"^constraint 'rope'"):
        Constrained(constraint="rope")
    with refused(InvalidSetting, r"^Constrained\(alpha=2\.0\)"):
        Constrained(alpha=2.0)


def quartic(seed: int, d1: int, d2: int, pairs: int):
    """The quartic toy (III.B), (w1 w2 − y)², and pairs of random global minimisers of it; every fifth is (θ, −θ)."""
    random = torch.Generator().manual_seed(seed)
    y = torch.randn(1, d1, generator=random, dtype=torch.float64)
    net = nn.Sequential(nn.Linear(d1, d2, bias=False), nn.Linear(d2, 1, bias=False)).double()
    recipe = Recipe("sgd", {"lr": 0.05, "momentum": 0.9}, check_every=20, patience=20, max_steps=4_000)
    problem = ws.ModuleProblem(
        net, nn.functional.mse_loss, (torch.eye(d1).double(), y.T), batch_size=None, recipe=recipe
    )

    def minimiser():
        w1 = torch.randn(1, d2, generator=random, dtype=torch.float64)
        w2 = torch.randn(d2, d1, generator=random, dtype=torch.float64)
        w2 = w2 + w1.T / w1.square().sum() * (y - w1 @ w2)
        return torch.cat([w2.flatten(), w1.flatten()])

    firsts = [minimiser() for _ in range(pairs)]
    return problem, [(a, minimiser() if i % 5 else -a) for i, a in enumerate(firsts)]


@pytest.mark.slow
@pytest.mark.parametrize(("d1", "d2"), [(1, 2), (1, 5), (2, 3), (3, 4)])
def test_on_the_quartic_toy_the_plane_between_two_minimisers_meets_the_zero_set(d1, d2):
    problem, pairs = quartic(d1 + 10 * d2, d1, d2, 25)
    assert float(problem.measure(torch.stack([end for pair in pairs for end in pair]))["loss"].max()) < 1e-25
    results = ws.connect_many(problem, pairs, 9e-11, strategy=Constrained(max_depth=1, retries=12))
    for (a, b), result in zip(pairs, results, strict=True):
        assert len(result.string) == 3, f"{result.outcome}, lowest {result.outcome.evidence.lowest_loss}"
        bead = result.string[1]
        assert float(problem.measure(bead[None])["loss"]) < 1e-10
        assert abs(float((bead - a).norm() - (bead - b).norm())) < 1e-12


def test_between_a_model_and_its_negative_the_midpoint_does_not_move():
    problem, ((a, b), *_) = quartic(3, 1, 3, 1)
    tether = Tether(Hyperplane(), a, b)
    (stuck,) = descend(
        problem, lambda t: problem.measure(t)["loss"], [Start(torch.zeros_like(a), 1e-10, 1e-10, "m", tether=tether)],
        seed=0, recipe=Recipe("sgd", {"lr": 0.1}, check_every=10, patience=5, max_steps=1_000),
    )  # fmt: skip
    assert stuck.status == "exhausted"
    assert not stuck.theta.any()
