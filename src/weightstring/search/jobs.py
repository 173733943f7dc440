"""The three kinds of work a search consists of, and what comes back from them.

Jobs carry all they need and are named by their place in the search, so that running one again
gives the same result and a journal can be held against what the strategy proposes.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from weightstring.arrays import Thetas, finite_or_none, none_as_infinity
from weightstring.descent import Descended, Evolution, Evolved, Start
from weightstring.errors import InvalidRun
from weightstring.path import Maximum, Segment
from weightstring.protocol import Manner
from weightstring.store.records import DescendedRecord, EvolvedRecord, JobResult, MeasuredRecord


@dataclass(frozen=True)
class Measure:
    """Find out whether a segment is under the threshold, and if not, where its maximum is.

    Args:
        name: its place in the search.
        segment: the segment.
        ends: the heights of its two ends, where they are known.
        threshold: L0.
        intervals: of the grid on which alone it is sampled; None: as :mod:`weightstring.path.maximum` finds best.
    """

    name: str
    segment: Segment
    ends: tuple[float, float] | None
    threshold: float
    intervals: int | None = None


@dataclass(frozen=True)
class Descend:
    """Step 3: descend from here to a level, by the recipe itself or another form of it."""

    start: Start
    manner: Manner = "own"

    @property
    def name(self) -> str:
        """Its place in the search."""
        return self.start.place


@dataclass(frozen=True)
class Evolve:
    """Let models descend that move together."""

    evolution: Evolution

    @property
    def name(self) -> str:
        """Its place in the search."""
        return self.evolution.place


@dataclass(frozen=True)
class Measured:
    """A measured segment.

    Args:
        accepted: every sample is at most the threshold.
        peaks: its sampled local maxima, highest first; the first is (t*, γ(t*)).
        evaluations: models measured.
        ends: the heights of its two ends, where the job did not know them; None also where a look at a part of the data
            was enough to see that the segment is over the threshold.
    """

    accepted: bool
    peaks: tuple[Maximum, ...]
    evaluations: int
    ends: tuple[float, float] | None = None

    @property
    def top(self) -> Maximum:
        """The largest sample."""
        return self.peaks[0]


Job = Measure | Descend | Evolve
Result = Measured | Descended | Evolved


def renamed(job: Job, name: str) -> Job:
    """The same job at another place in the search."""
    if isinstance(job, Descend):
        return replace(job, start=replace(job.start, place=name))
    if isinstance(job, Evolve):
        return Evolve(replace(job.evolution, place=name))
    return replace(job, name=name)


def models_of(result: Result) -> Thetas | None:
    """The models (k, P) that came of a job; None where it only measured."""
    if isinstance(result, Measured):
        return None
    return result.thetas if isinstance(result, Evolved) else result.theta[None]


def with_models(result: Result, thetas: Thetas) -> Result:
    """A result whose models are those: where they are kept, in place of those handed in."""
    if isinstance(result, Measured):
        return result
    return result._replace(thetas=thetas) if isinstance(result, Evolved) else result._replace(theta=thetas[0])


def to_record(result: Result) -> JobResult:
    """A result's line in the journal; its models go to the bead file."""
    if isinstance(result, Measured):
        peaks = tuple((peak.t, finite_or_none(peak.value)) for peak in result.peaks)
        ends = None if result.ends is None else (finite_or_none(result.ends[0]), finite_or_none(result.ends[1]))
        return MeasuredRecord(accepted=result.accepted, peaks=peaks, evaluations=result.evaluations, ends=ends)
    if isinstance(result, Evolved):
        return EvolvedRecord(
            values=tuple(map(finite_or_none, result.values)),
            statuses=result.statuses,
            steps=result.steps,
            evaluations=result.evaluations,
            trace=tuple(tuple(v if v is None else finite_or_none(v) for v in values) for values in result.trace),
        )
    value = finite_or_none(result.value)
    return DescendedRecord(value=value, status=result.status, steps=result.steps, evaluations=result.evaluations)


def from_record(record: JobResult, thetas: Thetas | None) -> Result:
    """The inverse of :func:`to_record`.

    Raises:
        InvalidRun: a descent has not the models it should have, or a measured segment no peak.
    """
    if isinstance(record, MeasuredRecord) and record.peaks:
        peaks = tuple(Maximum(t, none_as_infinity(value)) for t, value in record.peaks)
        known = record.ends
        ends = None if known is None else (none_as_infinity(known[0]), none_as_infinity(known[1]))
        return Measured(record.accepted, peaks, record.evaluations, ends)
    if isinstance(record, DescendedRecord) and thetas is not None and len(thetas) == 1:
        value = none_as_infinity(record.value)
        return Descended(thetas[0], value, record.status, record.steps, record.evaluations)
    if isinstance(record, EvolvedRecord) and thetas is not None and len(thetas) == len(record.values):
        values = tuple(map(none_as_infinity, record.values))
        return Evolved(thetas, values, record.statuses, record.steps, record.evaluations, record.trace)
    raise InvalidRun(f"the journal holds a result that no search writes: {record!r:.200}")


def fits(job: Job, result: Result) -> bool:
    """Whether a result is of the kind that a job has."""
    if isinstance(job, Evolve):
        moving = len(job.evolution.moving)
        return isinstance(result, Evolved) and len(result.statuses) == moving <= len(result.values)
    if isinstance(job, Measure):
        if not isinstance(result, Measured) or (job.ends is not None and result.ends is not None):
            return False
        return job.ends is not None or result.ends is not None or not result.accepted
    return isinstance(result, Descended)
