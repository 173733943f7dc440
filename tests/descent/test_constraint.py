"""What ties a bead to its neighbours (Section II.C)."""

from __future__ import annotations

import math
import pickle

import pytest
import torch

from weightstring.descent import Start, Tether, across, constraint, descend, on_planes
from weightstring.descent.constraint import Both, Free, Hyperplane, Soft, Spring
from weightstring.errors import InvalidSetting
from weightstring.problem.surfaces import Ring
from weightstring.recipe import Recipe


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


def test_of_a_step_from_the_plane_the_part_along_it_is_left():
    left, right, step = (rows(seed, 4, 9) for seed in range(3))
    before = Hyperplane().place(rows(7, 4, 9), left, right)
    moved = Hyperplane().step(before, before + step, left, right, -step) - before  # as plain SGD goes
    normals = (right - left) / (right - left).norm(dim=1, keepdim=True)
    assert torch.allclose(moved, step - (step * normals).sum(1, keepdim=True) * normals, atol=1e-13)
    assert torch.equal(Hyperplane().direct(before, left, right, step), step)


def test_a_scaled_step_across_falls_where_the_free_one_does():
    normals, gradients = rows(0, 300, 3), rows(1, 300, 3)
    normals = normals / normals.norm(dim=1, keepdim=True)
    down = gradients - (gradients * normals).sum(1, keepdim=True) * normals
    scaled = across(-gradients.sign(), gradients, normals)
    lost = -gradients.sign() + (gradients.sign() * normals).sum(1, keepdim=True) * normals
    assert ((lost * gradients).sum(1) > 0).any()  # the projected step alone would climb
    gain = gradients.abs().sum(1) / gradients.square().sum(1)
    assert ((scaled * gradients).sum(1) <= -0.499 * gain * down.square().sum(1)).all()
    assert (scaled * normals).sum(1).abs().max() < 1e-13
    torch.testing.assert_close(across(-0.1 * gradients, gradients, normals), -0.1 * down)
    uphill = across(gradients, gradients, normals)  # as momentum may go: no business of a constraint
    torch.testing.assert_close(uphill, down)
    assert not across(0 * gradients, gradients, normals).any()
    torch.testing.assert_close(across(gradients, 0 * gradients, normals), down)


@pytest.mark.parametrize("name", ["spring:0.3", "soft:0.2", "soft:0.2+spring:0.3"])
def test_plain_steps_follow_the_gradients_of_the_formulas(name):
    left, right, theta = (rows(seed, 1, 6) for seed in range(3))

    def penalty(bead):
        total = torch.zeros(())
        if "spring" in name:
            total = total + 0.3 * ((bead - left).norm() + (bead - right).norm())
        if "soft" in name:
            n, u = (right - left) / (right - left).norm(), bead - (left + right) / 2
            total = total + 0.2 * ((n * u).sum() / u.norm()).abs()
        return total

    leaf = theta.clone().requires_grad_()
    (expected,) = torch.autograd.grad(penalty(leaf), leaf)
    given = rows(9, 1, 6)
    tie, rate = constraint(name), 0.01
    seen = tie.direct(theta, left, right, given)
    after = tie.step(theta, theta - rate * seen, left, right, seen)  # as plain SGD goes
    assert torch.allclose(after, theta - rate * (given + expected), atol=1e-12)


def test_at_the_midpoint_and_between_neighbours_that_coincide_everything_is_finite():
    left, right = rows(0, 3, 4), rows(1, 3, 4)
    for tie in (Hyperplane(), Spring(0.1), Soft(0.1)):
        for neighbours in ((left, right), (left, left)):
            middle = (neighbours[0] + neighbours[1]) / 2
            given = rows(2, 3, 4)
            assert tie.direct(middle, *neighbours, given).isfinite().all()
            assert tie.step(middle, middle - given, *neighbours, given).isfinite().all()
            assert tie.step(middle, middle, *neighbours, 0 * given).isfinite().all()
            assert tie.place(middle, *neighbours).isfinite().all()


def test_constraints_compose_and_are_known_by_name():
    both = Hyperplane() & Spring(0.25) & Soft(1.5)
    assert both.name == "hyperplane+spring:0.25+soft:1.5"
    assert constraint(both.name) == both == Both((Hyperplane(), Spring(0.25), Soft(1.5)))
    assert on_planes(both)
    assert not on_planes(Free() & Spring(1.0))
    left, right, theta = (rows(seed, 2, 5) for seed in range(3))
    seen = both.direct(theta, left, right, theta)
    placed = both.place(both.step(theta, theta - seen, left, right, seen), left, right)
    assert float(residuals(placed, left, right).max()) < 1e-14
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
