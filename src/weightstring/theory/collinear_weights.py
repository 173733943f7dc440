r"""Two units of two inputs: the least loss of f(x) = s₊ρ(v·x) + s₋ρ(−v·x). Proofs: docs/theory/disconnection.md.

For one v the examples on either side of it are fitted apart, and the fits explain

    R₊(v) + R₋(v),   R(v) = |Aᵀv|² / vᵀSv,   S = Σ x xᵀ,   A = Σ x yᵀ over that side.

While v turns and no example changes sides, A and S stay as they are. In such a sector v = (1 − u)v₁ + uv₂ between the
directions v₁, v₂ across two examples, both terms are ratios of quadratics in u, and no example's v·x changes its sign:
in the basis v₁, v₂ nothing of S cancels, however near the examples are to one line.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import cmp_to_key
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float64
from torch import Tensor

from weightstring.theory.exact import Whole, enclosed, sign
from weightstring.theory.intervals import Floats, Interval

CLOSE = 1e-10
"""The search ends when its bound is within this share of the least loss that it met, …"""

NOISE = 1e-14
"""… or within this share of ‖Y‖², which is what rounding takes."""

DEEPEST = 150
"""Halvings of a sector, at most."""

WIDEST = 200_000
"""Pieces that are looked at together, at most."""


class Side(NamedTuple):
    """Sums over the examples on one side: S by its three numbers, A by its two rows."""

    second: tuple[int, int, int]
    cross: tuple[tuple[int, ...], tuple[int, ...]]


Vector = tuple[int, int]

Ratio = tuple[tuple[tuple[float, float], ...], tuple[tuple[float, float], ...]]
"""Enclosures of the Bernstein coefficients of |Aᵀv|² and vᵀSv on a sector."""


def least_with_collinear_weights(inputs: Float64[Tensor, "N 2"], targets: Float64[Tensor, "N c"]) -> Fraction:
    r"""No more than ‖f(X) − Y‖² for f(x) = s₊ρ(v·x) + s₋ρ(−v·x), ρ(z) = max(z, 0), any v ∈ R² and any s₊, s₋ ∈ R^c.

    Raises:
        OverflowError: a number is not finite.

    >>> import torch
    >>> axes = torch.eye(2, dtype=torch.float64)
    >>> round(float(least_with_collinear_weights(torch.cat([axes, -axes]), torch.cat([axes, 0 * axes]))), 6)
    1.0
    """
    x, y = Whole.of(inputs), Whole.of(targets)
    whole = y.squares
    if not whole:
        return Fraction(0)
    # By powers of two, so that ‖Y‖² is about 1.
    down = (whole.numerator.bit_length() - whole.denominator.bit_length()) // 2
    ratios = [_ratios(*sector, shift=2 * (y.exponent - down)) for sector in _sectors(x.rows, y.rows)]
    unit = Fraction(4) ** down
    explained = _most_explained(_Pieces.of(ratios), float(whole / unit))
    return max(whole - Fraction(explained) * unit, Fraction(0)) if math.isfinite(explained) else Fraction(0)


def _sectors(x: Sequence[Sequence[int]], y: Sequence[Sequence[int]]) -> Iterator[tuple[Vector, Vector, Side, Side]]:
    """The sectors of half a turn of v: where they begin and end, and what lies on either side of v."""
    across: dict[Vector, list[int]] = {(1, 0): [], (0, 1): []}
    for i, (p, q) in enumerate(x):
        if p or q:
            across.setdefault(_direction(-q, p), []).append(i)
    order = sorted(across, key=_BY_ANGLE)
    edges = [*order, (-order[0][0], -order[0][1])]
    middle = (edges[0][0] + edges[1][0], edges[0][1] + edges[1][1])
    ahead = [p * middle[0] + q * middle[1] > 0 for p, q in x]
    sums = {side: _sum(x, y, [i for i, is_ahead in enumerate(ahead) if is_ahead is side]) for side in (True, False)}
    for start, end in pairwise(edges):
        for i in across[start] if start != edges[0] else ():
            for side in (True, False):
                sums[side] = _moved(sums[side], x[i], y[i], -1 if ahead[i] is side else 1)
            ahead[i] = not ahead[i]
        yield start, end, sums[True], sums[False]


def _cross(one: Vector, two: Vector) -> int:
    return one[0] * two[1] - one[1] * two[0]


_BY_ANGLE: Callable[[Vector], Any] = cmp_to_key(lambda one, two: -sign(_cross(one, two)))
"""The order of directions in [0, π)."""


def _direction(p: int, q: int) -> Vector:
    """The same line's shortest vector of whole numbers at an angle in [0, π)."""
    factor = math.gcd(p, q) if q > 0 or (q == 0 and p > 0) else -math.gcd(p, q)
    return p // factor, q // factor


