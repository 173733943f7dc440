"""Directions without gradient: whatever scales each number, no constraint makes a bead move along them (Section II.C).

The string's part in those directions then never leaves the line between the ends' parts, on which it began.
"""

from __future__ import annotations

from dataclasses import dataclass

import pytest
import torch

import weightstring as ws
from weightstring.problem.surfaces import Ring
from weightstring.recipe import Recipe
from weightstring.search import AutoNEB, BreadthFirst, Constrained, Greedy, Shortened
from weightstring.tasks import load_task

OPTIMIZERS = {
    "sgd": {"lr": 0.02, "momentum": 0.9},
    "adam": {"lr": 0.02},
    "adamw": {"lr": 0.02, "weight_decay": 0.0},
    "rmsprop": {"lr": 0.02},
    "adagrad": {"lr": 0.1},
}
TIES = ("hyperplane", "soft:0.05", "spring:0.01", "spring:0.01+hyperplane", "soft:0.05+hyperplane")
STRATEGIES = {
    **{f"constrained {tie}": Constrained(constraint=tie) for tie in TIES},
    "shortened": Shortened(),
    "autoneb": AutoNEB(),
    **{f"breadth-first {updates}": BreadthFirst(updates=updates) for updates in ("jacobi", "red-black")},
    "breadth-first springs": BreadthFirst(constraint="spring:0.01"),
}


@dataclass(frozen=True, kw_only=True)
class Blind(Ring):
    """A ring that does not see the coordinates behind the second."""

    size: int = 7

    def loss(self, thetas):
        return super().loss(thetas[:, :2])


def off_the_line(beads, a, b):
    """How far each of the beads' parts behind the second coordinate lies from the line between those of the ends."""
    parts, start, way = beads[:, 2:] - a[2:], a[2:], (b - a)[2:]
    assert len(start) == 5
    unit = way / way.norm()
    return (parts - (parts @ unit)[:, None] * unit).norm(dim=1)


@pytest.mark.many(quick=5)
@pytest.mark.parametrize(
    ("strategy", "optimizer"),
    [*(("constrained hyperplane", optimizer) for optimizer in OPTIMIZERS), *((name, "adam") for name in STRATEGIES)],
)
def test_beads_do_not_leave_the_line_in_directions_without_gradient(strategy, optimizer):
    surface = Blind()
    a, b = (end.clone() for end in surface.ends)
    a[2:] = torch.tensor([0.3, -2.0, 1e-3, 5.0, 0.0], dtype=torch.float64)
    b[2:] = torch.tensor([0.1, 1.0, 2e-3, -1.0, 0.0], dtype=torch.float64)
    recipe = Recipe(optimizer, OPTIMIZERS[optimizer], check_every=5, max_steps=2_000)
    result = ws.connect(surface, a, b, 0.1, strategy=STRATEGIES[strategy], recipe=recipe)
    assert result.connected
    assert len(result.string) > 2
    beads = result.string.beads[:, 2:]
    assert not beads[:, 4].any()  # both ends are 0 there
    walked = (beads[1:] - beads[:-1]).norm(dim=1).sum()
    assert float(walked) < 1.05 * float((b - a)[2:].norm())
    if "spring" not in strategy:  # which straighten: they pull in every direction
        assert float(off_the_line(result.string.beads, a, b).max()) < 1e-9


@pytest.mark.slow
def test_weights_of_pixels_that_are_always_zero_stay():
    problem = load_task("digits")
    inputs = problem.fitted()[0].leaves[0]
    unseen = torch.zeros(problem.size, dtype=torch.bool)
    unseen[: 64 * 64] = (inputs == 0).all(0).repeat(64)  # weights of the first layer, one row a unit
    assert int(unseen.sum()) == 256
    a, b = (problem.fit(seed=seed, until=0.6) for seed in (0, 1))
    free = ws.connect(problem, a, b, 0.6, strategy=Greedy(max_depth=1, insert="midpoint"))
    far = float((free.string[1] - (a + b) / 2).norm())
    for tie in ("hyperplane", "spring:0.01", "soft:0.01"):
        result = ws.connect(problem, a, b, 0.6, strategy=Constrained(constraint=tie, max_depth=1, insert="midpoint"))
        moved = (result.string[1] - (a + b) / 2).double()
        assert float(moved[unseen].norm()) < 0.01 * float(moved.norm())
        assert 0.5 * far < float(moved.norm()) < 1.05 * far
