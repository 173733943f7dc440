"""Jobs and their results, in memory and in the journal."""

from __future__ import annotations

import math

import msgspec
import pytest
import torch

from weightstring.descent import Descended, Evolved, Start
from weightstring.errors import InvalidRun
from weightstring.path import Maximum
from weightstring.search import Descend, Measured
from weightstring.search.jobs import from_record, models_of, to_record
from weightstring.store.records import DescendedRecord, EvolvedRecord, JobResult, MeasuredRecord, models_in

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
EVOLVED = [
    Evolved(torch.stack([THETA, -THETA]), (0.5, math.inf), ("reached", "diverged"), 70, 9, ((0.7, None), (0.5, 1.0))),
    Evolved(torch.stack([THETA, -THETA]), (0.5, 0.1), ("exhausted",), 70, 2),  # one moved, one was only measured
]


def test_a_descent_is_named_by_its_place():
    assert Descend(Start(THETA, 0.1, 0.2, "a-b/0")).name == "a-b/0"


def test_the_first_peak_is_the_top():
    assert MEASURED[1].top == Maximum(0.3, math.inf)


@pytest.mark.parametrize("result", [*MEASURED, *DESCENDED, *EVOLVED], ids=str)
def test_results_come_back_from_the_journal_bit_for_bit(result):
    record, models = to_record(result), models_of(result)
    assert models_in(record) == (0 if models is None else len(models))
    again = from_record(msgspec.json.decode(msgspec.json.encode(record), type=JobResult), models)
    assert (models is None) == isinstance(result, Measured)
    assert again[1:] == result[1:] if models is not None else again == result
    assert models is None or torch.equal(models_of(again), models)


def test_results_that_no_search_writes_are_refused(refused):
    measured = MeasuredRecord(accepted=True, peaks=(), evaluations=0)
    with refused(InvalidRun, r"^the journal holds a result that no search writes: MeasuredRecord\(.*peaks=\(\)"):
        from_record(measured, None)
    descended = DescendedRecord(value=0.1, status="reached", steps=1, evaluations=1)
    with refused(InvalidRun, r"^the journal holds a result that no search writes: DescendedRecord\("):
        from_record(descended, None)
    evolved = EvolvedRecord(values=(), statuses=("reached",), steps=1, evaluations=1)
    with refused(InvalidRun, r"^the journal holds a result that no search writes: EvolvedRecord\("):
        from_record(evolved, THETA[None])