def _sum(x: Sequence[Sequence[int]], y: Sequence[Sequence[int]], which: Sequence[int]) -> Side:
    side = Side((0, 0, 0), ((0,) * len(y[0]), (0,) * len(y[0])))
    for i in which:
        side = _moved(side, x[i], y[i], 1)
    return side


def _moved(side: Side, x: Sequence[int], y: Sequence[int], times: int) -> Side:
    (p, q), (a, b, c), (first, last) = x, side.second, side.cross
    return Side(
        (a + times * p * p, b + times * p * q, c + times * q * q),
        (
            tuple(one + times * p * goal for one, goal in zip(first, y, strict=True)),
            tuple(one + times * q * goal for one, goal in zip(last, y, strict=True)),
        ),
    )


def _ratios(start: Vector, end: Vector, ahead: Side, behind: Side, shift: int) -> tuple[Ratio, Ratio]:
    """R₊ and R₋ on a sector, |Aᵀv|² times 2^shift; ``start`` and ``end`` are scaled so that either has vᵀSv about 1."""
    forms = [_forms(start, end, side) for side in (ahead, behind)]
    totals = [sum(second[i] for _, second in forms) for i in (0, 2)]
    down = [total.bit_length() // 2 for total in totals]
    shifts = (-2 * down[0], -down[0] - down[1], -2 * down[1])
    one, two = (_ratio(*form, shifts, shift) for form in forms)
    return one, two


def _forms(start: Vector, end: Vector, side: Side) -> tuple[tuple[int, int, int], tuple[int, int, int]]:
    """|Aᵀv|² and vᵀSv for v = start, between (the bilinear form), and end."""
    a, b, c = side.second
    seen = [tuple(v[0] * one + v[1] * two for one, two in zip(*side.cross, strict=True)) for v in (start, end)]
    explained = [sum(p * q for p, q in zip(seen[i], seen[j], strict=True)) for i, j in ((0, 0), (0, 1), (1, 1))]
    second = [
        v[0] * w[0] * a + (v[0] * w[1] + v[1] * w[0]) * b + v[1] * w[1] * c
        for v, w in ((start, start), (start, end), (end, end))
    ]
    return (explained[0], explained[1], explained[2]), (second[0], second[1], second[2])


def _ratio(
    explained: tuple[int, int, int], second: tuple[int, int, int], shifts: tuple[int, int, int], shift: int
) -> Ratio:
    one = ((1.0, 1.0),) * 3
    if not second[0] and not second[2]:
        return ((0.0, 0.0),) * 3, one  # No example with an input other than 0.
    if not second[0] or not second[2]:  # All are across one edge of the sector: the ratio is the same in all of it.
        i = 2 if second[2] else 0
        share = Fraction(explained[i], second[i]) * Fraction(2) ** shift
        low, high = enclosed(int(share * (1 << 300)), -300)
        return ((low, np.nextafter(high, np.inf) + 2.0**-290),) * 3, one
    # Both by one power of two, which leaves the ratio.
    top = max(n.bit_length() + by for n, by in zip(second, shifts, strict=True))
    return (
        tuple(enclosed(n, by + shift - top) for n, by in zip(explained, shifts, strict=True)),
        tuple(enclosed(n, by - top) for n, by in zip(second, shifts, strict=True)),
    )


@dataclass(frozen=True, eq=False)
class _Pieces:
    """B pieces of sectors: the Bernstein coefficients of R₊ and R₋, each a ratio of quadratics."""

    explained: tuple[list[Interval], list[Interval]]
    second: tuple[list[Interval], list[Interval]]

    @staticmethod
    def of(sectors: Sequence[tuple[Ratio, Ratio]]) -> _Pieces:
        values = np.array(sectors)  # (B, sides, explained or second, coefficients, ends)

        def quadratic(side: int, which: int) -> list[Interval]:
            return [Interval(values[:, side, which, i, 0], values[:, side, which, i, 1]) for i in range(3)]

        return _Pieces((quadratic(0, 0), quadratic(1, 0)), (quadratic(0, 1), quadratic(1, 1)))

    def __len__(self) -> int:
        return len(self.second[0][0].low)

    def kept(self, which: np.ndarray) -> _Pieces:
        """Some of them."""
        return self._each(lambda form: [[Interval(c.low[which], c.high[which]) for c in form]])

    def halves(self) -> _Pieces:
        """Each cut in two (de Casteljau)."""
        return self._each(_halved)

    def _each(self, change: Callable[[list[Interval]], list[list[Interval]]]) -> _Pieces:
        def changed(form: list[Interval]) -> list[Interval]:
            parts = change(form)
            return [
                Interval(np.concatenate([p[i].low for p in parts]), np.concatenate([p[i].high for p in parts]))
                for i in range(3)
            ]

        first, last = map(changed, self.explained)
        one, two = map(changed, self.second)
        return _Pieces((first, last), (one, two))

    def bounds(self) -> tuple[Floats, Floats]:
        """No less than R₊ + R₋ anywhere on each piece, and about its value at one end (no bound).

        A ratio of polynomials is at most the largest ratio of their coefficients, where those below are positive.
        """
        (m, n), (s, t) = self.explained, self.second
        above = [one + two for one, two in zip(_product(m, t), _product(n, s), strict=True)]
        under = _product(s, t)
        shares = []
        for over, of in zip(above, under, strict=True):
            with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
                share = np.nextafter(over.high / of.low, np.inf)
            shares.append(np.where(over.high <= 0, 0.0, np.where(of.low > 0, share, np.inf)))
        with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
            met = np.where(under[0].low > 0, above[0].low / under[0].high, 0.0)
        return np.maximum.reduce(shares), met


def _product(one: Sequence[Interval], two: Sequence[Interval]) -> list[Interval]:
    """The five Bernstein coefficients of a product of two quadratics; the factors 2 and 6 are common to both sides."""
    return [
        one[0] * two[0],
        one[0] * two[1] + one[1] * two[0],
        one[0] * two[2] + one[2] * two[0] + 4.0 * (one[1] * two[1]),
        one[1] * two[2] + one[2] * two[1],
        one[2] * two[2],
    ]


def _halved(form: list[Interval]) -> list[list[Interval]]:
    first, middle, last = form
    left, right = 0.5 * (first + middle), 0.5 * (middle + last)
    centre = 0.5 * (left + right)
    return [[first, left, centre], [centre, right, last]]


def _most_explained(pieces: _Pieces, whole: float) -> float:
    """No less than R₊ + R₋ on any piece: those where it may be higher than what was met are halved."""
    met = dropped = 0.0
    for _ in range(DEEPEST):
        bounds, values = pieces.bounds()
        met = max(met, float(values.max()))
        enough = met + CLOSE * max(whole - met, 0.0) + NOISE * whole
        open_ = ~(bounds <= enough)
        dropped = max(dropped, float(bounds[~open_].max(initial=0.0)))
        if not open_.any():
            return dropped
        pieces = pieces.kept(open_)
        if len(pieces) > WIDEST:
            break
        pieces = pieces.halves()
    return max(dropped, float(pieces.bounds()[0].max()))
