"""Descents side by side: each as if it were alone, each ended by the first rule that applies to it."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from weightstring.descent import Check, Descended, Start, batch_width, descend
from weightstring.descent import loop as descent_module
from weightstring.descent.loop import MOST, WIDTH
from weightstring.descent.plateau import MIN_IMPROVEMENT
from weightstring.path import Objective
from weightstring.problem.surfaces import Ring, TwoWells, shifted
from weightstring.recipe import Recipe

SGD = Recipe("sgd", {"lr": 0.02, "momentum": 0.9}, check_every=7, patience=6, max_steps=70)
RMSPROP = Recipe("rmsprop", {"lr": 0.05}, check_every=4, patience=5, max_steps=90)
ADAM = Recipe("adam", {"lr": 0.05}, check_every=10, patience=4, max_steps=65)
PLAIN = Recipe("sgd", {"lr": 0.1}, check_every=7, patience=3, max_steps=25)


def starts(count: int, low: float = -math.inf, high: float = -math.inf, size: int = 5) -> list[Start]:
    """Points at growing distances, with aims between low and high, some at other learning rates."""
    noise = torch.randn(count, size, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    spread = torch.linspace(0.1, 4, count, dtype=torch.float64)[:, None]
    aims = torch.linspace(low, high, count).tolist() if math.isfinite(low) else [low] * count
    return [
        Start(theta, aim, aim, f"bead {i}", 0.5 if i % 3 == 1 else 1.0)
        for i, (theta, aim) in enumerate(zip(3 + spread * noise, aims, strict=True))
    ]


def assert_same(one: Descended, other: Descended) -> None:
    assert (one.status, one.steps, one.evaluations) == (other.status, other.steps, other.evaluations)
    assert one.value == pytest.approx(other.value, rel=1e-12)
    torch.testing.assert_close(one.theta, other.theta, rtol=1e-12, atol=1e-12)


@pytest.mark.many(quick=8)
@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize("recipe", [SGD, RMSPROP, ADAM, PLAIN], ids=["sgd", "rmsprop", "adam", "uneven checks"])
@pytest.mark.parametrize("batch_size", [None, 5])
@pytest.mark.parametrize("width", [1, 3, 64])
def test_many_side_by_side_equal_one_at_a_time(cloud, recipe, batch_size, width):
    problem = cloud(batch_size=batch_size)
    height = Objective(problem)
    many = starts(11, 1.5, 4.0)
    together = descend(problem, height, many, seed=3, recipe=recipe, width=width)
    assert len({result.steps for result in together}) >= 3  # so that they leave and join at different times
    for start, result in zip(many, together, strict=True):
        (alone,) = descend(problem, height, [start], seed=3, recipe=recipe)
        assert_same(result, alone)


@pytest.mark.parametrize("recipe", [SGD, ADAM], ids=["sgd", "adam"])
def test_a_descent_is_that_of_a_plain_loop(cloud, recipe):
    problem = cloud()
    (start,) = starts(1)
    (result,) = descend(problem, Objective(problem), [start], seed=0, recipe=replace(recipe, patience=1000))
    theta = start.theta.clone().requires_grad_()
    optimizer = {"sgd": torch.optim.SGD, "adam": torch.optim.Adam}[recipe.optimizer]([theta], **recipe.options)
    best = problem.measure(theta.detach()[None])["loss"].item(), theta.detach().clone()
    for step in range(1, recipe.max_steps + 1):
        theta.grad = problem.gradient(theta.detach()[None], None).gradients[0]
        optimizer.step()
        if step % recipe.check_every == 0 or step == recipe.max_steps:
            value = problem.measure(theta.detach()[None])["loss"].item()
            best = min(best, (value, theta.detach().clone()), key=lambda pair: pair[0])
    assert result.value == pytest.approx(best[0], rel=1e-12)
    torch.testing.assert_close(result.theta, best[1], rtol=1e-12, atol=0)
    assert (result.status, result.steps) == ("exhausted", recipe.max_steps)
    assert result.evaluations == 1 + math.ceil(recipe.max_steps / recipe.check_every)


@pytest.mark.many(quick=6)
@pytest.mark.parametrize("schedule", ["constant", "linear", "cosine"])
@pytest.mark.parametrize(("warmup", "clip"), [(0, None), (9, None), (0, 0.8), (9, 0.8)])
@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
def test_schedule_warmup_and_clipping_are_those_of_a_plain_loop(cloud, schedule, warmup, clip, optimizer):
    problem = cloud()
    recipe = Recipe(
        optimizer, {"lr": 0.05}, check_every=6, patience=100, max_steps=33, clip=clip, schedule=schedule, warmup=warmup
    )
    many = starts(5, 1.6, 1.9)
    for start, result in zip(
        many, descend(problem, Objective(problem), many, seed=0, recipe=recipe, width=2), strict=True
    ):
        theta = start.theta.clone().requires_grad_()
        plain = {"sgd": torch.optim.SGD, "adam": torch.optim.Adam}[optimizer]([theta], lr=1.0)
        states = [(problem.measure(theta.detach()[None])["loss"].item(), theta.detach().clone())]
        for step in range(result.steps):
            falling = {"constant": 1.0, "linear": 1 - step / 33, "cosine": math.cos(math.pi * step / 66) ** 2}[schedule]
            rising = min(1.0, (step + 1) / (warmup + 1))
            plain.param_groups[0]["lr"] = 0.05 * start.rate * falling * rising
            theta.grad = problem.gradient(theta.detach()[None], None).gradients[0]
            if clip is not None:
                theta.grad *= min(1.0, clip / theta.grad.norm().item())
            plain.step()
            if (step + 1) % 6 == 0 or step + 1 == 33:
                states.append((problem.measure(theta.detach()[None])["loss"].item(), theta.detach().clone()))
        value, best = min(states, key=lambda state: state[0])
        assert result.value == pytest.approx(value, rel=1e-12)
        torch.testing.assert_close(result.theta, best, rtol=1e-11, atol=1e-12)


@pytest.mark.parametrize(("steps", "rise"), [(33, 0), (250, 100), (4, 0)])
def test_one_cycle_has_the_rates_that_torch_gives_it(cloud, steps, rise):
    problem = cloud()
    recipe = replace(Recipe.one_cycle(steps, "sgd", average=None, lr=0.2), warmup=rise)
    theta = torch.zeros(problem.size, dtype=problem.dtype, requires_grad=True)
    plain = torch.optim.SGD([theta], lr=1.0)
    share = rise / steps if rise else 0.3
    cycle = torch.optim.lr_scheduler.OneCycleLR(plain, 0.2, total_steps=steps, pct_start=share, cycle_momentum=False)
    (start,) = starts(1)
    theta.data.copy_(start.theta)
    for step in range(steps):
        assert 0.2 * recipe.rate(step) == pytest.approx(plain.param_groups[0]["lr"], abs=1e-15)
        theta.grad = problem.gradient(theta.detach()[None], None).gradients[0]
        plain.step()
        if step + 1 < steps:
            cycle.step()
    whole = replace(recipe, check_every=steps)
    (found,) = descend(problem, Objective(problem), [start], seed=0, recipe=whole)
    assert found.steps == steps
    torch.testing.assert_close(found.theta, theta.detach(), rtol=1e-11, atol=1e-12)


def test_minibatches_depend_on_seed_and_place_only(cloud):
    problem = cloud(batch_size=5)
    recipe = replace(PLAIN, patience=100)
    (start,) = starts(1)

    def end(seed: int, place: str) -> Tensor:
        return descend(problem, Objective(problem), [replace(start, place=place)], seed=seed, recipe=recipe)[0].theta

    assert torch.equal(end(1, "x"), end(1, "x"))
    assert not torch.equal(end(1, "x"), end(2, "x"))
    assert not torch.equal(end(1, "x"), end(1, "y"))


def test_it_stops_at_the_first_check_that_reaches_the_aim():
    surface = shifted(TwoWells(size=3), torch.tensor([4.0, 3.0, 2.0], dtype=torch.float64), lift=1.0)
    theta = surface.ends[0] + torch.tensor([0.5, 0.4, 0.3], dtype=torch.float64)
    recipe = replace(surface.recipe, check_every=3)
    aim = 1.2 * surface.gamma(surface.ends[0], surface.ends[0])
    (result,) = descend(surface, Objective(surface), [Start(theta, aim, aim, "x")], seed=0, recipe=recipe)
    assert result.status == "reached"
    assert result.value <= aim
    assert result.value == surface.measure(result.theta[None])["loss"].item()
    before = theta
    for _ in range(result.steps - 3):
        before = before - recipe.options["lr"] * surface.gradient(before[None]).gradients[0]
    assert surface.measure(before[None])["loss"].item() > aim


def test_a_start_that_is_low_enough_stays_where_it_is(watched):
    ring = watched(Ring())
    a, b = ring.problem.ends
    results = descend(ring, Objective(ring), [Start(a, 0.5, 0.5, "a"), Start(b, 0.0, 0.5, "b")], seed=0, width=1)
    assert ring.gradients == results[1].steps
    assert torch.equal(results[0].theta, a)
    assert (results[0].status, results[0].steps, results[0].evaluations) == ("reached", 0, 1)


def test_what_stays_above_the_aim_counts_if_it_is_under_the_limit():
    surface = shifted(Ring(), torch.tensor([2.0, 1.0], dtype=torch.float64), lift=1.0)
    theta = surface.ends[0] * 1.1
    results = descend(
        surface,
        Objective(surface),
        [Start(theta, 0.9, 1.001, "possible"), Start(theta, 0.9, 0.95, "impossible")],
        seed=0,
    )
    assert [result.status for result in results] == ["reached", "exhausted"]
    assert results[0].value == pytest.approx(1.0, abs=1e-9)
    assert results[0].steps < results[1].steps  # what counts already is not followed for long


def replayed(heights: list[float], recipe: Recipe, aim: float, limit: float) -> Descended:
    """A descent on a ring whose heights are told, check by check."""
    told = iter(heights)
    ring = Ring()

    def height(thetas: Tensor) -> Tensor:
        return torch.tensor([next(told) for _ in thetas], dtype=torch.float64)

    return descend(ring, height, [Start(ring.ends[0] * 1.3, aim, limit, "x")], seed=0, recipe=recipe)[0]


ONE_STEP = Recipe("sgd", {"lr": 0.01}, check_every=1, patience=3, max_steps=1000)


@pytest.mark.parametrize(
    ("heights", "aim", "limit", "expected"),
    [
        ([5.0, 4.0, 3.0, 2.0], 2.0, 2.0, (2.0, "reached", 3)),
        ([5.0, 4.0, 4.0, 4.0, 4.0], 1.0, 1.0, (4.0, "exhausted", 4)),
        ([5.0, 4.0, 4.0], 1.0, 4.0, (4.0, "reached", 2)),
        ([5.0, 4.0, 6.0, 7.0, 8.0], 1.0, 1.0, (4.0, "exhausted", 4)),
        ([5.0, 4.0, 6.0, 3.0, 6.0], 1.0, 3.5, (3.0, "reached", 4)),
        ([5.0, 4.0, math.inf], 1.0, 1.0, (4.0, "diverged", 2)),
        ([5.0, 4.0, math.nan], 1.0, 1.0, (4.0, "diverged", 2)),
        ([5.0, 4.0, math.nan], 1.0, 4.5, (4.0, "reached", 2)),
        ([math.inf], 1.0, 1.0, (math.inf, "diverged", 0)),
        ([math.nan], 1.0, 1.0, (math.inf, "diverged", 0)),
        ([math.inf], math.nan, math.inf, (math.inf, "diverged", 0)),
        ([-1.0, -2.0, -3.0], -2.5, -2.0, (-3.0, "reached", 2)),
        ([0.0, 0.0, 0.0, 0.0], -1.0, -1.0, (0.0, "exhausted", 3)),
    ],
)
def test_the_rules_that_end_a_descent(heights, aim, limit, expected):
    result = replayed(heights, ONE_STEP, aim, limit)
    assert (result.value, result.status, result.steps) == expected
    assert result.evaluations == expected[2] + 1


@pytest.mark.parametrize(("limit", "steps"), [(1.0, 9), (4.0, 3)])
def test_a_descent_under_its_limit_has_a_quarter_of_the_patience(limit, steps):
    assert replayed([5.0, *[4.0] * 20], replace(ONE_STEP, patience=8), 1.0, limit).steps == steps


def test_improvement_is_measured_from_where_patience_began_so_that_slow_progress_counts():
    slow = [1.0 - 0.4 * MIN_IMPROVEMENT * i for i in range(100)]
    result = replayed(slow, replace(ONE_STEP, max_steps=60), 0.0, 0.0)
    assert result.steps == 60  # 0.4 of an improvement a check: a whole one within the patience of 3
    slower = [1.0 - 0.3 * MIN_IMPROVEMENT * i for i in range(100)]
    result = replayed(slower, replace(ONE_STEP, max_steps=60), 0.0, 0.0)
    assert (result.steps, result.value) == (3, slower[3])


def test_the_best_state_is_kept_when_the_descent_climbs_again():
    ring = shifted(Ring(), torch.tensor([3.0, 3.0], dtype=torch.float64))
    theta = ring.ends[0] + 0.3
    seen = []

    def height(thetas: Tensor) -> Tensor:
        values = Objective(ring)(thetas)
        seen.extend(zip(values.tolist(), thetas.clone(), strict=True))
        return values

    recipe = Recipe("sgd", {"lr": 0.12, "momentum": 0.95}, check_every=1, patience=8, max_steps=50)  # swings
    (result,) = descend(ring, height, [Start(theta, -1.0, -1.0, "x")], seed=0, recipe=recipe)
    best = min(seen, key=lambda pair: pair[0])
    assert best[0] < seen[-1][0]
    assert result.value == best[0]
    assert torch.equal(result.theta, best[1])


@pytest.mark.parametrize("max_steps", [1, 19, 20, 21])
def test_max_steps_always_ends_it(max_steps):
    recipe = Recipe("adam", {"lr": 1e-5}, check_every=10, patience=10**6, max_steps=max_steps)
    ring = Ring()
    (result,) = descend(ring, Objective(ring), [Start(ring.ends[0] * 1.5, -1.0, -1.0, "x")], seed=0, recipe=recipe)
    assert (result.status, result.steps) == ("exhausted", max_steps)
    assert result.evaluations == 1 + math.ceil(max_steps / 10)


def test_one_that_diverges_harms_no_other():
    ring = shifted(Ring(size=4), torch.tensor([3.0, -2.0, 1.0, 5.0], dtype=torch.float64))
    good = [Start(ring.ends[i % 2] * 1.1, 1e-3, 1e-3, f"good {i}") for i in range(3)]
    far = [Start(ring.ends[0] * 40, 1e-3, 1e-3, f"far {i}", 3.0) for i in range(2)]
    mixed = [good[0], far[0], good[1], far[1], good[2]]
    results = descend(ring, Objective(ring), mixed, seed=0, width=2)
    assert [result.status for result in results] == ["reached", "diverged", "reached", "diverged", "reached"]
    for start, result in zip(good, results[::2], strict=True):
        assert_same(result, descend(ring, Objective(ring), [start], seed=0)[0])
    for start, result in zip(far, results[1::2], strict=True):
        assert torch.equal(result.theta, start.theta)  # the best state before it diverged: it never improved
        assert math.isfinite(result.value)


def test_starts_are_not_touched_and_results_are_their_own(cloud):
    problem = cloud(dtype=torch.float32)
    theta = torch.full((5,), 9.0)
    same = [Start(theta, 0.0, 0.0, "x"), Start(theta, 0.0, 0.0, "y")]
    first, second = descend(problem, Objective(problem), same, seed=0)
    assert torch.equal(theta, torch.full((5,), 9.0))
    assert torch.equal(first.theta, second.theta)
    assert first.theta.dtype == torch.float32
    assert not first.theta.requires_grad
    first.theta.zero_()
    assert not torch.equal(first.theta, second.theta)


def test_no_starts_no_results():
    ring = Ring()
    assert descend(ring, Objective(ring), [], seed=0) == []


def test_no_more_run_side_by_side_than_the_width(watched, cloud):
    batches = []

    class Narrow(watched):
        def gradient(self, thetas, rows):
            batches.append(len(thetas))
            return super().gradient(thetas, rows)

    problem = Narrow(cloud())
    descend(problem, Objective(problem), starts(7, 1.5, 4.0), seed=0, recipe=ADAM, width=3)
    assert max(batches) == 3
    assert problem.gradients == sum(batches)


def test_checks_are_told_and_may_end_it_all(cloud):
    class Enough(Exception):
        pass

    told = []

    def on_check(check: Check) -> None:
        told.append(check)
        if check.finished == 2:
            raise Enough

    problem = cloud()
    with pytest.raises(Enough):
        descend(problem, Objective(problem), starts(5, 1.5, 4.0), seed=0, recipe=ADAM, width=2, on_check=on_check)
    assert [check.finished for check in told] == sorted(check.finished for check in told)
    assert told[0].steps == 0
    assert all(check.running <= 2 for check in told)
    assert all(check.lowest > 1.7 for check in told)


def test_width_shrinks_with_the_size_of_models(monkeypatch):
    assert batch_width(Ring()) == WIDTH
    assert batch_width(Ring(), 3) == 3 * WIDTH
    assert batch_width(Ring(), 10**6) == MOST
    monkeypatch.setattr(descent_module, "MEMORY", 6 * 8 * 100 * 3)
    assert batch_width(Ring(size=100)) == batch_width(Ring(size=100), 50) == 3
    assert batch_width(Ring(size=100, dtype=torch.float32)) == 6
    assert batch_width(Ring(size=10_000)) == 1
