"""Limits are limits: what a search may spend is never exceeded, and a limit decides nothing but where it stops."""

from __future__ import annotations

import itertools

import pytest
import torch

import weightstring as ws
from weightstring.problem.surfaces import Ring, Spike
from weightstring.search import Processes

STRATEGIES = {
    "greedy": ws.Greedy(),
    "as in the paper": ws.AsInThePaper(),
    "constrained": ws.Constrained(constraint="spring:0.001"),
    "breadth-first": ws.BreadthFirst(),
    "red-black": ws.BreadthFirst(updates="red-black"),
    "bezier": ws.Bezier(steps=40),
    "poly-chain": ws.PolyChain(bends=3, steps=40),
    "autoneb": ws.AutoNEB(steps=40),
    "shortened": ws.Shortened(ws.Greedy()),
}


class TestSteps:
    @pytest.mark.many(quick=9)
    @pytest.mark.parametrize("name", STRATEGIES)
    @pytest.mark.parametrize("most", [1, 7, 60])
    def test_no_strategy_takes_more_than_allowed(self, watched, name, most):
        problem = watched(Ring())
        result = ws.connect(problem, *Ring().ends, 1e-4, strategy=STRATEGIES[name], stop=ws.MaxSteps(most))
        assert problem.gradients <= most
        assert result.steps <= most
        assert result.outcome.reason == "steps"

    def test_steps_that_were_lost_count_when_the_search_goes_on(self, watched, tmp_path):
        problem = watched(Ring())
        call = {"threshold": 1e-4, "store": tmp_path / "run", "stop": ws.MaxSteps(7)}
        assert ws.connect(problem, *Ring().ends, **call).steps == problem.gradients
        assert ws.connect(problem, *Ring().ends, **call).steps == problem.gradients <= 7

    def test_a_limit_decides_nothing_but_where_it_stops(self, tmp_path):
        ring = Ring()
        whole = ws.connect(ring, *ring.ends, 1e-3)
        for most in itertools.count(10, 40):
            cut = ws.connect(ring, *ring.ends, 1e-3, stop=ws.MaxSteps(most), store=tmp_path / "run")
            assert cut.steps <= most
            if cut.connected:
                break
        assert torch.equal(cut.string.beads, whole.string.beads)

    def test_of_several_pairs_each_has_its_own(self):
        ring = Ring()
        results = ws.connect_many(ring, [ring.ends, ring.ends[::-1]], 1e-3, stop=ws.MaxSteps(20))
        assert all(result.steps <= 20 for result in results)

    @pytest.mark.slow
    def test_in_other_processes_too(self):
        ring = Ring()
        with Processes(1) as pool:
            result = ws.connect(ring, *ring.ends, 1e-4, stop=ws.MaxSteps(7), executor=pool)
        assert result.outcome.reason == "steps"
        assert 0 < result.steps <= 7

    @pytest.mark.slow
    def test_enough_is_enough(self):
        ring = Ring()
        needed = ws.connect(ring, *ring.ends, 1e-2).steps
        assert ws.connect(ring, *ring.ends, 1e-2, stop=ws.MaxSteps(needed)).connected


class TestBeads:
    @pytest.mark.many(quick=9)
    @pytest.mark.parametrize("name", STRATEGIES)
    @pytest.mark.parametrize("most", [2, 3, 5])
    def test_no_string_has_more_than_allowed(self, name, most):
        ring = Ring()
        result = ws.connect(
            ring, *ring.ends, 1e-4, strategy=STRATEGIES[name], stop=ws.MaxBeads(most) | ws.MaxSteps(2000)
        )
        assert len(result.string) <= most


class TestRefining:
    """Searching segments again for a certificate is part of the search."""

    def test_beads_and_steps_cover_it(self):
        spike = Spike()
        free = ws.connect(spike, *spike.ends, 0.1, certify=True)
        assert free.connected
        for stop in (ws.MaxBeads(len(free.string) - 1), ws.MaxSteps(max(1, free.steps - 1))):
            held = ws.connect(spike, *spike.ends, 0.1, certify=True, stop=stop)
            assert not held.connected
            assert len(held.string) < len(free.string)
            assert held.steps < free.steps
