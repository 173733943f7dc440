"""Beads that descend by steps of one length."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch

import weightstring as ws
from weightstring.descent import Descents, Start
from weightstring.path import Objective
from weightstring.problem.surfaces import Ring, TwoWells, shifted
from weightstring.recipe import Recipe
from weightstring.search import Even, Greedy
from weightstring.search.methods.even import STRIDE, evenly

RECIPES = {
    "adam": Recipe("adam", {"lr": 0.05}, check_every=8),
    "adamw": Recipe("adamw", {"lr": 5.0, "weight_decay": 9.0}),
}


@pytest.mark.parametrize("length", [2.0**-3, 2.0**-20])
def test_a_step_has_the_length_of_its_rate_whatever_the_slope(length):
    for lift, scale in ((0.0, 1.0), (3.0, 1.0)):
        ring = shifted(Ring(wall=scale), torch.tensor([5.0, -2.0], dtype=torch.float64), lift=lift)
        start = ring.ends[0] + 0.3
        recipe = replace(ring.recipe.even, check_every=1, max_steps=1)
        batch = Descents(ring, Objective(ring), seed=0, recipe=recipe, width=1)
        batch.add(Start(start, -9.0, -9.0, "a", rate=length), 0)
        finished = {}
        while not batch.idle:
            finished |= batch.advance()
        assert float((finished[0].theta - start).norm()) == pytest.approx(length, rel=1e-6)


def test_steps_are_a_share_of_the_distance_and_few_lengths_differ():
    start = Start(torch.zeros(2), 0.1, 0.2, "a", rate=0.3)
    rates = {evenly(start, distance).descent.rate for distance in torch.linspace(3, 5, 50).tolist()}
    assert len(rates) <= 2
    assert all(0.3 * STRIDE * 3 / math.sqrt(2) <= rate <= 0.3 * STRIDE * 5 * math.sqrt(2) for rate in rates)
    assert evenly(start, 0.0).descent.rate > 0


@pytest.mark.parametrize("name", RECIPES)
def test_the_optimizer_of_the_recipe_does_not_matter(name):
    ring = Ring(size=6)
    result = ws.connect(ring, *ring.ends, 0.1, strategy=Even(), recipe=RECIPES[name])
    again = ws.connect(ring, *ring.ends, 0.1, strategy=Even(), recipe=Recipe("sgd", {"lr": 1e-9}))
    assert result.connected
    assert result.string.length == pytest.approx(again.string.length, rel=0.05)


@pytest.mark.slow
def test_no_string_below_the_pass():
    well = TwoWells()
    result = ws.connect(well, *well.ends, 0.9 * well.gamma(*well.ends), strategy=Even())
    assert not result.connected


def test_strings_are_shorter_than_those_of_an_optimizer_that_scales_coordinates():
    ring = Ring(size=30, radii=(1.0, 2.5))
    greedy, even = (
        ws.connect(ring, *ring.ends, 0.05, strategy=strategy, recipe=Recipe("adam", {"lr": 0.2}, check_every=5))
        for strategy in (Greedy(), Even())
    )
    assert even.connected
    assert even.string.length < greedy.string.length
