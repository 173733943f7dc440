"""Exact arithmetic on stored numbers: every finite float is a whole number times a power of two.

What a proof decides by a sign, it decides here. Nothing overflows or underflows.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
from torch import Tensor

BITS = 53
"""Of a float's mantissa."""

TINY = -900
"""A positive number under 2 to this power is enclosed as [0, 2^TINY]: no enclosure meets subnormal numbers."""


@dataclass(frozen=True)
class Whole:
    """A matrix of whole numbers times one power of two: rows · 2^exponent.

    Args:
        rows: the whole numbers.
        exponent: of the power of two.
    """

    rows: tuple[tuple[int, ...], ...]
    exponent: int

    @staticmethod
    def of(matrix: Tensor) -> Whole:
        """A floating matrix (n, m), as it is stored.

        Raises:
            OverflowError: a number in it is not finite.

        >>> import torch
        >>> Whole.of(torch.tensor([[0.75, -2.0]]))
        Whole(rows=((3, -8),), exponent=-2)
        """
        values = matrix.detach().cpu().double().numpy()
        if not np.isfinite(values).all():
            raise OverflowError("a number that is not finite has no exact value")
        mantissas, exponents = np.frexp(values)
        whole = np.ldexp(mantissas, BITS).astype(np.int64)
        # Trailing zeros only make the numbers longer.
        spare = np.where(whole == 0, 0, np.frexp((whole & -whole).astype(np.float64))[1].astype(np.int64) - 1)
        whole, shifts = whole >> spare, exponents.astype(np.int64) - BITS + spare
        least = int(shifts[whole != 0].min()) if whole.any() else 0
        rows = (
            tuple(n << (shift - least) if n else 0 for n, shift in zip(row, moved, strict=True))
            for row, moved in zip(whole.tolist(), shifts.tolist(), strict=True)
        )
        return Whole(tuple(rows), least)

    def to(self, exponent: int) -> Whole:
        """The same numbers as multiples of a smaller power of two."""
        shift = self.exponent - exponent
        return Whole(tuple(tuple(n << shift for n in row) for row in self.rows), exponent)

    @property
    def squares(self) -> Fraction:
        """The sum of all squares."""
        return scaled(sum(n * n for row in self.rows for n in row), 2 * self.exponent)


def scaled(number: int, exponent: int) -> Fraction:
    """The rational number · 2^exponent."""
    return Fraction(number << exponent) if exponent >= 0 else Fraction(number, 1 << -exponent)


def below(value: Fraction) -> float:
    """The largest float that is not above a rational number.

    >>> below(Fraction(1, 3)) < Fraction(1, 3), below(Fraction(1, 4))
    (True, 0.25)
    """
    try:
        nearest = float(value)  # correctly rounded
    except OverflowError:
        return math.nextafter(math.inf, 0.0) if value > 0 else -math.inf
    return nearest if nearest <= value else math.nextafter(nearest, -math.inf)


def enclosed(number: int, exponent: int) -> tuple[float, float]:
    """The nearest floats on either side of number · 2^exponent, a value that is no larger than floats go.

    >>> enclosed(3, -1), enclosed(1, -2000) == (0.0, 2.0**TINY)
    ((1.5, 1.5), True)
    """
    if number < 0:
        low, high = enclosed(-number, exponent)
        return -high, -low
    length = number.bit_length()
    if number and length + exponent < TINY:
        return 0.0, math.ldexp(1.0, TINY)
    shift = max(length - BITS, 0)
    kept = number >> shift
    more = kept + (kept << shift != number)
    return math.ldexp(kept, shift + exponent), math.ldexp(more, shift + exponent)


def sign(number: int | Fraction) -> int:
    """−1, 0 or 1."""
    return (number > 0) - (number < 0)


def rank(rows: Sequence[Sequence[int]]) -> int:
    """Of a matrix of whole numbers, by elimination.

    >>> rank([[1, 2, 3], [2, 4, 6], [0, 0, 1]])
    2
    """
    left, count = [list(row) for row in rows], 0
    for k in range(len(left[0]) if left else 0):
        pivot = next((i for i in range(count, len(left)) if left[i][k]), None)
        if pivot is None:
            continue
        left[count], left[pivot] = left[pivot], left[count]
        top = left[count]
        for i in range(count + 1, len(left)):
            if left[i][k]:
                row = [top[k] * n - left[i][k] * m for n, m in zip(left[i], top, strict=True)]
                common = math.gcd(*row) or 1
                left[i] = [n // common for n in row]
        count += 1
    return count


def determinant(rows: Sequence[Sequence[int]]) -> int:
    """Of a square matrix of whole numbers, by elimination without fractions (E. H. Bareiss, 1968).

    >>> determinant([[0, 1, 0], [1, 0, 0], [0, 0, 7]])
    -7
    """
    left = [list(row) for row in rows]
    count, swaps, previous = len(left), 1, 1
    for k in range(count - 1):
        pivot = next((i for i in range(k, count) if left[i][k]), None)
        if pivot is None:
            return 0
        if pivot != k:
            left[k], left[pivot], swaps = left[pivot], left[k], -swaps
        top = left[k]
        for i in range(k + 1, count):
            row = left[i]
            if row[k]:
                left[i] = [0] * (k + 1) + [(top[k] * row[j] - row[k] * top[j]) // previous for j in range(k + 1, count)]
            else:
                left[i] = [0] * (k + 1) + [top[k] * n // previous for n in row[k + 1 :]]
        previous = top[k]
    return swaps * left[-1][-1] if count else 1
