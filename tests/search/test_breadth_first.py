"""Breadth-first evolution (Section II.C)."""

from __future__ import annotations

import math
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from itertools import pairwise

import pytest
import torch

import weightstring as ws
from weightstring.descent import Evolution, Evolved
from weightstring.errors import EndAboveThreshold, InvalidSetting
from weightstring.path import Maximum
from weightstring.problem.surfaces import Ring, TwoWells, shifted
from weightstring.search import Bead, BreadthFirst, Constrained, Greedy, Measured, PolyChain, Query
from weightstring.search.chain import Link, beads_of
from weightstring.search.methods.breadth_first import BreadthFirstState
from weightstring.search.methods.replacing import RATES
from weightstring.search.methods.respacing import evenly
from weightstring.search.rounds import absorbed, due
from weightstring.tasks import load_task


@pytest.mark.parametrize("constraint", ["free", "hyperplane", "spring:0.001+hyperplane"])
@pytest.mark.parametrize("updates", ["jacobi", "red-black"])
def test_it_connects_the_ring(constraint, updates):
    ring = Ring()
    result = ws.connect(ring, *ring.ends, 0.1, strategy=BreadthFirst(constraint=constraint, updates=updates))
    assert result.connected
    assert result.largest <= 0.1
    a, b = ring.ends
    assert torch.equal(result.string[0], a)
    assert torch.equal(result.string[-1], b)


def test_a_linear_pair_needs_no_bead_and_no_gradient():
    ring = Ring()
    result = ws.connect(ring, *ring.ends, 2.0, strategy=BreadthFirst())
    assert (result.connected, len(result.string), result.steps) == (True, 2, 0)


@pytest.mark.many(quick=2)
@pytest.mark.parametrize("seed", range(10))
def test_below_the_pass_it_stalls_at_the_pass_sooner_than_greedy(seed):
    random = torch.Generator().manual_seed(seed)
    bend = 0.9 * float(torch.rand((), generator=random))
    well = shifted(TwoWells(bend=bend), torch.randn(2, generator=random, dtype=torch.float64), lift=0.5)
    gamma = well.gamma(*well.ends)
    threshold = 0.9 * gamma
    result = ws.connect(well, *well.ends, threshold, strategy=BreadthFirst(retries=0))
    assert result.outcome.reason == "stalled"
    assert gamma - 1e-3 <= result.largest <= 1.05 * gamma
    assert min(v for v in result.outcome.evidence.max_per_depth if v is not None) == pytest.approx(result.largest)
    greedy = ws.connect(well, *well.ends, threshold, strategy=Greedy())
    assert not greedy.connected
    assert result.steps < greedy.steps


@pytest.mark.parametrize("respace", [False, True])
@pytest.mark.parametrize("updates", ["jacobi", "red-black"])
@pytest.mark.slow
def test_from_random_networks_the_string_sinks_to_the_threshold(respace, updates):
    problem = load_task("digits")
    a, b = problem.initial(0), problem.initial(1)
    strategy = BreadthFirst(ends="free", updates=updates, respace=respace)
    result = ws.connect(problem, a, b, 0.3, strategy=strategy)
    assert result.connected
    for segment in result.string.segments:
        values = ws.loss_curve(problem, segment.a, segment.b, torch.linspace(0, 1, 101, dtype=torch.float64))
        assert float(values.max()) <= 0.3
    assert not torch.equal(result.string[0], a)
    levels = [r.level for r in result.history]
    assert levels[0] >= levels[-1] == 0.3
    assert all(len(r.values) == r.beads for r in result.history)


def test_beads_at_the_level_get_no_gradient():
    """Every evolution moves only what is over the level."""
    seen = []

    class Watching(BreadthFirst):
        def propose(self, state):
            jobs = super().propose(state)
            seen.extend(job.descent for job in jobs if isinstance(getattr(job, "descent", None), Evolution))
            return jobs

    ring = Ring()
    assert ws.connect(ring, *ring.ends, 0.01, strategy=Watching()).connected
    assert any(len(evolution.moving) < len(evolution.thetas) - 2 for evolution in seen)
    for evolution in seen:
        assert all(not value <= evolution.aim for value in evolution.values)


