"""Beads that find the length of their own steps."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import nn

import weightstring as ws
from weightstring.descent import Start, Step, Tether, descend
from weightstring.descent.constraint import Hyperplane
from weightstring.descent.stride import Stride
from weightstring.errors import InvalidSetting
from weightstring.path import Objective
from weightstring.problem.surfaces import Ring, TwoWells
from weightstring.recipe import Recipe

TUNED = Recipe.tuned()
WELLS = TwoWells(size=5)


def starts(*shares: float, surface=WELLS, aim: float = 0.3, limit: float = 0.4) -> list[Start]:
    a, b = surface.ends
    offset = torch.linspace(0.1, 0.5, surface.size, dtype=surface.dtype)
    return [Start(torch.lerp(a, b, share) + offset, aim, limit, f"bead {share}") for share in shares]


def reached(surface, some, recipe=TUNED):
    return descend(surface, Objective(surface), some, seed=0, recipe=recipe)


def test_on_a_parabola_the_rate_leads_to_its_least():
    curvature, theta = 5.0, 3.0
    stride = Stride(aim=0.0, every=5)
    stride.begin(loss=curvature * theta**2 / 2, slope=(curvature * theta) ** 2)
    there = theta - stride.rate * curvature * theta
    assert stride.tried(loss=curvature * there**2 / 2, slope=curvature * there * curvature * theta)
    assert stride.rate == pytest.approx(1 / curvature)


def test_a_trial_that_leads_too_far_is_made_nearer():
    stride = Stride(aim=0.0, every=5)
    stride.begin(loss=1.0, slope=1.0)
    assert not stride.tried(loss=float("inf"), slope=float("nan"))
    assert stride.rate == 0.5 / 8
    assert stride.tried(loss=0.95, slope=0.5)
    assert stride.rate == pytest.approx(0.5 / 8 / 0.5)


def test_looks_come_where_the_aim_would_be_reached():
    stride = Stride(aim=1.0, every=5)
    stride.seen(0, 4.0)
    assert (stride.look, stride.seen(10, 2.4)) == (10, False)
    assert stride.look == 10 + 8  # 1.4 above the aim, at .16 a step
    stride.seen(18, 2.3)
    assert stride.look == 18 + 16  # no more than twice as far as the last time


def test_with_a_known_step_it_is_plain_descent_with_momentum_and_average():
    (start,) = starts(0.5, aim=-1.0)
    known = replace(start, step=Step("sgd", 0.01))
    plain = Recipe("sgd", {"lr": 0.01, "momentum": 0.9}, check_every=10, max_steps=10, average=0.95)
    (mine,) = reached(WELLS, [known], replace(TUNED, max_steps=10))
    (other,) = reached(WELLS, [start], plain)
    torch.testing.assert_close(mine.theta, other.theta, rtol=1e-12, atol=1e-13)
    assert (mine.steps, mine.step) == (10, Step("sgd", 0.01))


def test_what_a_bead_finds_does_not_depend_on_who_is_beside_it():
    surface = Ring(size=12)
    many = starts(0.2, 0.35, 0.5, 0.65, 0.8, surface=surface)
    many[1] = replace(many[1], step=Step("sgd", 40.0))
    many[2] = replace(many[2], step=Step("adam", 0.01))
    for start, beside in zip(many, reached(surface, many), strict=True):
        (alone,) = reached(surface, [start])
        assert torch.equal(alone.theta, beside.theta)
        assert (alone.steps, alone.value, alone.step) == (beside.steps, beside.value, beside.step)


@pytest.mark.parametrize("step", [Step("sgd", 1e3), Step("adam", 1e3)])
def test_steps_that_fail_are_shortened(step):
    (start,) = starts(0.9)
    (descended,) = reached(WELLS, [replace(start, step=step)])
    assert descended.status == "reached"
    assert descended.step.rate < step.rate


def test_adam_takes_over_where_the_arrival_is_far_ahead():
    class Narrow(TwoWells):
        def gradient(self, thetas, rows=None):
            scale = torch.tensor([1e-4, 1.0, 1.0], dtype=torch.float64)
            found = super().gradient(thetas, rows)
            return found._replace(gradients=found.gradients * scale)

    surface = Narrow(size=3)
    (descended,) = reached(surface, starts(0.9, surface=surface, aim=1e-3, limit=2e-3))
    assert descended.status == "reached"
    assert descended.step.rule == "adam"


def test_a_tied_bead_stays_on_the_plane():
    (start,) = starts(0.5, aim=-1.0, limit=9.0)
    a, b = WELLS.ends
    left, right = a + 0.3, b - 0.1
    tied = replace(start, tether=Tether(Hyperplane(), left, right))
    (descended,) = reached(WELLS, [tied], replace(TUNED, max_steps=40))
    gap = right - left
    assert abs(float((descended.theta - (left + right) / 2) @ gap / (gap @ gap))) < 1e-12


@pytest.mark.slow
def test_a_search_remembers_what_its_first_bead_found_and_resumes_to_the_same_bits(tmp_path):
    x = torch.linspace(-1, 1, 40)[:, None]
    net = nn.Sequential(nn.Linear(1, 6), nn.Tanh(), nn.Linear(6, 1))
    problem = ws.ModuleProblem(net, nn.functional.mse_loss, (x, (3 * x).sin()), batch_size=16, engine="stack")
    assert problem.recipe == TUNED
    a, b = (problem.fit(seed=seed, until=0.02, recipe=Recipe("adam", {"lr": 0.02})) for seed in (0, 1))
    whole = ws.connect(problem, a, b, 0.02)
    found = [record.step for record in whole.history if record.step is not None]
    assert found
    assert whole.step == found[-1]
    begun = ws.connect(problem, a, b, 0.02, store=tmp_path / "run", stop=ws.MaxBeads(3))
    assert not begun.connected
    resumed = ws.connect(problem, a, b, 0.02, store=tmp_path / "run")
    assert resumed.step == whole.step
    for one, other in zip(whole.string.beads, resumed.string.beads, strict=True):
        assert torch.equal(one, other)
    assert str(whole.step) in ws.write_report(tmp_path / "run").read_text()


def test_it_takes_no_options(refused):
    with refused(InvalidSetting, r"^Recipe\('auto', \{'lr': 0.1\}, ...\) finds its own step"):
        Recipe("auto", {"lr": 0.1})
