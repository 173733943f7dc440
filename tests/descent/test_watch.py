"""Descents that mostly look at an estimate: what they say they reached is always measured."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from weightstring.descent import Start, descend
from weightstring.path import Objective
from weightstring.recipe import Recipe

RECIPE = Recipe("adam", {"lr": 0.05}, check_every=5, patience=6, max_steps=120)
ESTIMATES = {
    "the truth": lambda heights, thetas: heights,
    "too high": lambda heights, thetas: heights + 3,
    "too low": lambda heights, thetas: heights - 3,
    "constant": lambda heights, thetas: torch.full_like(heights, 2.0),
    "upside down": lambda heights, thetas: -2 * heights,
    "much too steep": lambda heights, thetas: 9 * heights,
    "noise": lambda heights, thetas: 5 * (1e4 * thetas[:, 0]).sin(),
    "not a number": lambda heights, thetas: torch.full_like(heights, math.nan),
    "not finite": lambda heights, thetas: torch.full_like(heights, math.inf),
    "now and then not a number": lambda heights, thetas: torch.where((1e4 * thetas[:, 0]).sin() > 0, heights, math.nan),
}


def starts(low: float = 1.7, high: float = 4.0) -> list[Start]:
    noise = torch.randn(9, 5, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    aims = torch.linspace(low, high, 9).tolist()
    return [Start(3 + (1 + i / 3) * noise[i], aims[i], 1.1 * aims[i], f"bead {i}") for i in range(9)]


def counted(height):
    asked = []

    def ask(thetas: Tensor) -> Tensor:
        asked.extend(thetas.clone())  # the models move on
        return height(thetas)

    return ask, asked


@pytest.mark.many(quick=8)
@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize("estimate", ESTIMATES)
@pytest.mark.parametrize("width", [2, 64])
def test_what_a_descent_says_it_reached_is_measured_whatever_the_estimate_says(cloud, estimate, width):
    problem = cloud(batch_size=5)
    height, asked = counted(Objective(problem))
    screening = lambda thetas: ESTIMATES[estimate](Objective(problem)(thetas), thetas)  # noqa: E731
    results = descend(problem, height, starts(), seed=3, recipe=RECIPE, width=width, screening=screening)
    assert sum(result.evaluations for result in results) == len(asked)
    for start, result in zip(starts(), results, strict=True):
        assert result.value == pytest.approx(Objective(problem)(result.theta[None]).item(), rel=1e-12)
        assert (result.status == "reached") == (result.value <= start.limit)
        assert any(torch.equal(result.theta, theta) for theta in asked)
        assert result.steps <= RECIPE.max_steps


@pytest.mark.parametrize("estimate", ["the truth", "too high", "too low"])
def test_an_estimate_that_is_off_by_a_constant_changes_no_result_and_saves_measurements(cloud, estimate):
    problem = cloud()
    screening = lambda thetas: ESTIMATES[estimate](Objective(problem)(thetas), thetas)  # noqa: E731
    with_it, without = (
        descend(problem, Objective(problem), starts(), seed=3, recipe=RECIPE, width=4, screening=one)
        for one in (screening, None)
    )
    for one, other in zip(with_it, without, strict=True):
        assert (one.status, one.steps) == (other.status, other.steps)
        assert one.value == pytest.approx(other.value, rel=1e-12)
        assert torch.equal(one.theta, other.theta)
    assert sum(one.evaluations for one in with_it) < sum(one.evaluations for one in without) / 2


@pytest.mark.parametrize("screened", [False, True])
def test_a_height_that_is_known_is_not_measured_again(cloud, screened):
    problem = cloud()
    height, asked = counted(Objective(problem))
    plain = starts()
    known = [Start(s.theta, s.aim, s.limit, s.place, value=Objective(problem)(s.theta[None]).item()) for s in plain]
    screening = Objective(problem) if screened else None
    expected = descend(problem, Objective(problem), plain, seed=3, recipe=RECIPE, screening=screening)
    found = descend(problem, height, known, seed=3, recipe=RECIPE, screening=screening)
    for start, one, other in zip(plain, found, expected, strict=True):
        assert torch.equal(one.theta, other.theta)
        assert (one.value, one.status, one.steps) == (other.value, other.status, other.steps)
        assert one.evaluations == other.evaluations - 1
        assert not any(torch.equal(start.theta, theta) for theta in asked)


def test_a_start_may_be_a_function_that_is_asked_when_there_is_room(cloud):
    problem = cloud()
    begun: list[str] = []

    def later(start: Start):
        def point() -> Tensor:
            begun.append(start.place)
            return start.theta

        return point

    lazy = [Start(later(s), s.aim, s.limit, s.place) for s in starts()]
    seen: list[tuple[int, int]] = []
    found = descend(
        problem, Objective(problem), lazy, seed=3, recipe=RECIPE, width=2,
        on_check=lambda check: seen.append((check.finished + check.running, len(begun))),
    )  # fmt: skip
    expected = descend(problem, Objective(problem), starts(), seed=3, recipe=RECIPE, width=2)
    assert all(torch.equal(one.theta, other.theta) for one, other in zip(found, expected, strict=True))
    assert begun == [s.place for s in starts()]
    assert all(known == called for known, called in seen)