@pytest.mark.parametrize(
    "strategy", [BreadthFirst(), Constrained(), PolyChain(samples=2)], ids=lambda s: type(s).__name__
)
def test_elsewhere_it_finds_the_same(strategy):
    ring = Ring()
    here = ws.connect(ring, *ring.ends, 0.2, strategy=strategy)
    with ThreadPoolExecutor(2) as pool:
        there = ws.connect(ring, *ring.ends, 0.2, strategy=strategy, executor=pool)
    assert torch.equal(here.string.beads, there.string.beads)
    assert here.steps == there.steps


def test_side_by_side_it_finds_the_same():
    ring, strategy = Ring(), BreadthFirst()
    pairs = [ring.ends, ring.ends[::-1], (ring._floor(0.3), ring._floor(2.9))]
    together = ws.connect_many(ring, pairs, 0.1, strategy=strategy)
    for pair, result in zip(pairs, together, strict=True):
        alone = ws.connect(ring, *pair, 0.1, strategy=strategy)
        assert torch.allclose(result.string.beads, alone.string.beads, atol=1e-10)
        assert result.outcome == alone.outcome


def test_held_ends_must_be_under_the_threshold():
    problem = load_task("digits")
    with pytest.raises(EndAboveThreshold):
        ws.connect(problem, problem.initial(0), problem.initial(1), 0.3, strategy=BreadthFirst())


def test_stopped_on_its_way_down_it_is_not_connected():
    ring = Ring()
    for steps in (1, 6, 11):
        result = ws.connect(ring, *ring.ends, 1e-6, strategy=BreadthFirst(), stop=ws.MaxSteps(steps))
        if not result.connected:
            assert result.outcome.reason == "steps"
        assert result.connected == (result.largest <= 1e-6)


@pytest.mark.slow
def test_a_run_on_disk_is_resumed_bit_for_bit(tmp_path):
    problem = load_task("digits")
    a, b = problem.initial(0), problem.initial(1)
    strategy = BreadthFirst(ends="free", respace=True)
    whole = ws.connect(problem, a, b, 0.5, strategy=strategy, store=tmp_path / "whole")
    ws.connect(problem, a, b, 0.5, strategy=strategy, store=tmp_path / "cut", stop=ws.MaxSteps(300))
    again = ws.connect(problem, a, b, 0.5, strategy=strategy, store=tmp_path / "cut")
    assert whole.connected
    assert torch.equal(whole.string.beads, again.string.beads)


def sunk(values, ends="held", **settings):
    """A string of five beads at a ceiling of 1, whose descents reached these values, and what follows."""
    ring = Ring()
    names = ("a", "0", "1", "2", "b")
    thetas = [torch.lerp(*ring.ends, k / 4) for k in range(5)]
    heights = (9.0, 9.0, 9.0, 9.0, 9.0) if ends == "free" else (0.4, 9.0, 9.0, 9.0, 0.4)
    before = [Bead(*bead) for bead in zip(names, thetas, heights, strict=True)]
    links = tuple(Link(left, right) for left, right in pairwise(before))
    query = Query((replace(before[0], theta=thetas[0] - 5), replace(before[4], theta=thetas[4] + 5)), 0.5, 0)
    strategy = BreadthFirst(ends=ends, **settings)
    state = BreadthFirstState(query, links, 1.0, prunes=False, best=links, due=True)
    (job,) = due(strategy, state)
    reached = tuple(values[row] for row in job.descent.moving)
    moved = job.descent.thetas[list(job.descent.moving)] + 0.1
    state = absorbed(strategy, state, {job.name: Evolved(moved, reached, ("exhausted",) * len(moved), 9, 9, ())})
    low = Measured(True, (Maximum(0.5, 0.9),), 3)
    return query, absorbed(strategy, state, {job.name: low for job in due(strategy, state)})


def test_beads_that_miss_their_level_go():
    _, state = sunk((9.0, 0.9, 2.0, 2.0, 9.0), ends="held")
    assert [bead.name for bead in beads_of(state.chain)] == ["a", "0.0", "b"]
    assert [link.measured is None for link in state.chain] == [False, True]
    assert (state.retried, state.due, state.missed) == (1, False, 0)


