"""Measuring segments: which are under the threshold, and where the others are highest."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Annotated, ClassVar, Literal

import msgspec

from weightstring.codec import Loss, Record, Take, decode
from weightstring.descent.allowance import Allowances
from weightstring.path import MAX_PEAKS, Maximum, Objective, Samples, Segment, accept, locate, reject
from weightstring.path.adaptive import accept_adaptively, locate_adaptively, look_roughly
from weightstring.path.maximum import WHOLE, measure_at
from weightstring.path.objective import Noted
from weightstring.path.screening import SCREENED
from weightstring.path.segment import grid
from weightstring.search.jobs.job import JobContext, Key

COMPANY = 4
"""Segments are measured when there is one to so many models that descend."""


Looks = Literal["closely", "roughly", "verdict"]
"""How far an open segment is looked at: for its maximum; for about where it is highest; no further than it takes to see
that it is over the threshold. Beads that find their steps start as well from about there as from the maximum."""


class Told(Record, frozen=True):
    """All that was measured at inner points of a segment: their t, and every quantity there, by name."""

    t: tuple[float, ...]
    values: dict[str, tuple[Loss, ...]]

    @property
    def rows(self) -> dict[float, dict[str, float]]:
        """What was measured at each t."""
        return {t: {name: column[i] for name, column in self.values.items()} for i, t in enumerate(self.t)}


class Measured(Record, frozen=True, tag="measured"):
    """A measured segment.

    Args:
        accepted: every sample is at most the threshold.
        peaks: its sampled local maxima, highest first; the first is (t*, γ(t*)).
        evaluations: models measured.
        ends: the heights of its two ends, where the job did not know them; None also where a look at a part of the data
            was enough to see that the segment is over the threshold.
        told: what its samples told beside its heights, where it was sampled adaptively.
        rough: whether it is open and was not looked at closely.
    """

    accepted: bool
    peaks: Annotated[tuple[Maximum, ...], msgspec.Meta(min_length=1)]
    evaluations: int
    ends: tuple[Loss, Loss] | None = None
    told: Told | None = None
    rough: bool = False

    steps: ClassVar[int] = 0

    @property
    def top(self) -> Maximum:
        """The largest sample."""
        return self.peaks[0]

    @property
    def largest(self) -> float:
        """Its height."""
        return self.top.value

    @property
    def reversed(self) -> Measured:
        """The same of the segment from its other end."""
        peaks = tuple(Maximum(1 - peak.t, peak.value) for peak in self.peaks)
        told = self.told and Told(
            tuple(1 - t for t in self.told.t[::-1]), {name: v[::-1] for name, v in self.told.values.items()}
        )
        return Measured(self.accepted, peaks, self.evaluations, self.ends and self.ends[::-1], told, self.rough)


@dataclass(frozen=True)
class Measure:
    """Find out whether a segment is under the threshold, and if not, where its maximum is.

    Args:
        name: its place in the search.
        segment: the segment.
        ends: the heights of its two ends, where they are known.
        threshold: L0.
        intervals: of the grid on which alone it is sampled; None: as :mod:`weightstring.path.maximum` finds best.
        looks: how far it is looked at where it is open.
    """

    name: str
    segment: Segment
    ends: tuple[float, float] | None
    threshold: float
    intervals: int | None = None
    looks: Looks = "closely"

    descends: ClassVar[bool] = False

    def renamed(self, name: str) -> Measure:
        """The same job at another place in the search."""
        return replace(self, name=name)

    def adds(self, beads: int) -> int:
        """No beads."""
        return 0

    def content(self) -> Iterable[object]:
        """The segment and what is asked about it; its place decides nothing."""
        return "measure", self.segment.a, self.segment.b, self.ends, self.threshold, self.intervals, self.looks

    def decode(self, encoded: object, take: Take) -> Measured:
        """Its result, from what was written of it."""
        measured = decode(encoded, Measured)
        if not self.fits(measured):
            raise msgspec.ValidationError("the heights of the segment's ends are known and told, or neither")
        return measured

    def fits(self, measured: Measured) -> bool:
        """Whether a result tells the ends' heights if the job did not know them, and only then."""
        if self.ends is not None:
            return measured.ends is None
        return measured.ends is not None or not measured.accepted

    @classmethod
    def batch(cls, context: JobContext, allowed: Allowances) -> Measurements:
        """An empty batch of segments."""
        return Measurements(context.objective, context.adaptive, context.adaptive and context.recipe.tunes)


