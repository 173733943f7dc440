"""Interval arithmetic on many boxes at once, rounded outwards, for losses of a few parameters."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np
from jaxtyping import Float64
from numpy.typing import NDArray

Floats = NDArray[np.float64]


def _down(values: Floats) -> Floats:
    return np.nextafter(values, -np.inf)


def _up(values: Floats) -> Floats:
    return np.nextafter(values, np.inf)


def _exactly(value: object) -> object:
    """A NumPy scalar as a number of Python's where there is one that is as exact."""
    return value.item() if isinstance(value, np.integer | np.bool_) else value


@dataclass(frozen=True, eq=False)
class Interval:
    """B closed intervals [low, high], each holding every value that an expression takes on its box.

    Each operation rounds to nearest and then one step outwards, which is rigorous for the correctly rounded
    operations that are used here: +, −, ×.

    Args:
        low: (B,) lower ends.
        high: (B,) upper ends.

    >>> w = Interval(np.array([-1.0]), np.array([2.0]))
    >>> squared = (w - 1.0).square()
    >>> bool(squared.low[0] <= 0 <= 4 <= squared.high[0] < 4.001)
    True
    """

    low: Floats
    high: Floats

    # NumPy must leave `array * interval` to Interval.
    __array_ufunc__ = None

    @staticmethod
    def of(value: Interval | float | Fraction | NDArray[Any]) -> Interval:
        """A number as the interval that holds it alone, or, if float64 cannot hold it, its nearest neighbours.

        >>> whole = Interval.of(2**53 + 1)
        >>> int(whole.low[0]) <= 2**53 + 1 <= int(whole.high[0])
        True
        """
        if isinstance(value, Interval):
            return value
        given = np.atleast_1d(np.asarray(value))
        known = given.astype(np.float64)
        if given.dtype == np.float64:
            return Interval(known, known)
        # Python's integers and fractions compare with floats exactly, as NumPy's do not.
        exact = [bool(np.isnan(k)) or _exactly(v) == float(k) for v, k in zip(given.flat, known.flat, strict=True)]
        held = np.array(exact, dtype=bool).reshape(known.shape)
        return Interval(np.where(held, known, _down(known)), np.where(held, known, _up(known)))

    def __neg__(self) -> Interval:
        return Interval(-self.high, -self.low)

    def __add__(self, other: Interval | float | Floats) -> Interval:
        given = Interval.of(other)
        return Interval(_down(self.low + given.low), _up(self.high + given.high))

    __radd__ = __add__

    def __sub__(self, other: Interval | float | Floats) -> Interval:
        return self + -Interval.of(other)

    def __rsub__(self, other: Interval | float | Floats) -> Interval:
        return -self + other

    def __mul__(self, other: Interval | float | Floats) -> Interval:
        given = Interval.of(other)
        products = [x * y for x in (self.low, self.high) for y in (given.low, given.high)]
        return Interval(_down(np.minimum.reduce(products)), _up(np.maximum.reduce(products)))

    __rmul__ = __mul__

    def square(self) -> Interval:
        """x², which is not x · x: both factors are the same number."""
        ends = self.low * self.low, self.high * self.high
        across = (self.low <= 0) & (self.high >= 0)
        low = np.where(across, 0.0, np.maximum(_down(np.minimum(*ends)), 0.0))
        return Interval(low, _up(np.maximum(*ends)))

    def relu(self) -> Interval:
        """max(0, x), exact."""
        return Interval(np.maximum(self.low, 0.0), np.maximum(self.high, 0.0))


def coordinates(low: Float64[np.ndarray, "B P"], high: Float64[np.ndarray, "B P"]) -> list[Interval]:
    """The P coordinates of B boxes."""
    return [Interval(low[:, i], high[:, i]) for i in range(low.shape[1])]


def total(terms: Iterable[Interval]) -> Interval:
    """The sum of some intervals."""
    return sum(terms, start=Interval.of(0.0))


def mean(terms: Sequence[Interval]) -> Interval:
    """The mean of some intervals."""
    whole, count = total(terms), float(len(terms))
    return Interval(_down(whole.low / count), _up(whole.high / count))
