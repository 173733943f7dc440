"""Ends that are lowered first: legs under the threshold, then a search between their lowest beads."""

from __future__ import annotations

import pytest
import torch

import weightstring as ws
from weightstring.descent import Descended
from weightstring.errors import InvalidSetting
from weightstring.path import Maximum
from weightstring.problem.surfaces import Ring, TwoWells, shifted
from weightstring.search import Greedy, Persistent
from weightstring.search.chain import Bead
from weightstring.search.jobs import Descend, Measure, Measured
from weightstring.search.methods.lower_ends import Leg, LowerEnds
from weightstring.search.strategies import from_plain, plain

RING = shifted(Ring(size=3), torch.tensor([4.0, -2.0, 1.0], dtype=torch.float64), lift=0.25)


def beside(share: float) -> tuple[torch.Tensor, torch.Tensor]:
    """Models off the circle, on the rays to its ends."""
    a, b = RING.ends
    middle = (a + b) / 2
    return middle + (a - middle) * (1 + share), middle + (b - middle) * (1 + share)


def loss(theta: torch.Tensor) -> float:
    return float(RING.measure(theta[None])["loss"])


def test_the_string_goes_from_end_to_end_through_lower_beads():
    a, b = beside(0.2)
    threshold = loss(a)
    found = ws.connect(RING, a, b, threshold, strategy=LowerEnds(Greedy(), alpha=0.9))
    assert found.connected
    assert found.largest <= threshold
    assert torch.equal(found.string[0], a)
    assert torch.equal(found.string[-1], b)
    for whole in (found.string.beads, found.unpruned.beads):
        assert loss(whole[1]) < threshold
        assert loss(whole[-2]) < threshold
    assert len(found.unpruned) >= len(found.string)


def test_the_gradients_of_the_legs_count():
    a, b = beside(0.2)
    found = ws.connect(RING, a, b, loss(a), strategy=LowerEnds(Greedy(max_depth=0), alpha=0.9))
    assert not found.connected
    assert found.steps > 0
    assert found.outcome.evidence.segment[0] > 0
    limited = ws.connect(RING, a, b, loss(a), strategy=LowerEnds(Greedy(), alpha=0.9), stop=ws.MaxSteps(3))
    assert (limited.outcome.reason, limited.steps <= 3) == ("steps", True)


def test_ends_that_are_low_already_stay():
    a, b = RING.ends
    assert torch.equal(
        ws.connect(RING, a, b, 2.0, strategy=LowerEnds(Greedy())).string.beads,
        ws.connect(RING, a, b, 2.0, strategy=Greedy()).string.beads,
    )


def test_ends_that_no_descent_lowers_are_searched_from_as_they_are():
    wells = TwoWells(size=2)
    a, b = wells.ends
    found = ws.connect(wells, a, b, 1.1, strategy=LowerEnds(Greedy(), alpha=0.5))
    assert found.connected
    assert torch.equal(found.string[0], a)


def test_where_neither_end_is_lowered_the_same_search_is_not_made_again():
    a, b = RING.ends
    strategy = Persistent(Greedy(max_depth=0), {"lower ends": LowerEnds(Greedy(), anyway=False), "greedy": Greedy()})
    found = ws.connect(RING, a, b, 0.3, strategy=strategy)
    assert found.connected
    assert [(one.name, one.ended) for one in found.attempts][1:] == [("lower ends", "descent_failed"), ("greedy", None)]


def test_a_step_over_the_threshold_is_taken_again_shorter_and_slower():
    end = Bead("a", torch.zeros(2), 1.0)
    leg = Leg(end)
    (job,) = leg.jobs(0.5, 1.0)
    assert isinstance(job, Descend)
    assert (job.descent.aim, job.descent.rate) == (0.875, 1.0)
    leg = leg.after({job.name: Descended(torch.ones(2), 0.87, "reached", 5, 1)}, 0.5, 1.0)
    (job,) = leg.jobs(0.5, 1.0)
    assert isinstance(job, Measure)
    short = leg.after({job.name: Measured(False, (Maximum(0.5, 1.2),), 3)}, 0.5, 1.0)
    (again,) = short.jobs(0.5, 1.0)
    assert (again.descent.aim, again.descent.rate, again.name) == (1 - 0.5 / 16, 0.25, "a/down1")
    assert torch.equal(again.descent.theta, end.theta)
    long = leg.after({job.name: Measured(True, (Maximum(0.0, 1.0),), 3)}, 0.5, 1.0)
    assert long.lowest.value == 0.87
    assert long.step == 0.5
    while not short.done:
        (job,) = short.jobs(0.5, 1.0)
        short = short.after({job.name: Descended(end.theta, 1.0, "exhausted", 5, 1)}, 0.5, 1.0)
    assert short.chain == ()


@pytest.mark.slow
def test_it_goes_on_from_any_round_in_the_same_bits(tmp_path):
    a, b = beside(0.2)
    strategy = LowerEnds(Greedy(), alpha=0.9)
    whole = ws.connect(RING, a, b, loss(a), strategy=strategy, store=tmp_path / "whole")
    for kept in (1, 2, 3, 5):
        run = tmp_path / str(kept)
        ws.connect(RING, a, b, loss(a), strategy=strategy, store=run)
        journal = run / "journal.jsonl"
        journal.write_bytes(b"".join(journal.read_bytes().splitlines(keepends=True)[:kept]))
        (run / "result.json").unlink()
        again = ws.connect(RING, a, b, loss(a), strategy=strategy, store=run)
        assert torch.equal(again.string.beads, whole.string.beads)


def test_settings_survive_the_manifest():
    strategy = LowerEnds(Greedy(alpha=0.6), alpha=0.3)
    assert from_plain(plain(strategy)) == strategy


@pytest.mark.parametrize("alpha", [0.0, 1.0, -0.5, float("nan")])
def test_a_share_out_of_range_is_refused(refused, alpha):
    with pytest.raises(InvalidSetting, match="in \\(0, 1\\)"):
        LowerEnds(Greedy(), alpha=alpha)