def test_a_free_end_that_misses_its_level_begins_again():
    query, state = sunk((1.1, 0.9, 0.8, 0.7, 0.9), ends="free")
    beads = beads_of(state.chain)
    assert torch.equal(beads[0].theta, query.ends[0].theta)
    assert [bead.value for bead in beads] == [9.0, 0.9, 0.8, 0.7, 0.9]
    assert [link.measured is None for link in state.chain] == [True, False, False, False]
    assert state.due
    (job,) = BreadthFirst(ends="free").propose(state)
    assert job.descent.moving == (0,)


def test_without_retries_a_level_that_is_missed_is_given_up():
    _, state = sunk((9.0, 0.9, 2.0, 2.0, 9.0), retries=0)
    assert (state.retried, state.missed) == (0, 1)


def test_what_replaces_a_bead_descends_at_a_rate_of_its_own():
    _, state = sunk((1.1, 0.9, 0.8, 0.7, 0.9), ends="free")
    strategy = BreadthFirst(ends="free")
    for retried in range(4):
        (job,) = strategy.propose(replace(state, retried=retried))
        assert job.descent.rate == RATES[retried % len(RATES)]


def test_each_level_has_replacements_of_its_own():
    _, state = sunk((9.0, 0.9, 2.0, 2.0, 9.0), retries=1)
    strategy, first = BreadthFirst(retries=1), state.level
    assert state.retried == 1
    high = Measured(False, (Maximum(0.5, 8.0),), 3)
    results = {job.name: high for job in due(strategy, state)}
    state = absorbed(strategy, state, results)  # an insertion between the bead that is left and the end
    (job,) = due(strategy, state)
    moved = job.descent.thetas[list(job.descent.moving)]
    values = (9.0,) * len(moved)
    state = absorbed(strategy, state, {job.name: Evolved(moved, values, ("exhausted",) * len(moved), 9, 9, ())})
    state = absorbed(strategy, state, {job.name: high for job in due(strategy, state)})
    assert (state.missed, state.retried) == (1, 0)
    assert state.level != first


def test_beads_spread_to_where_the_loss_is_not_finite_are_put_back():
    """Their heights are known, and infinite: the string is left as it was instead of being looked at for ever."""
    ring = Ring()
    beads = [Bead(name, torch.lerp(*ring.ends, t), 0.1) for name, t in (("a", 0.0), ("0", 0.3), ("b", 1.0))]
    low = Measured(True, (Maximum(0.5, 0.9),), 3)
    links = tuple(Link(left, right, measured=low) for left, right in pairwise(beads))
    strategy, query = BreadthFirst(respace=True), Query((beads[0], beads[2]), 0.5, 0)
    state = BreadthFirstState(query, links, 1.0, prunes=False, best=links, respaced=evenly(links, 0))
    (job,) = due(strategy, state)
    models = job.descent.thetas[1:-1]
    state = absorbed(strategy, state, {job.name: Evolved(models, (math.inf,), ("exhausted",), 0, 1, ())})
    assert state.respaced is None
    assert state.chain == links


@pytest.mark.slow
def test_random_digits_networks_sink_as_low_as_they_can_be_trained():
    problem = load_task("digits")
    result = ws.connect(problem, problem.initial(26), problem.initial(27), 0.15, strategy=BreadthFirst(ends="free"))
    assert result.connected
    assert float(problem.measure(result.string.beads)["loss"].max()) <= 0.15


@pytest.mark.parametrize(
    "settings",
    [{"alpha1": 0.0}, {"alpha1": math.inf}, {"fall": 1.0}, {"tolerance": 0.0}, {"inserts": 0}, {"patience": 0},
     {"retries": -1}, {"ends": "loose"}, {"updates": "gauss"}, {"constraint": "rope"}],
    ids=str,
)  # fmt: skip
def test_settings_out_of_range_are_refused(settings, refused):
    with refused(InvalidSetting, r"."):
        BreadthFirst(**settings)
