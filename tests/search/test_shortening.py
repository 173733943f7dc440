"""Shortening a string under its threshold."""

from __future__ import annotations

import math

import pytest
import torch

import weightstring as ws
from weightstring.errors import InvalidSetting
from weightstring.problem.surfaces import Maze, Ring, TwoWells
from weightstring.recipe import Recipe
from weightstring.search import BreadthFirst, Greedy
from weightstring.search.methods.shortened import Shortened
from weightstring.tasks import load_task


def densest(problem, string, points=401):
    """The largest loss on a dense grid of every segment."""
    ts = torch.linspace(0, 1, points, dtype=torch.float64)
    return max(float(ws.loss_curve(problem, segment.a, segment.b, ts).max()) for segment in string.segments)


def shortest_round_the_ring(ring, threshold):
    """Tangents from both ends to the hole that the threshold leaves, and the arc between them (radii (1, 1))."""
    hole = math.sqrt(1 - math.sqrt(threshold / ring.wall))
    first, last = ring.angles
    turn = abs(first - last) % (2 * math.pi)
    turn = min(turn, 2 * math.pi - turn)
    arc = turn - 2 * math.acos(hole)
    return 2 * math.sqrt(1 - hole * hole) + hole * max(arc, 0.0) if arc > 0 else 2 * math.sin(turn / 2)


@pytest.mark.many(quick=1)
@pytest.mark.parametrize(
    ("threshold", "strategy", "size"),
    [(0.02, Greedy(), 2), (0.1, BreadthFirst(), 2), (0.1, Greedy(), 10), (0.3, BreadthFirst(), 10)],
)
def test_on_the_ring_it_comes_near_the_shortest_path(threshold, strategy, size):
    ring = Ring(size=size, radii=(1.0, 1.0), angles=(1.8, -0.9))
    plain = ws.connect(ring, *ring.ends, threshold, strategy=strategy)
    result = ws.connect(ring, *ring.ends, threshold, strategy=Shortened(strategy))
    assert result.connected
    shortest = shortest_round_the_ring(ring, threshold)
    assert shortest * (1 - 1e-9) <= result.string.length <= 1.02 * shortest
    assert result.string.length <= plain.string.length
    assert result.length_before == pytest.approx(plain.string.length)
    assert densest(ring, result.string) <= threshold * (1 + 1e-9)


@pytest.mark.parametrize("size", [2, 10])
def test_drawn_tight_it_is_shorter_under_the_same_threshold_for_no_gradient(size):
    ring = Ring(size=size, radii=(1.0, 1.0), angles=(1.8, -0.9))
    plain = ws.connect(ring, *ring.ends, 0.1)
    result = ws.connect(ring, *ring.ends, 0.1, strategy=Shortened(quick=True))
    assert result.connected
    assert result.steps == plain.steps
    assert len(result.string) == len(plain.string)
    assert result.string.length < plain.string.length == result.length_before
    assert densest(ring, result.string) <= 0.1 * (1 + 1e-9)


@pytest.mark.many(quick=1)
@pytest.mark.parametrize("problem", [Ring(ridge=0.25), Maze(), TwoWells(bend=0.9)], ids=lambda p: type(p).__name__)
def test_it_never_lengthens_and_never_breaks_the_threshold(problem):
    threshold = 1.2 * problem.gamma(*problem.ends)
    plain = ws.connect(problem, *problem.ends, threshold)
    result = ws.connect(problem, *problem.ends, threshold, strategy=Shortened())
    assert result.connected == plain.connected
    if plain.connected:
        assert result.string.length <= result.length_before == pytest.approx(plain.string.length)
        assert densest(problem, result.string) <= threshold * (1 + 1e-9)


def test_it_is_no_longer_than_the_best_of_plain_searches_for_fewer_gradients():
    ring = Ring(size=20, radii=(1.0, 2.0))
    recipes = [Recipe("adam", {"lr": 0.1}), Recipe("rmsprop", {"lr": 0.03}), Recipe("sgd", {"lr": 0.02})]
    plain = [ws.connect(ring, *ring.ends, 0.05, strategy=Greedy(), recipe=recipe) for recipe in recipes]
    assert any(result.connected for result in plain)
    result = ws.connect(ring, *ring.ends, 0.05, strategy=Shortened(), recipe=recipes[0])
    assert result.string.length <= min(one.string.length for one in plain if one.connected)
    assert result.steps < sum(one.steps for one in plain)


def test_stopped_while_it_looks_for_another_it_has_the_first():
    ring = Ring()
    plain = ws.connect(ring, *ring.ends, 0.1, strategy=Greedy())
    cut = ws.connect(ring, *ring.ends, 0.1, strategy=Shortened(Greedy()), stop=ws.MaxSteps(plain.steps + 1))
    assert cut.connected
    assert cut.string.length == cut.length_before == pytest.approx(plain.string.length)


def test_what_is_straight_stays(refused):
    ring = Ring()
    result = ws.connect(ring, *ring.ends, 2.0, strategy=Shortened())
    assert (len(result.string), result.steps, result.string.normalized_length) == (2, 0, 1.0)
    with refused(InvalidSetting, r"^Shortened\(tolerance=0"):
        Shortened(tolerance=0.0)


@pytest.mark.slow
def test_without_a_string_the_verdict_is_the_search_s_own():
    well = TwoWells()
    plain = ws.connect(well, *well.ends, 0.9, strategy=Greedy())
    result = ws.connect(well, *well.ends, 0.9, strategy=Shortened())
    assert result.outcome == plain.outcome
    assert result.length_before is None


@pytest.mark.slow
def test_digits_strings_get_shorter_and_are_resumed_bit_for_bit(tmp_path):
    problem = load_task("digits")
    a, b = problem.fit(seed=0, until=0.3), problem.fit(seed=1, until=0.3)
    threshold = 1.02 * float(problem.measure(torch.stack([a, b]))["loss"].max())
    result = ws.connect(problem, a, b, threshold, strategy=Shortened(), store=tmp_path / "whole")
    assert result.connected
    assert result.string.length < result.length_before
    assert densest(problem, result.string, 101) <= threshold
    ws.connect(problem, a, b, threshold, strategy=Shortened(), store=tmp_path / "cut", stop=ws.MaxSteps(60))
    again = ws.connect(problem, a, b, threshold, strategy=Shortened(), store=tmp_path / "cut")
    assert torch.equal(again.string.beads, result.string.beads)
    assert again.length_before == result.length_before
