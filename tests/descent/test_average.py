"""The average of the iterates, measured and kept in place of the last one."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from weightstring.descent import Start, Tether, descend
from weightstring.descent.constraint import Hyperplane
from weightstring.errors import InvalidSetting
from weightstring.path import Objective
from weightstring.problem.surfaces import Ring
from weightstring.recipe import Recipe

RING = Ring(dtype=torch.float64, size=12)
RECIPE = Recipe("sgd", {"lr": 0.04, "momentum": 0.5}, check_every=4, patience=100, max_steps=10, average=0.8)


def starts(*shares: float) -> list[Start]:
    a, b = RING.ends
    return [Start(torch.lerp(a, b, share), -1.0, 9.0, f"bead {share}", rate=1 + share) for share in shares]


def reached(recipe: Recipe, *some: Start):
    return descend(RING, Objective(RING), some, seed=0, recipe=recipe, width=2)


def test_it_is_the_weighted_mean_of_a_plain_loop():
    (start,) = starts(0.4)
    (descended,) = reached(RECIPE, start)
    theta = start.theta.clone().requires_grad_()
    optimizer, iterates = torch.optim.SGD([theta], lr=0.04 * 1.4, momentum=0.5), []
    for _ in range(RECIPE.max_steps):
        theta.grad = RING.gradient(theta.detach()[None]).gradients[0]
        optimizer.step()
        iterates.append(theta.detach().clone())
    averages = [start.theta]
    for steps in (4, 8, 10):
        weights = torch.tensor([0.2 * 0.8 ** (steps - i) for i in range(1, steps + 1)], dtype=torch.float64)
        averages.append(weights @ torch.stack(iterates[:steps]) / (1 - 0.8**steps))
    heights = RING.measure(torch.stack(averages))["loss"]
    assert descended.value == pytest.approx(heights.min().item(), rel=1e-12)
    torch.testing.assert_close(descended.theta, averages[int(heights.argmin())], rtol=1e-12, atol=1e-14)


def test_it_does_not_depend_on_who_descends_beside_it_and_leaves_the_steps_alone():
    many = starts(0.3, 0.4, 0.5, 0.6)
    for start, beside in zip(many, reached(RECIPE, *many), strict=True):
        (alone,) = reached(RECIPE, start)
        assert torch.equal(alone.theta, beside.theta)
    one_step = replace(RECIPE, max_steps=1)
    first, plain = reached(one_step, many[0])[0], reached(replace(one_step, average=None), many[0])[0]
    assert torch.equal(first.theta, plain.theta)  # the average of one iterate


def test_a_tied_bead_and_its_average_stay_on_the_plane():
    a, b = (end.float() for end in RING.ends)
    left, right = a + torch.arange(12.0), b - 1
    (start,) = starts(0.4)
    tied = replace(start, theta=start.theta.float(), tether=Tether(Hyperplane(), left, right))
    ring = Ring(size=12, dtype=torch.float32)
    (descended,) = descend(ring, Objective(ring), [tied], seed=0, recipe=RECIPE)
    gap, off = (right - left).double(), descended.theta.double() - (left.double() + right.double()) / 2
    assert abs(float(off @ gap / (gap @ gap))) < 1e-6


def test_a_recipe_without_it_is_written_as_before(refused):
    assert "average" not in Recipe().plain()
    assert "average" not in repr(Recipe())
    assert eval(repr(RECIPE)) == RECIPE == Recipe(**RECIPE.plain())
    assert RECIPE.even.average is None
    with refused(InvalidSetting, r"^Recipe\(average=1\): give β in \(0, 1\), or None"):
        Recipe(average=1)
