"""A figure of a sweep in numbers and words: series of points with their intervals, and axes."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

Kind = Literal["mean", "pairs", "open", "fit", "unresolved", "disconnected", "curve", "beads", "threshold"]
"""How a series is drawn: ``mean`` a line through points with intervals, ``pairs`` faint points, ``open`` crosses."""

NEAR = 0.08
"""Part of an axis that a name written upright takes, on a phone."""


@dataclass(frozen=True)
class Series:
    """Points that are drawn alike.

    Args:
        name: in the legend; empty: not there.
        kind: how it is drawn.
        x: where, and
        y: how high; all finite, but for gaps in a ``curve`` (NaN).
        low: lower ends of intervals, and
        high: upper ends; both empty where there are none.
        look: number of its colour, dash and symbol.
        texts: what is said under the pointer, in lines.
        shown: whether it is drawn before its legend is clicked.
    """

    name: str
    kind: Kind
    x: tuple[float, ...]
    y: tuple[float, ...]
    low: tuple[float, ...] = ()
    high: tuple[float, ...] = ()
    look: int = 0
    texts: tuple[str, ...] = ()
    shown: bool = True

    @property
    def above(self) -> tuple[float, ...]:
        """How far intervals reach up; never less than 0, since a mean of equal numbers may round past its interval."""
        return tuple(max(0.0, high - y) for high, y in zip(self.high, self.y, strict=True))

    @property
    def below(self) -> tuple[float, ...]:
        """How far intervals reach down."""
        return tuple(max(0.0, y - low) for low, y in zip(self.low, self.y, strict=True))


@dataclass(frozen=True)
class Level:
    """Where a trivial predictor stands on the axis of thresholds."""

    name: str
    value: float


@dataclass(frozen=True)
class Chart:
    """One figure.

    Args:
        name: of its file.
        label: what a switch calls it among its like.
        sentence: what it shows, and the numbers it rests on.
        x_title: of the axis.
        y_title: of the axis.
        series: what is drawn, from back to front.
        levels: of trivial predictors, drawn as vertical lines.
        x_log: whether the axis is logarithmic.
        x_ticks: where it is labelled, if not where logarithmic axes are.
        y_log: whether the axis is logarithmic.
        y_range: fixed ends of the axis; None: what is drawn fits.
        categories: names of x = 0, 1, …, where x is no number.
    """

    name: str
    label: str
    sentence: str
    x_title: str
    y_title: str
    series: tuple[Series, ...]
    levels: tuple[Level, ...] = ()
    x_log: bool = True
    x_ticks: tuple[float, ...] = ()
    y_log: bool = False
    y_range: tuple[float, float] | None = None
    categories: tuple[str, ...] = ()

    @property
    def x_ends(self) -> tuple[float, float]:
        """What the axis spans: all that is drawn and a margin, by ratio on a logarithmic axis."""
        places = [x for series in self.series for x in series.x] + [level.value for level in self.levels]
        if not places:
            return (0.5, 2.0)
        low, high = min(places), max(places)
        if self.x_log:
            margin = max((high / low) ** 0.05, 1.1)
            return (low / margin, high * margin)
        margin = 0.4 if self.categories else 0.02 * (high - low) or 0.5
        return (low - margin, high + margin)

    @property
    def named_levels(self) -> tuple[tuple[Level, bool], ...]:
        """The levels, rising, and whether each one's name stands after its line: where the one before is too near."""
        low, high = map(math.log10, self.x_ends) if self.x_log else self.x_ends
        places = sorted(self.levels, key=lambda level: level.value)
        named: list[tuple[Level, bool]] = []
        for level in places:
            at = math.log10(level.value) if self.x_log else level.value
            before = named[-1][0].value if named else None
            gap = math.inf if before is None else at - (math.log10(before) if self.x_log else before)
            named.append((level, gap < NEAR * (high - low)))
        return tuple(named)

    @property
    def y_ends(self) -> tuple[float, float]:
        """What a logarithmic axis spans: an interval that reaches 0 does not stretch it."""
        heights = [y for series in self.series for y in (*series.y, *series.low, *series.high) if 0 < y < math.inf]
        least = min((y for series in self.series for y in series.y if 0 < y < math.inf), default=1.0)
        kept = [y for y in heights if y > least / 3] or [1.0]
        margin = max((max(kept) / min(kept)) ** 0.05, 1.1)
        return (min(kept) / margin, max(kept) * margin)


def ticks(low: float, high: float) -> tuple[float, ...]:
    """Where a logarithmic axis is labelled: at powers of ten and, the shorter it is, at more digits between them.

    >>> ticks(0.009, 0.11), ticks(0.1, 20000), ticks(1.9, 8.5)
    ((0.01, 0.02, 0.05, 0.1), (0.1, 1.0, 10.0, 100.0, 1000.0, 10000.0), (2.0, 3.0, 4.0, 5.0, 6.0, 8.0))
    """
    decades = math.log10(high / low)
    first, last = math.floor(math.log10(low)), math.ceil(math.log10(high))
    steps: tuple[float, ...] = (1, 2, 5) if decades < 3.5 else (1,)
    steps = (1, 1.5, 2, 3, 4, 5, 6, 8) if decades < 1 else steps
    places = (float(f"{step}e{power}") for power in range(first, last + 1) for step in steps)
    return tuple(place for place in places if low <= place <= high)
