"""Arithmetic of verification: an array along an interval is value + slope·s + bend·s² + e(s), s ∈ [−1, 1].

Each entry of e is at most ``error``, and where ``norm`` is given, the Euclidean norm of e along one
axis is at most that.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

Array: TypeAlias = NDArray[np.float64]
Axis: TypeAlias = int | tuple[int, ...]

U = 2.0**-53

LEAST = 2.0**-966
"""Added to every size that rounding is relative to: U times it is more than underflow takes from any operation."""


def gamma(terms: int) -> float:
    """Relative error of a sum of products, with room for 64 more operations."""
    return (terms + 64) * U / (1 - (terms + 64) * U)


class Curve(NamedTuple):
    """value + slope·s + bend·s² + e(s), |e| ≤ error entry by entry and ‖e‖₂ ≤ norm along ``axis``.

    Args:
        value: at s = 0.
        slope: what s is multiplied by.
        bend: what s² is multiplied by.
        error: of the same shape.
        norm: of the same shape but for the axis, of length 1; None: only the error is known.
        axis: −1 or −2, or several, all counted from the last.

    >>> curve = Curve(*map(np.atleast_1d, (1.0, 0.5, 0.0, 0.25)))
    >>> curve.low.round(9), curve.high.round(9)
    (array([0.25]), array([1.75]))
    """

    value: Array
    slope: Array
    bend: Array
    error: Array
    norm: Array | None = None
    axis: Axis = -1

    @classmethod
    def of(cls, parts: Iterable[Any], norm: Array | None = None, axis: Axis = -1) -> Curve:
        """One with value, slope, bend and error in order."""
        value, slope, bend, error = parts
        return cls(value, slope, bend, error, norm, axis)

    @property
    def shape(self) -> tuple[int, ...]:
        """Of each part."""
        return self.value.shape

    @property
    def parts(self) -> tuple[Array, Array, Array, Array]:
        """All but the norm."""
        value, slope, bend, error = map(np.asarray, self[:4])  # of a number by itself NumPy's arithmetic gives none
        return value, slope, bend, error

    def _range(self) -> tuple[Array, Array]:
        """How far the polynomial lies below and above ``value``: exactly, but for rounding."""
        steep, bent = np.abs(self.slope), np.abs(self.bend)
        far = steep + bent
        with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
            near = np.where(steep >= 2 * bent, steep - bent, steep * (steep / (4 * bent)))
        up = self.bend >= 0
        return np.where(up, near, far), np.where(up, far, near)

    @property
    def polynomial_reach(self) -> Array:
        """No less than the polynomial anywhere in absolute value, and than the sizes of its terms together."""
        return np.abs(self.value) + np.abs(self.slope) + np.abs(self.bend)

    @property
    def reach(self) -> Array:
        """No less than any value in absolute value."""
        return self.polynomial_reach + self.error

    @property
    def low(self) -> Array:
        """No more than any value in the interval."""
        return self.value - self._range()[0] - self.error - gamma(0) * (self.reach + LEAST)

    @property
    def high(self) -> Array:
        """No less than any value in the interval."""
        return self.value + self._range()[1] + self.error + gamma(0) * (self.reach + LEAST)

    @property
    def away(self) -> Array:
        """How far the polynomial lies from ``value``, at most."""
        return (np.abs(self.slope) + np.abs(self.bend)) * (1 + gamma(0))

    @property
    def size(self) -> float:
        """No less than the largest number in it, and not 0."""
        return float(self.reach.max()) + LEAST if self.value.size else LEAST

    @property
    def finite(self) -> bool:
        """Whether all of its numbers are."""
        return all(bool(np.isfinite(part).all()) for part in self.parts)

    def moved(self, function: Callable[[Any], Any]) -> Curve:
        """Entries moved about, without arithmetic; the norm is forgotten."""
        return Curve.of(function(part) for part in self.parts)

    def along(self, norm: Array | None, axis: Axis = -1) -> Curve:
        """The same with a norm that is known."""
        return self._replace(norm=norm, axis=axis)

    def ball(self, axis: Axis = -1) -> Array:
        """No less than ‖e‖₂ along an axis, or several, of length 1 there."""
        box = norm_of(self.error, axis)
        if self.norm is None:
            return box
        own, asked = set(axes_of(self.axis)), set(axes_of(axis))
        if asked <= own:  # of a part of what is known of more
            return np.minimum(box, self.norm)
        return np.minimum(box, norm_of(self.norm, axis)) if own <= asked else box

    def rounded(self, sizes: Any, terms: int = 0) -> Curve:
        """Its error larger by what rounding of numbers up to ``sizes`` may have done."""
        return self.wider(gamma(terms) * (sizes + LEAST))

    def wider(self, by: Any) -> Curve:
        """Its error larger."""
        norm = None if self.norm is None else self.norm + norm_of(np.broadcast_to(by, self.shape), self.axis)
        return Curve(*self[:3], self.error + by, norm, self.axis)

    def widened(self, shape: Sequence[int]) -> Curve:
        """As if repeated along axes of a larger shape."""
        if self.shape == tuple(shape):
            return self
        wide = self.moved(lambda v: np.broadcast_to(v, shape))
        own = axes_of(self.axis)
        if self.norm is None or any(self.shape[axis] != shape[axis] for axis in own):
            return wide
        lengths = list(shape)
        for axis in own:
            lengths[axis] = 1
        return wide.along(np.broadcast_to(self.norm, lengths), self.axis)


def axes_of(axis: Axis) -> tuple[int, ...]:
    """One or several, as several."""
    return (axis,) if isinstance(axis, int) else axis


def norm_of(sizes: Array, axis: Axis) -> Array:
    """No less than the Euclidean norm along an axis, or several, whatever underflows."""
    top = sizes.max(axis, keepdims=True, initial=0.0)
    terms = math.prod(sizes.shape[one] for one in axes_of(axis))
    with np.errstate(invalid="ignore", over="ignore"):
        share = sizes / np.where(top > 0, top, 1.0)
        found = top * np.sqrt((share * share).sum(axis, keepdims=True)) * (1 + gamma(terms))
    bound: Array = np.where(np.isfinite(found), found, np.inf) + LEAST * gamma(0) * (top > 0)
    return bound


def constant(values: Any) -> Curve:
    """A curve that does not move."""
    numbers = np.asarray(values, dtype=np.float64)
    return Curve.of([numbers, *(np.zeros_like(numbers) for _ in range(3))])


def _common(x: Curve, y: Curve) -> tuple[Curve, Curve, Axis | None]:
    """Both in one shape, and the axis along which a norm of the result is worth to be kept."""
    shape = np.broadcast_shapes(x.shape, y.shape)
    axis = x.axis if x.norm is not None else y.axis if y.norm is not None else None
    return x.widened(shape), y.widened(shape), axis if axis is None or len(shape) >= -min(axes_of(axis)) else None


def add(x: Curve, y: Curve, factor: float = 1.0) -> Curve:
    """The sum x + factor·y."""
    x, y, axis = _common(x, y)
    value, slope, bend = (one + factor * other for one, other in zip(x[:3], y[:3], strict=True))
    norm = None if axis is None else (x.ball(axis) + abs(factor) * y.ball(axis)) * (1 + gamma(0))
    curve = Curve(value, slope, bend, x.error + abs(factor) * y.error, norm, axis or -1)
    return curve.rounded(x.reach + abs(factor) * y.reach)


def scale(x: Curve, factor: Any) -> Curve:
    """The product of x and constants."""
    factor = np.asarray(factor, dtype=np.float64)
    x = x.widened(np.broadcast_shapes(x.shape, factor.shape))
    size = np.abs(factor)
    norm = None if x.norm is None else x.norm * float(size.max(initial=0.0)) * (1 + gamma(0))
    return Curve(x.value * factor, x.slope * factor, x.bend * factor, x.error * size, norm, x.axis).rounded(
        x.reach * size
    )


def shift(x: Curve, by: Any) -> Curve:
    """The sum of x and constants."""
    x = x.widened(np.broadcast_shapes(x.shape, np.shape(by)))
    return x._replace(value=x.value + by).rounded(x.reach + np.abs(by))


def powers(x: Curve, y: Curve, apply: Callable[[Array, Array], Array]) -> tuple[Array, Array, Array, Array]:
    """The polynomial of a bilinear map of both, and what it lacks: s³ is ¾ s ± ¼, and s⁴ is s² − ⅛ ± ⅛."""
    found: list[Array | None] = [None] * 5
    for i, one in enumerate(x[:3]):
        for j, other in enumerate(y[:3]):
            if (i == 0 or one.any()) and (j == 0 or other.any()):
                product = apply(one, other)
                before = found[i + j]
                found[i + j] = product if before is None else before + product
    start = found[0]
    assert start is not None
    zero = np.zeros_like(start)
    second, third, fourth = (zero if part is None else part for part in found[2:])
    slope = zero if found[1] is None else found[1]
    if found[3] is None and found[4] is None:
        return start, slope, second, zero
    return start - fourth / 8, slope + 0.75 * third, second + fourth, np.abs(third) / 4 + np.abs(fourth) / 8


def multiply(x: Curve, y: Curve) -> Curve:
    """The product x·y."""
    x, y, axis = _common(x, y)
    value, slope, bend, lacking = powers(x, y, np.multiply)
    a, b = x.polynomial_reach, y.polynomial_reach
    error = a * y.error + x.error * (b + y.error)
    norm = None
    if axis is not None:
        most = (part.max(axis, keepdims=True) for part in (a, b + y.error))
        norm = (next(most) * y.ball(axis) + next(most) * x.ball(axis) + norm_of(lacking, axis)) * (1 + gamma(0))
    curve = Curve(value, slope, bend, (error + lacking) * (1 + gamma(0)), norm, axis or -1)
    return curve.rounded((a + x.error) * (b + y.error))


def relu(x: Curve) -> Curve:
    """max(0, x): itself, 0, or the band between the chord of [low, high] and its parallel through 0.

    Where a norm is known that of the polynomial alone, whose errors grow no more: its slope is nowhere over 1.
    """
    low, high = x.low, x.high
    off = high <= 0
    if x.norm is not None:
        alone = x._replace(error=np.zeros_like(x.error), norm=None)
        low, high = alone.low, alone.high
    with np.errstate(invalid="ignore", divide="ignore"):
        crossing = high / (high - low)
    share = np.where(low >= 0, 1.0, np.where(high <= 0, 0.0, crossing))
    half = np.where((low < 0) & (high > 0), -share * low / 2, 0.0)
    norm = None if x.norm is None else (x.norm + norm_of(half, x.axis)) * (1 + gamma(0))
    kept = share if x.norm is None else ~off
    parts = (share * x.value + half, share * x.slope, share * x.bend, kept * x.error + half)
    return Curve(*parts, norm, x.axis).rounded(2 * x.reach)


def maximum(parts: Sequence[Curve]) -> Curve:
    """The largest of several: that which is above all others, or a constant band."""
    low, high = np.stack([part.low for part in parts]), np.stack([part.high for part in parts])
    best = low.argmax(0)[None]
    highest = np.array(high)
    np.put_along_axis(highest, best, -np.inf, 0)
    alone = np.take_along_axis(low, best, 0)[0] >= highest.max(0)
    stacked = (np.stack(column) for column in zip(*(part.parts for part in parts), strict=True))
    chosen = [np.take_along_axis(column, best, 0)[0] for column in stacked]
    bottom, top = low.max(0), high.max(0)
    band = ((bottom + top) / 2, 0.0, 0.0, (top - bottom) / 2)
    sizes = np.maximum(np.abs(bottom), np.abs(top))
    return Curve.of(np.where(alone, one, other) for one, other in zip(chosen, band, strict=True)).rounded(2 * sizes)