class Measurements:
    """Segments to be measured together."""

    noun = "segments"
    at_once = True
    running = 0
    check = None

    def __init__(self, objective: Objective, adaptive: bool = False, hasty: bool = False) -> None:
        self._objective = objective
        self._adaptive, self._hasty = adaptive, hasty
        self._jobs: dict[Key, Measure] = {}

    @property
    def keys(self) -> Sequence[Key]:
        """The jobs taken in."""
        return tuple(self._jobs)

    def add(self, key: Key, job: Measure) -> None:
        """Take in a segment."""
        self._jobs[key] = job

    def ready(self, descending: int) -> bool:
        """Of many searches some wait while others descend: measuring a few segments costs little more than one.

        Where models stride, none descends faster for having others beside it, and all segments wait for the last.
        """
        alone = getattr(self._objective.problem, "strides", False)  # isinstance of a protocol takes far longer
        return bool(self._jobs) and (descending == 0 if alone else len(self._jobs) * COMPANY > descending)

    def advance(self, on_chunk: Callable[[], None]) -> Mapping[Key, Measured]:
        """Measure all."""
        jobs = dict(self._jobs)
        results = measure(self._objective, list(jobs.values()), on_chunk, self._adaptive, self._hasty)
        self._jobs.clear()
        return dict(zip(jobs, results, strict=True))

    def cancel(self, keys: Collection[Key]) -> None:
        """Give jobs up."""
        self._jobs = {key: job for key, job in self._jobs.items() if key not in keys}


def measure(
    objective: Objective,
    jobs: Sequence[Measure],
    on_chunk: Callable[[], None],
    adaptive: bool = False,
    hasty: bool = False,
) -> list[Measured]:
    """Measure segments side by side; only those over the threshold are searched for their maximum.

    Args:
        objective: what is measured.
        jobs: the segments.
        on_chunk: called after every batch of measurements; it may raise.
        adaptive: sample only as densely as a curve bends; all that the passes tell is kept.
        hasty: look at open segments no further than a job asks for; else at all closely.
    """
    height = Noted(objective) if adaptive else objective
    samples = [Samples(job.segment, dict(zip((0.0, 1.0), job.ends or (), strict=False))) for job in jobs]
    looks: list[Looks] = [job.looks if hasty and not job.intervals else "closely" for job in jobs]
    on_grids = [(known, grid(job.intervals)) for known, job in zip(samples, jobs, strict=True) if job.intervals]
    measure_at(height, on_grids, on_chunk)
    accepted = [known.under(job.threshold) for known, job in zip(samples, jobs, strict=True)]
    free = [i for i, job in enumerate(jobs) if not job.intervals]
    # What the models of segments share is kept for so many of them.
    most = objective.segments_at_once if objective.shares_along else max(1, len(free))
    for group in (part[first : first + most] for part in _alike(free, looks) for first in range(0, len(part), most)):
        thresholds = [jobs[i].threshold for i in group]
        segments = [samples[i] for i in group]
        found = _accepted(height, objective.screening, segments, thresholds, on_chunk, adaptive, looks[group[0]])
        for i, good in zip(group, found, strict=True):
            accepted[i] = good
    return [
        _result(job, s, good, adaptive, rough=not good and look != "closely")
        for s, good, job, look in zip(samples, accepted, jobs, looks, strict=True)
    ]


def _alike(numbers: Sequence[int], looks: Sequence[Looks]) -> list[list[int]]:
    """Those together that are looked at alike."""
    return [[i for i in numbers if looks[i] == look] for look in dict.fromkeys(looks[i] for i in numbers)]


def _accepted(
    height: Objective | Noted,
    screening: Objective | None,
    samples: Sequence[Samples],
    thresholds: Sequence[float],
    on_chunk: Callable[[], None],
    adaptive: bool,
    looks: Looks,
) -> list[bool]:
    """Which segments are under their thresholds; the maximum of the others is located."""
    hasty, rejected = looks != "closely", [False] * len(samples)
    if screening is not None:
        rejected = reject(height, screening, samples, thresholds, on_chunk, adaptive, hasty)
    left = [i for i, bad in enumerate(rejected) if not bad]
    remaining, levels = [samples[i] for i in left], [thresholds[i] for i in left]
    if adaptive:
        under = accept_adaptively(height, remaining, levels, on_chunk)
    else:
        under = accept(height, remaining, levels, on_chunk, WHOLE if screening is None else SCREENED)
    over = [known for known, good in zip(remaining, under, strict=True) if not good]
    if not hasty:
        (locate_adaptively if adaptive else locate)(height, over, on_chunk)
    elif looks == "roughly":
        look_roughly(height, over, on_chunk)
    accepted = {i for i, good in zip(left, under, strict=True) if good}
    return [i in accepted for i in range(len(samples))]


def _result(job: Measure, samples: Samples, accepted: bool, adaptive: bool, rough: bool) -> Measured:
    heights = samples.heights
    return Measured(
        accepted,
        tuple(samples.peaks()[:MAX_PEAKS]),
        len(heights) - (0 if job.ends is None else 2),
        (heights[0.0], heights[1.0]) if job.ends is None and {0.0, 1.0} <= heights.keys() else None,
        _told(samples) if adaptive and not job.intervals else None,
        rough,
    )


def _told(samples: Samples) -> Told:
    ts = [t for t in sorted(samples.told) if 0 < t < 1]
    names = samples.told[ts[0]] if ts else ()
    return Told(tuple(ts), {name: tuple(samples.told[t][name] for t in ts) for name in names})
