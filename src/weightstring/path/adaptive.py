"""Few samples where a curve is smooth: only where it may be higher between two of them is there another.

Between neighbours at distance h a curve whose second derivative is nowhere below −M exceeds its chord by no more than
M x (h − x) / 2. M is not known: three samples tell one second difference, and :data:`MARGIN` times the largest of a
segment stands for it; beside a kink, as curves of rectified networks have them, the chords on either side of two
neighbours bound what lies between. That is a heuristic, and what is found with it is *sampled* like any other maximum:
a curve that bends more sharply than any three samples show can hide between two, as it can on a grid.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import pairwise
from typing import NamedTuple

from weightstring.path.maximum import (
    ACCEPT_GRID,
    REFINEMENTS,
    Hook,
    Maximum,
    Samples,
    Sampling,
    accept,
    levels_of,
    measure_at,
    sharpen,
    vertex,
)
from weightstring.path.segment import Height, grid, no_worse

Point = tuple[float, float]
"""A sample: t and γ(t)."""

COARSE = 4
"""Intervals on which a segment is looked at first: most of those over their threshold show it there."""
FIRST = 8
"""Intervals from which on second differences are believed."""
MARGIN = 2.0
"""How much sharper than three samples show a curve is believed to bend at most."""
NEAREST = 1 / 128
"""The least distance of two samples beside an end, where a curve that only just stays under a threshold leaves it."""
GAIN = 0.02
"""By what share of its range a curve must be able to exceed its largest sample to be looked at for its maximum."""


def accept_adaptively(
    height: Height, samples: Sequence[Samples], threshold: float | Sequence[float], on_chunk: Hook = lambda: None
) -> list[bool]:
    """Whether every sample of a segment is at most its threshold, with no more samples than its bends ask for.

    Several segments are measured side by side; how densely one is sampled depends on that one alone. Where bends ask
    for more than the grid of :func:`~weightstring.path.maximum.accept` has, peaks are refined as there.

    Args:
        height: (B, P) → (B,) float64.
        samples: the segments with what is known of them; filled with what is measured here.
        threshold: L0, compared with ≤; one for all, or one a segment.
        on_chunk: called after every batch of measurements; it may raise.
    """
    levels = levels_of(threshold, samples)
    by_segment = dict(zip(map(id, samples), levels, strict=True))

    def level(s: Samples) -> float:
        return by_segment[id(s)]

    def under() -> list[Samples]:
        return [s for s in samples if s.under(level(s))]

    for intervals in (COARSE, FIRST):
        measure_at(height, [(s, grid(intervals)) for s in under()], on_chunk)
    _refine(height, under(), level, on_chunk, until=lambda s: not s.under(level(s)))
    doubted = [s for s in under() if doubtful(s, level(s))]
    accept(height, doubted, [level(s) for s in doubted], on_chunk, Sampling(1, REFINEMENTS))
    return [s.under(level(s)) for s in samples]


def locate_adaptively(
    height: Height, samples: Sequence[Samples], on_chunk: Hook = lambda: None, intervals: int = FIRST
) -> list[Maximum]:
    """The largest height on each segment and its position t*: to :data:`GAIN` of the curve's range if bends are seen.

    Beside the peaks that were found it is then looked as closely as :func:`~weightstring.path.maximum.locate` does.

    Args:
        height: (B, P) → (B,) float64.
        samples: the segments with what is known of them; filled with what is measured here.
        on_chunk: called after every batch of measurements; it may raise.
        intervals: of the grid that it begins with.
    """

    def level(s: Samples) -> float:
        return s.top.value + GAIN * (s.top.value - min(s.heights.values()))

    measure_at(height, [(s, grid(intervals)) for s in samples], on_chunk)
    _refine(height, samples, level, on_chunk, until=lambda s: not math.isfinite(s.top.value), place=_at_top)
    sharpen(height, samples, on_chunk)
    return [s.top for s in samples]


def look_roughly(height: Height, samples: Sequence[Samples], on_chunk: Hook = lambda: None) -> None:
    """Once more where a parabola through the highest samples on :data:`COARSE` intervals has its top."""
    measure_at(height, [(s, grid(COARSE)) for s in samples], on_chunk)
    finite = [s for s in samples if math.isfinite(s.top.value)]
    measure_at(height, [(s, _near_top(s)) for s in finite], on_chunk)


def _near_top(samples: Samples) -> list[float]:
    ts = sorted(samples.heights)
    i = min(max(ts.index(samples.top.t), 1), len(ts) - 2)
    top = vertex(*(Maximum(t, samples.heights[t]) for t in ts[i - 1 : i + 2])).t
    return [top] if min(abs(top - t) for t in ts) > 1 / (8 * COARSE) else []


class Between(NamedTuple):
    """What the samples of a segment say of the curve between them.

    Args:
        samples: how many there are.
        second_difference: the largest |γ''| that three neighbouring ones show.
        highest: how high the curve may be, if it bends no more than :data:`MARGIN` times as sharply, or has kinks.
    """

    samples: int
    second_difference: float
    highest: float


def between(heights: Mapping[float, float]) -> Between:
    """What samples, by t, say of the curve between them: a heuristic, no bound.

    >>> between({t: 3.0 * t * t for t in (0.0, 0.25, 0.5, 0.75, 1.0)})
    Between(samples=5, second_difference=6.0, highest=3.0)
    """
    return Between(len(heights), second_difference(heights), max(highest for _, _, highest in _bounds(heights)))


def second_difference(heights: Mapping[float, float]) -> float:
    """The largest |γ''| that three neighbouring samples show; 0 for fewer, +inf where a height is not finite."""
    ordered = sorted(heights.items())
    triples = zip(ordered, ordered[1:], ordered[2:], strict=False)
    return max((_bend(*triple) for triple in triples), default=0.0)


def doubtful(samples: Samples, level: float) -> list[tuple[float, float]]:
    """Neighbouring samples between which, as sharply as the curve is believed to bend, it may exceed a level."""
    return [(t, u) for t, u, highest in _bounds(samples.heights) if not no_worse(highest, level)]


def _bounds(heights: Mapping[float, float]) -> Iterator[tuple[float, float, float]]:
    """Neighbouring samples, and how high the curve may be between them."""
    bend, points = MARGIN * second_difference(heights), sorted(heights.items())
    for i, (left, right) in enumerate(pairwise(points)):
        highest = _below_parabola(left, right, bend)
        if 0 < i < len(points) - 2:
            highest = max(highest, _below_chords(points[i - 1], left, right, points[i + 2]))
        yield left[0], right[0], highest


def _refine(
    height: Height,
    samples: Sequence[Samples],
    level: Callable[[Samples], float],
    on_chunk: Hook,
    until: Callable[[Samples], bool],
    place: Callable[[Samples, float, float], float] = lambda _, t, u: (t + u) / 2,
) -> None:
    """Divide intervals as long as the curve may exceed the level there, and they are wider than a grid's."""
    while samples:
        samples = [s for s in samples if not until(s)]
        wanted = [(s, [place(s, t, u) for t, u in doubtful(s, level(s)) if _is_wide(t, u)]) for s in samples]
        measure_at(height, wanted, on_chunk)
        samples = [s for s, wide in wanted if wide]


