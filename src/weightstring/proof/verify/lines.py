"""Arithmetic of verification: an array along an interval is value + slope·s ± error, s ∈ [−1, 1]."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

Array: TypeAlias = NDArray[np.float64]

U = 2.0**-53

LEAST = 2.0**-966
"""Added to every size that rounding is relative to: U times it is more than underflow takes from any operation."""


def gamma(terms: int) -> float:
    """Relative error of a sum of products, with room for 64 more operations."""
    return (terms + 64) * U / (1 - (terms + 64) * U)


class Line(NamedTuple):
    """value + slope·s ± error, entry by entry; the first axis is the examples'.

    >>> line = Line(np.array([1.0]), np.array([0.5]), np.array([0.25]))
    >>> line.low, line.high
    (array([0.25]), array([1.75]))
    """

    value: Array
    slope: Array
    error: Array

    @property
    def low(self) -> Array:
        """No more than any value in the interval."""
        return self.value - np.abs(self.slope) - self.error

    @property
    def high(self) -> Array:
        """No less than any value in the interval."""
        return self.value + np.abs(self.slope) + self.error

    @property
    def size(self) -> float:
        """No less than the largest number in it, and not 0."""
        if not self.value.size:
            return LEAST
        return float((np.abs(self.value) + np.abs(self.slope) + self.error).max()) + LEAST

    @property
    def finite(self) -> bool:
        """Whether all of its numbers are."""
        return all(bool(np.isfinite(part).all()) for part in self)

    def moved(self, function: Any) -> Line:
        """Entries moved about, without arithmetic."""
        return Line(*(function(part) for part in self))

    def rounded(self, size: float, terms: int = 0) -> Line:
        """Its error larger by what rounding of numbers up to ``size`` may have done."""
        return Line(self.value, self.slope, self.error + gamma(terms) * (size + LEAST))


class Path(NamedTuple):
    """A parameter on the interval: middle + slope·s exactly; ``size`` ≥ |middle| + |slope| bounds its rounding."""

    middle: Array
    slope: Array
    size: Array

    def line(self) -> Line:
        """As a line of one example."""
        return Line(self.middle[None], self.slope[None], gamma(0) * (self.size[None] + LEAST))


class Given(NamedTuple):
    """Data: one row an example; ``whole`` gives those of all examples."""

    values: Any
    whole: Callable[[], Any]

    def moved(self, function: Any) -> Given:
        """Something done to each example."""
        return Given(function(self.values), lambda: function(self.whole()))


def constant(values: Array) -> Line:
    """A line that does not move."""
    return Line(values, np.zeros_like(values), np.zeros_like(values))


def add(x: Line, y: Line, factor: float = 1.0) -> Line:
    """The sum x + factor·y."""
    line = Line(x.value + factor * y.value, x.slope + factor * y.slope, x.error + abs(factor) * y.error)
    return line.rounded(x.size + abs(factor) * y.size)


def scale(x: Line, factor: Any) -> Line:
    """The product of x and constants."""
    line = Line(x.value * factor, x.slope * factor, x.error * np.abs(factor))
    return line.rounded(x.size * float(np.max(np.abs(factor))))


def multiply(x: Line, y: Line) -> Line:
    """The product x·y; the square of s is ½ ± ½."""
    square = x.slope * y.slope
    reach_x, reach_y = np.abs(x.value) + np.abs(x.slope), np.abs(y.value) + np.abs(y.slope)
    return Line(
        x.value * y.value + square / 2,
        x.value * y.slope + x.slope * y.value,
        np.abs(square) / 2 + reach_x * y.error + x.error * (reach_y + y.error),
    ).rounded(4 * x.size * y.size)


def relu(x: Line) -> Line:
    """max(0, x): itself, 0, or the band between the chord of [low, high] and its parallel through 0."""
    low, high = x.low, x.high
    with np.errstate(invalid="ignore", divide="ignore"):
        crossing = high / (high - low)
    share = np.where(low >= 0, 1.0, np.where(high <= 0, 0.0, crossing))
    half = np.where((low < 0) & (high > 0), -share * low / 2, 0.0)
    return Line(share * x.value + half, share * x.slope, share * x.error + half).rounded(2 * x.size)


def maximum(parts: list[Line]) -> Line:
    """The largest of several: that which is above all others, or a constant band."""
    low, high = np.stack([part.low for part in parts]), np.stack([part.high for part in parts])
    best = low.argmax(0)[None]
    highest = np.array(high)
    np.put_along_axis(highest, best, -np.inf, 0)
    alone = np.take_along_axis(low, best, 0)[0] >= highest.max(0)
    chosen = [np.take_along_axis(np.stack([part[k] for part in parts]), best, 0)[0] for k in range(3)]
    bottom, top = low.max(0), high.max(0)
    return Line(
        np.where(alone, chosen[0], (bottom + top) / 2),
        np.where(alone, chosen[1], 0.0),
        np.where(alone, chosen[2], (top - bottom) / 2),
    ).rounded(2 * max(part.size for part in parts))
