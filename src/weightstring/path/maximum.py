"""Is a segment under the threshold, and where is its loss largest? Two questions, two functions.

:func:`accept` stops at the first sample over the threshold; :func:`locate` looks for the global
maximum t* of γ (Section II.A). Both are *sampled*: they see finitely many positions, so what they
return is a lower bound of the maximum. Several segments are measured side by side, and no position
of a segment is measured twice.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import NamedTuple

from weightstring.codec import Loss
from weightstring.path.objective import Noted
from weightstring.path.segment import Height, Segment, grid, measure_points, no_worse

GRID = 16
"""Intervals of the coarse grid of :func:`locate`."""
ACCEPT_GRID = 32
"""Intervals of the grid that a segment must pass to be accepted, or to be looked at on a part of the data."""
REFINEMENTS = 5
"""Rounds of refinement around the peaks."""
PRECISION = 1e-5
"""A refinement that promises a smaller relative gain is left out."""
HIDDEN = 1 / 2
"""A peak may be higher than its samples by this share of its fall to the lower neighbour: it is looked at if that
could make it the highest."""
RESOLVED = 1 / 128
"""The same share where a parabola through the peak promises nothing: what is left of it decides when to stop."""
NEAR_END = 1 / 100
"""How near a peak at an end must have a sample beside it."""
STEP_HALVINGS = 3
"""How often the grid is halved once more beside the highest samples of a step function, such as an error rate."""
MAX_PEAKS = 3
"""Peaks that are refined in one round, the most promising first; and peaks that are reported, the highest first."""


class Sampling(NamedTuple):
    """How densely a segment is sampled: intervals of the grid, and rounds of refinement around its peaks."""

    intervals: int
    refinements: int


WHOLE = Sampling(ACCEPT_GRID, REFINEMENTS)
"""What a segment must pass to be accepted where nothing else is known of it."""


class Maximum(NamedTuple):
    """A position t ∈ [0, 1] on a segment and the height there."""

    t: float
    value: Loss


@dataclass
class Samples:
    """The heights known on one segment, by position. Knowing the ends saves measuring them.

    ``told`` is all that the passes over the data told beside them, where the height notes that.
    """

    segment: Segment
    heights: dict[float, float] = field(default_factory=dict)
    told: dict[float, Mapping[str, float]] = field(default_factory=dict)

    def missing(self, ts: Sequence[float]) -> list[float]:
        """Those positions that have not been measured yet."""
        return [t for t in ts if t not in self.heights]

    def under(self, threshold: float) -> bool:
        """Whether every sample is at most ``threshold``."""
        return all(no_worse(height, threshold) for height in self.heights.values())

    @property
    def top(self) -> Maximum:
        """The largest sample; of equal ones that nearest the middle."""
        return Maximum(*max(self.heights.items(), key=lambda sample: (sample[1], -abs(sample[0] - 0.5))))

    def peaks(self) -> list[Maximum]:
        """Local maxima of the samples, highest first; a plateau counts once, at its middle."""
        ordered = sorted(self.heights.items())
        peaks = []
        start = 0
        while start < len(ordered):
            stop = start
            while stop + 1 < len(ordered) and ordered[stop + 1][1] == ordered[start][1]:
                stop += 1
            value = ordered[start][1]
            rises = start == 0 or ordered[start - 1][1] < value
            falls = stop == len(ordered) - 1 or ordered[stop + 1][1] < value
            if rises and falls:
                peaks.append(Maximum(ordered[(start + stop) // 2][0], value))
            start = stop + 1
        return sorted(peaks, key=lambda peak: (-peak.value, abs(peak.t - 0.5)))


Hook = Callable[[], None]


def accept(
    height: Height,
    samples: Sequence[Samples],
    threshold: float | Sequence[float],
    on_chunk: Hook = lambda: None,
    sampling: Sampling = WHOLE,
) -> list[bool]:
    """Whether every sample of a segment is at most its threshold, for several segments side by side.

    The grid is refined by halving, so that a segment that exceeds the threshold is left early; one that
    does not is sampled on the whole grid and once more at the top of each peak. On a step
    function, such as an error rate, parabolas say nothing: there the grid is halved further where it is high.

    Args:
        height: (B, P) → (B,) float64.
        samples: the segments with what is known of them; filled with what is measured here.
        threshold: L0, compared with ≤; one for all, or one a segment.
        on_chunk: called after every batch of measurements; it may raise.
        sampling: how densely; its intervals are a power of 2.
    """
    levels = levels_of(threshold, samples)
    under = [s.under(level) for s, level in zip(samples, levels, strict=True)]

    def look(positions: Callable[[Samples], Sequence[float]]) -> None:
        open_ones = [i for i, good in enumerate(under) if good]
        measure_at(height, [(samples[i], positions(samples[i])) for i in open_ones], on_chunk)
        for i in open_ones:
            under[i] = samples[i].under(levels[i])

    intervals = 2
    while intervals <= sampling.intervals:
        look(lambda _, n=intervals: grid(n))  # type: ignore[misc]
        intervals *= 2
    over = {id(s): level for s, level in zip(samples, levels, strict=True)}
    left = [s for s, good in zip(samples, under, strict=True) if good]
    sharpen(height, left, on_chunk, sampling.refinements, until=lambda s: not s.under(over[id(s)]))
    under = [s.under(level) for s, level in zip(samples, levels, strict=True)]
    for _ in range(STEP_HALVINGS):
        look(_beside_steps)
    return under


def levels_of(threshold: float | Sequence[float], samples: Sequence[Samples]) -> Sequence[float]:
    """A threshold for each segment, from one for all or one a segment."""
    return [threshold] * len(samples) if isinstance(threshold, float | int) else threshold


def locate(
    height: Height, samples: Sequence[Samples], on_chunk: Hook = lambda: None, grid_intervals: int = GRID
) -> list[Maximum]:
    """The largest height on each of several segments and its position t*.

    A grid, then parabolas through the most promising peaks until they promise
    less than :data:`PRECISION`. On smooth curves that the grid resolves, the relative error is below 1e-3.
    Peaks at the ends of the segment count like any other; where a height is not finite, it is the maximum.

    Args:
        height: (B, P) → (B,) float64.
        samples: the segments with what is known of them; filled with what is measured here.
        on_chunk: called after every batch of measurements; it may raise.
        grid_intervals: of the grid.
    """
    measure_at(height, [(s, grid(grid_intervals)) for s in samples], on_chunk)
    sharpen(height, samples, on_chunk)
    return [s.top for s in samples]


def sharpen(
    height: Height,
    samples: Sequence[Samples],
    on_chunk: Hook = lambda: None,
    rounds: int = REFINEMENTS,
    until: Callable[[Samples], bool] = lambda s: False,
) -> None:
    """Look beside the highest peaks that samples show, until a parabola promises less than :data:`PRECISION`."""
    for _ in range(rounds):
        # Of samples to which nothing new is added, the next round would ask for nothing new.
        wanted = [(s, ts) for s in samples if (ts := s.missing(_refinements(s)))]
        measure_at(height, wanted, on_chunk)
        samples = [s for s, _ in wanted if not until(s)]


def measure_at(height: Height, wanted: Sequence[tuple[Samples, Sequence[float]]], on_chunk: Hook) -> None:
    """Measure segments at the given positions, those left out that are known already."""
    points = [(s, t) for s, ts in wanted for t in s.missing(ts)]
    if not points:
        return
    heights = measure_points(height, [(s.segment, t) for s, t in points], on_chunk)
    for (s, t), value in zip(points, heights, strict=True):
        s.heights[t] = value
    if isinstance(height, Noted):
        for (s, t), row in zip(points, height.rows[len(height.rows) - len(points) :], strict=True):
            s.told[t] = row


def _refinements(samples: Samples) -> list[float]:
    """Where to look next, at most two positions beside each of the peaks that may be the highest."""
    top = samples.top
    if not math.isfinite(top.value):
        return []
    points = [Maximum(*sample) for sample in sorted(samples.heights.items())]
    least = PRECISION * max(abs(top.value), top.value - min(point.value for point in points))
    looks = [_look(points, points.index(peak), least) for peak in samples.peaks()]
    promising = sorted((look for look in looks if look.promise >= top.value), key=lambda look: -look.promise)
    return [t for look in promising[:MAX_PEAKS] for t in look.ts]


def _beside_steps(samples: Samples) -> list[float]:
    """Midpoints beside the two highest levels of a step function; nothing where γ is smooth or constant."""
    levels = sorted(set(samples.heights.values()))
    if len(levels) == 1 or 2 * len(levels) > len(samples.heights):
        return []
    neighbours = pairwise(sorted(samples.heights.items()))
    return [(t + u) / 2 for (t, one), (u, other) in neighbours if max(one, other) >= levels[-2]]


class _Look(NamedTuple):
    """How high a peak may turn out to be, and where to look."""

    promise: float
    ts: list[float]


def _look(points: Sequence[Maximum], i: int, least: float) -> _Look:
    """Beside the peak ``points[i]``, unless it cannot gain more than ``least``."""
    peak = points[i]
    if i in (0, len(points) - 1):
        first, second = (points[1], points[2]) if i == 0 else (points[-2], points[-3])
        return _look_beside_end(peak, first, second, least)
    left, right = points[i - 1], points[i + 1]
    top = vertex(left, peak, right)
    fall = peak.value - min(left.value, right.value)
    if max(top.value - peak.value, RESOLVED * fall) <= least:
        return _Look(-math.inf, [])
    # At equal distances the height decides, so that a segment and its reverse are looked at in the same places.
    narrow, wide = sorted((left, right), key=lambda neighbour: (abs(neighbour.t - peak.t), neighbour.value))
    ts = [top.t]
    # A parabola learns nothing from where it stands, and little from neighbours of which one is far away.
    if abs(top.t - peak.t) < abs(narrow.t - peak.t) / 8 or abs(wide.t - peak.t) > 4 * abs(narrow.t - peak.t):
        ts.append((peak.t + wide.t) / 2)
    return _Look(max(top.value, peak.value + HIDDEN * fall), ts)


def _look_beside_end(end: Maximum, first: Maximum, second: Maximum, least: float) -> _Look:
    """γ may rise from an end and fall again before the first sample."""
    if abs(first.t - end.t) > NEAR_END:
        return _Look(math.inf, [(end.t + first.t) / 2])
    top = vertex(end, first, second)
    inside = min(end.t, first.t) < top.t < max(end.t, first.t)
    return _Look(top.value, [top.t]) if inside and top.value - end.value > least else _Look(-math.inf, [])


def vertex(left: Maximum, middle: Maximum, right: Maximum) -> Maximum:
    """Top of the parabola through three points, between the outer ones if the middle one is a peak.

    Where the parabola has no top, it is the middle one.
    """
    u, v = left.t - middle.t, right.t - middle.t
    du, dv = (left.value - middle.value) / u, (right.value - middle.value) / v
    curvature = (dv - du) / (v - u)
    slope = du - curvature * u
    if curvature >= 0 or not math.isfinite(curvature):
        return middle
    offset = -slope / (2 * curvature)
    return Maximum(middle.t + offset, middle.value + slope * offset / 2)
