"""Is a segment under the threshold, and where is its loss largest? Two questions, two functions.

:func:`accept` stops at the first sample over the threshold; :func:`locate` looks for the global
maximum t* of γ (Section II.A). Both are *sampled*: they see finitely many positions, so what they
return is a lower bound of the maximum. Several segments are measured side by side, and no position
of a segment is measured twice.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from weightstring.path.segment import Height, Segment, grid, measure_points, no_worse

GRID = 16
"""Intervals of the coarse grid. With one parabola step its worst relative error on real curves is below 1e-3."""
ACCEPT_GRID = 32
"""Intervals of the grid that a segment must pass to be accepted."""
REFINEMENTS = 4
"""Rounds of refinement around the peaks."""
PRECISION = 1e-5
"""A refinement that promises a smaller relative gain is left out."""
NEAR_END = 1 / 100
"""How near a peak at an end must have a sample beside it."""
MAX_PEAKS = 3
"""Peaks that are refined, highest first."""


class Maximum(NamedTuple):
    """A position t ∈ [0, 1] on a segment and the height there."""

    t: float
    value: float


@dataclass
class Samples:
    """The heights known on one segment, by position. Knowing the ends saves measuring them."""

    segment: Segment
    heights: dict[float, float] = field(default_factory=dict)

    def missing(self, ts: Sequence[float]) -> list[float]:
        """Those positions that have not been measured yet."""
        return [t for t in ts if t not in self.heights]

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


def accept(height: Height, samples: Sequence[Samples], threshold: float, on_chunk: Hook = lambda: None) -> list[bool]:
    """Whether every sample of a segment is at most ``threshold``, for several segments side by side.

    The grid is refined by halving, so that a segment that exceeds the threshold is left early; one that
    does not is sampled on :data:`ACCEPT_GRID` intervals and once more at the top of each peak.

    Args:
        height: (B, P) → (B,) float64.
        samples: the segments with what is known of them; filled with what is measured here.
        threshold: L0, compared with ≤.
        on_chunk: called after every batch of measurements; it may raise.
    """
    under = [all(no_worse(h, threshold) for h in s.heights.values()) for s in samples]

    def look(positions: Callable[[Samples], Sequence[float]]) -> None:
        open_ones = [i for i, good in enumerate(under) if good]
        _measure(height, [(samples[i], positions(samples[i])) for i in open_ones], on_chunk)
        for i in open_ones:
            under[i] = all(no_worse(h, threshold) for h in samples[i].heights.values())

    intervals = 2
    while intervals <= ACCEPT_GRID:
        look(lambda _, n=intervals: grid(n))  # type: ignore[misc]
        intervals *= 2
    for _ in range(REFINEMENTS):
        look(_refinements)
    return under


def locate(height: Height, samples: Sequence[Samples], on_chunk: Hook = lambda: None) -> list[Maximum]:
    """The largest height on each of several segments and its position t*.

    A grid of :data:`GRID` intervals, then parabolas through the highest peaks until they promise less
    than :data:`PRECISION`. Peaks at the ends of the segment count like any other; where a height is not
    finite, it is the maximum.

    Args:
        height: (B, P) → (B,) float64.
        samples: the segments with what is known of them; filled with what is measured here.
        on_chunk: called after every batch of measurements; it may raise.
    """
    _measure(height, [(s, grid(GRID)) for s in samples], on_chunk)
    for _ in range(REFINEMENTS):
        _measure(height, [(s, _refinements(s)) for s in samples], on_chunk)
    return [s.top for s in samples]


def _measure(height: Height, wanted: Sequence[tuple[Samples, Sequence[float]]], on_chunk: Hook) -> None:
    points = [(s, t) for s, ts in wanted for t in s.missing(ts)]
    heights = measure_points(height, [(s.segment, t) for s, t in points], on_chunk)
    for (s, t), value in zip(points, heights, strict=True):
        s.heights[t] = value


def _refinements(samples: Samples) -> list[float]:
    """Where to look next: the tops of parabolas through the highest peaks and their neighbours."""
    top = samples.top
    if not math.isfinite(top.value):
        return []
    ts = sorted(samples.heights)
    floor = min(h for h in samples.heights.values())
    wanted = []
    for peak in samples.peaks()[:MAX_PEAKS]:
        i = ts.index(peak.t)
        if i in (0, len(ts) - 1):
            # γ may rise from the end and fall again before the next sample: look in between.
            neighbour = ts[1] if i == 0 else ts[-2]
            if abs(neighbour - peak.t) > NEAR_END:
                wanted.append((peak.t + neighbour) / 2)
            continue
        left, right = ts[i - 1], ts[i + 1]
        t, value = _vertex(Maximum(left, samples.heights[left]), peak, Maximum(right, samples.heights[right]))
        gain = value - peak.value
        scale = max(abs(top.value), top.value - floor)
        if value >= top.value - PRECISION * scale and gain > PRECISION * scale:
            wanted.append(t)
    return wanted


def _vertex(left: Maximum, peak: Maximum, right: Maximum) -> Maximum:
    """Top of the parabola through a peak and its two neighbours; it lies between them."""
    u, v = left.t - peak.t, right.t - peak.t
    du, dv = (left.value - peak.value) / u, (right.value - peak.value) / v
    curvature = (dv - du) / (v - u)
    slope = du - curvature * u
    if curvature >= 0 or not math.isfinite(curvature):
        return peak
    offset = -slope / (2 * curvature)
    return Maximum(peak.t + offset, peak.value + slope * offset / 2)
