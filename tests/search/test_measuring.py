"""Segments of many searches are measured together, each against its own threshold."""

from __future__ import annotations

from dataclasses import replace

import msgspec
import pytest
import torch

import weightstring as ws
from weightstring.path import Objective, Segment
from weightstring.problem.surfaces import Ring
from weightstring.search.jobs import Measure
from weightstring.search.jobs.measure import measure


class Counting(Ring):
    """A ring that counts how often it is asked."""

    calls = 0

    def measure(self, thetas, quantities=("loss",)):
        self.calls += 1
        return super().measure(thetas, quantities)


def job(ring: Ring, angle: float, threshold: float) -> Measure:
    a = ring.ends[0]
    turn = torch.tensor([[1.0, -angle], [angle, 1.0]], dtype=a.dtype) / (1 + angle**2) ** 0.5
    b = turn @ a
    first, last = Objective(ring)(torch.stack([a, b])).tolist()
    return Measure(f"to {angle}", Segment(a, b), (first, last), threshold)


def test_thresholds_differ_and_segments_share_their_calls():
    ring = Counting()
    jobs = [job(ring, 0.2 + 0.05 * i, threshold) for i, threshold in enumerate([1e-9, 0.3, 1e-3, 0.5, 0.02, 0.7])]
    alone = []
    for one in jobs:
        alone += measure(Objective(ring), [one], lambda: None)
    most = max(each.evaluations for each in alone)
    ring.calls = 0
    together = measure(Objective(ring), jobs, lambda: None)
    assert ring.calls <= most
    assert [each.accepted for each in together] == [each.accepted for each in alone]
    assert {each.accepted for each in together} == {True, False}
    for one, other in zip(together, alone, strict=True):
        assert one.top.value == pytest.approx(other.top.value, rel=1e-12)


def test_a_hasty_search_looks_at_open_segments_no_further_than_it_is_asked():
    ring = Ring()
    close = job(ring, 0.4, 1e-3)
    asked = [close, replace(close, looks="roughly"), replace(close, looks="verdict")]
    closely, roughly, verdict = measure(Objective(ring), asked, lambda: None, adaptive=True, hasty=True)
    assert not closely.accepted | roughly.accepted | verdict.accepted
    assert (closely.rough, roughly.rough, verdict.rough) == (False, True, True)
    assert closely.evaluations > roughly.evaluations > verdict.evaluations
    assert roughly.top.value == pytest.approx(closely.top.value, rel=0.01)
    patient = measure(Objective(ring), asked, lambda: None, adaptive=True)
    assert [each.top for each in patient] == 3 * [closely.top]


def test_before_a_search_gives_up_its_open_segments_are_looked_at_closely():
    ring = Ring()
    rough = ws.connect(ring, *ring.ends, 0.02, strategy=ws.Greedy(max_depth=0), recipe=ws.Recipe.tuned())
    close = ws.connect(ring, *ring.ends, 0.02, strategy=ws.Greedy(max_depth=0))
    assert (len(rough.history), len(close.history)) == (2, 1)
    assert rough.largest == close.largest
    assert rough.outcome.evidence == close.outcome.evidence


class Sketched(Ring):
    """A ring with a first look that sees the same."""

    @property
    def screening(self):
        return Ring()


def test_what_a_first_look_rejects_needs_no_known_ends():
    ring = Sketched()
    near = Segment(ring.ends[0], ring.ends[0] + 1e-3)
    jobs = [Measure("over", Segment(*ring.ends), None, 0.02), Measure("under", near, None, 0.02)]
    over, under = measure(Objective(ring), jobs, lambda: None)
    assert not over.accepted
    assert under.accepted
    assert under.ends == tuple(Objective(ring)(torch.stack([near.a, near.b])).tolist())
    assert [job.fits(result) for job, result in zip(jobs, (over, under), strict=True)] == [True, True]
    assert not jobs[1].fits(msgspec.structs.replace(under, ends=None))
