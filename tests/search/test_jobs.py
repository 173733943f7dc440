"""Jobs and their results, in memory and in the journal."""

from __future__ import annotations

import math

import msgspec
import pytest
import torch

from weightstring.descent import Descended, Start
from weightstring.errors import InvalidRun
from weightstring.path import Maximum
from weightstring.search import Descend, Measured
from weightstring.search.jobs import from_record, to_record
from weightstring.store.records import DescendedRecord, JobResult, MeasuredRecord

THETA = torch.tensor([3.0, -2.0, 0.1], dtype=torch.float64)
MEASURED = [
    Measured(True, (Maximum(0.5, 0.1),), 31),
    Measured(False, (Maximum(0.3, math.inf), Maximum(1.0, 1e300), Maximum(0.0, -2.5)), 17),
]
DESCENDED = [
    Descended(THETA, 0.1 + 0.2, "reached", 35, 8),
    Descended(THETA, math.inf, "diverged", 0, 1),
    Descended(THETA, -1e-300, "exhausted", 10_000, 501),
]


def test_a_descent_is_named_by_its_place():
    assert Descend(Start(THETA, 0.1, 0.2, "a-b/0")).name == "a-b/0"


def test_the_first_peak_is_the_top():
    assert MEASURED[1].top == Maximum(0.3, math.inf)


@pytest.mark.parametrize("result", [*MEASURED, *DESCENDED], ids=str)
def test_results_come_back_from_the_journal_bit_for_bit(result):
    record, theta = to_record(result)
    again = from_record(msgspec.json.decode(msgspec.json.encode(record), type=JobResult), theta)
    assert (theta is None) == isinstance(result, Measured)
    assert again[1:] == result[1:] if theta is not None else again == result
    assert theta is None or torch.equal(again.theta, result.theta)


def test_results_that_no_search_writes_are_refused(refused):
    measured = MeasuredRecord(accepted=True, peaks=(), evaluations=0)
    with refused(InvalidRun, r"^the journal holds a result that no search writes: MeasuredRecord\(.*peaks=\(\)"):
        from_record(measured, None)
    descended = DescendedRecord(value=0.1, status="reached", steps=1, evaluations=1)
    with refused(InvalidRun, r"^the journal holds a result that no search writes: DescendedRecord\("):
        from_record(descended, None)
