"""The two kinds of work a search consists of, and what comes back from them.

Jobs carry all they need and are named by their place in the search, so that running one again
gives the same result and a journal can be held against what the strategy proposes.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from weightstring.arrays import finite_or_none, none_as_infinity
from weightstring.descent import Descended, Start
from weightstring.errors import InvalidRun
from weightstring.path import Maximum, Segment
from weightstring.store.records import DescendedRecord, JobResult, MeasuredRecord


@dataclass(frozen=True)
class Measure:
    """Find out whether a segment is under the threshold, and if not, where its maximum is.

    Args:
        name: its place in the search.
        segment: the segment.
        ends: the heights of its two ends, known already.
        threshold: L0.
    """

    name: str
    segment: Segment
    ends: tuple[float, float]
    threshold: float


@dataclass(frozen=True)
class Descend:
    """Step 3: descend from here to a level."""

    start: Start

    @property
    def name(self) -> str:
        """Its place in the search."""
        return self.start.place


@dataclass(frozen=True)
class Measured:
    """A measured segment.

    Args:
        accepted: every sample is at most the threshold.
        peaks: its sampled local maxima, highest first; the first is (t*, γ(t*)).
        evaluations: models measured.
    """

    accepted: bool
    peaks: tuple[Maximum, ...]
    evaluations: int

    @property
    def top(self) -> Maximum:
        """The largest sample."""
        return self.peaks[0]


Job = Measure | Descend
Result = Measured | Descended


def to_record(result: Result) -> tuple[JobResult, torch.Tensor | None]:
    """A result's line in the journal and, for a descent, its θ, which goes to the bead file."""
    if isinstance(result, Measured):
        peaks = tuple((peak.t, finite_or_none(peak.value)) for peak in result.peaks)
        return MeasuredRecord(accepted=result.accepted, peaks=peaks, evaluations=result.evaluations), None
    value = finite_or_none(result.value)
    record = DescendedRecord(value=value, status=result.status, steps=result.steps, evaluations=result.evaluations)
    return record, result.theta


def from_record(record: JobResult, theta: torch.Tensor | None) -> Result:
    """The inverse of :func:`to_record`.

    Raises:
        InvalidRun: a descent has no θ, or a measured segment no peak.
    """
    if isinstance(record, MeasuredRecord) and record.peaks:
        peaks = tuple(Maximum(t, none_as_infinity(value)) for t, value in record.peaks)
        return Measured(record.accepted, peaks, record.evaluations)
    if isinstance(record, DescendedRecord) and theta is not None:
        value = none_as_infinity(record.value)
        return Descended(theta, value, record.status, record.steps, record.evaluations)
    raise InvalidRun(f"the journal holds a result that no search writes: {record!r:.200}")