def _at_top(samples: Samples, t: float, u: float) -> float:
    """Where to divide an interval: at the top of the parabola through the highest samples, if it lies well inside."""
    points = [Maximum(*sample) for sample in sorted(samples.heights.items())]
    i = points.index(samples.top)
    top = vertex(*points[i - 1 : i + 2]).t if 0 < i < len(points) - 1 else t
    return top if (u - t) / 8 < min(top - t, u - top) else (t + u) / 2


def _is_wide(t: float, u: float) -> bool:
    return u - t > (NEAREST if t == 0 or u == 1 else 1 / ACCEPT_GRID)


def _bend(left: Point, middle: Point, right: Point) -> float:
    u, v = left[0] - middle[0], right[0] - middle[0]
    du, dv = (left[1] - middle[1]) / u, (right[1] - middle[1]) / v
    bend = 2 * abs(dv - du) / (v - u)
    return bend if math.isfinite(bend) else math.inf


def _below_parabola(left: Point, right: Point, bend: float) -> float:
    """The largest value between two samples of their chord + bend x (h − x) / 2, x from the left one."""
    if bend == 0 or not math.isfinite(bend):
        return max(left[1], right[1]) if bend == 0 else math.inf
    width = right[0] - left[0]
    slope = (right[1] - left[1]) / width
    x = min(max(width / 2 + slope / bend, 0.0), width)
    return max(left[1] + slope * x + bend * x * (width - x) / 2, left[1], right[1])


def _below_chords(before: Point, left: Point, right: Point, after: Point) -> float:
    """Where the chords on either side, drawn on, meet between two samples: a concave curve is nowhere higher."""
    width = right[0] - left[0]
    rise, fall = (left[1] - before[1]) / (left[0] - before[0]), (after[1] - right[1]) / (after[0] - right[0])
    if not fall < (right[1] - left[1]) / width < rise:
        return max(left[1], right[1])
    return left[1] + rise * (right[1] - left[1] - fall * width) / (rise - fall)
