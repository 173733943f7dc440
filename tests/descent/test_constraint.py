"""What ties a bead to its neighbours (Section II.C)."""

from __future__ import annotations

import math
import pickle

import pytest
import torch

from weightstring.descent import Start, Tether, constraint, descend, on_planes
from weightstring.descent.constraint import Both, Free, Hyperplane, Soft, Spring
from weightstring.errors import InvalidSetting
from weightstring.problem.surfaces import Ring
from weightstring.protocol import Recipe


def rows(seed, *shape, dtype=torch.float64):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def residuals(theta, left, right):
    """|⟨θ − m, n⟩| over ‖θ₊ − θ₋‖, in float64."""
    theta, left, right = (each.double() for each in (theta, left, right))
    gap = right - left
    return ((theta - (left + right) / 2) * gap).sum(-1).abs() / gap.square().sum(-1)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize("size", [2, 30, 20_000])
def test_the_plane_is_reached_up_to_rounding(dtype, size):
    left, right, theta = (rows(seed, 5, size, dtype=dtype) for seed in range(3))
    placed = Hyperplane().place(10 * theta, left, right)
    assert placed.dtype == dtype
    assert float(residuals(placed, left, right).max()) < (1e-6 if dtype == torch.float32 else 1e-14)


def test_what_is_on_the_plane_is_moved_along_it_only():
    left, right, gradients = (rows(seed, 4, 9) for seed in range(3))
    directed = Hyperplane().direct(left, left, right, gradients)
    assert torch.allclose((directed * (right - left)).sum(1), torch.zeros(4).double(), atol=1e-14)
    assert torch.allclose(Hyperplane().direct(left, left, right, directed), directed, atol=1e-14)


@pytest.mark.parametrize("name", ["spring:0.3", "soft:0.7", "spring:0.3+soft:0.7"])
def test_pulls_are_the_gradients_of_their_formulas(name):
    left, right, theta = (rows(seed, 1, 6) for seed in range(3))

    def penalty(bead):
        total = torch.zeros(())
        if "spring" in name:
            total = total + 0.3 * ((bead - left).norm() + (bead - right).norm())
        if "soft" in name:
            n, u = (right - left) / (right - left).norm(), bead - (left + right) / 2
            total = total + 0.7 * ((n * u).sum() / u.norm()).abs()
        return total

    leaf = theta.clone().requires_grad_()
    (expected,) = torch.autograd.grad(penalty(leaf), leaf)
    given = rows(9, 1, 6)
    assert torch.allclose(constraint(name).direct(theta, left, right, given), given + expected, atol=1e-12)


def test_at_the_midpoint_and_between_neighbours_that_coincide_everything_is_finite():
    left, right = rows(0, 3, 4), rows(1, 3, 4)
    for tie in (Hyperplane(), Spring(0.1), Soft(0.1)):
        for neighbours in ((left, right), (left, left)):
            middle = (neighbours[0] + neighbours[1]) / 2
            assert tie.direct(middle, *neighbours, rows(2, 3, 4)).isfinite().all()
            assert tie.place(middle, *neighbours).isfinite().all()


def test_constraints_compose_and_are_known_by_name():
    both = Hyperplane() & Spring(0.25) & Soft(1.5)
    assert both.name == "hyperplane+spring:0.25+soft:1.5"
    assert constraint(both.name) == both == Both((Hyperplane(), Spring(0.25), Soft(1.5)))
    assert on_planes(both)
    assert not on_planes(Free() & Spring(1.0))
    left, right, theta = (rows(seed, 2, 5) for seed in range(3))
    directed = both.direct(theta, left, right, theta)
    assert torch.allclose((directed * (right - left)).sum(1), torch.zeros(2).double(), atol=1e-12)
    assert pickle.loads(pickle.dumps(both)) == both


@pytest.mark.parametrize("name", ["", "springs", "spring", "spring:0", "soft:-1", "soft:inf", "hyperplane:2", "free+"])
def test_unknown_names_are_refused(name, refused):
    with refused(InvalidSetting, r"^(constraint |Spring|Soft)"):
        constraint(name)


@pytest.mark.parametrize("optimizer", ["sgd", "adam", "rmsprop"])
def test_a_tethered_descent_stays_on_its_plane(optimizer):
    ring = Ring(size=5)
    left, right = ring.ends
    seen = []

    class Watching(Hyperplane):
        def place(self, thetas, left, right):
            placed = super().place(thetas, left, right)
            seen.append(float(residuals(placed, left, right).max()))
            return placed

    recipe = ring.recipe
    if optimizer != "sgd":
        recipe = Recipe(optimizer, {"lr": 0.01}, check_every=5, max_steps=400)
    starts = [
        Start(ring._point(0.3, 0.2, 0.1 * i), 1e-6, 1e-6, f"{i}", tether=Tether(Watching(), left, right))
        for i in range(3)
    ]
    free = Start(ring._point(0.3, 0.2, 0.1), 1e-6, 1e-6, "free")
    *tied, loose = descend(ring, lambda t: ring.measure(t)["loss"], [*starts, free], seed=0, recipe=recipe)
    for result in tied:
        assert result.status == "reached"
        assert float(residuals(result.theta, left, right)) < 1e-14
    assert len(seen) > 10
    assert max(seen) < 1e-14
    assert float(residuals(loose.theta, left, right)) > 1e-3
    assert math.isclose(loose.value, 0, abs_tol=1e-6)
