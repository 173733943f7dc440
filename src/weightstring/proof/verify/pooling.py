"""Pooling, and sums, means and extremes along axes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from weightstring.proof.verify.curves import Curve, add, axes_of, gamma, maximum, multiply, scale
from weightstring.proof.verify.elementary import power_of
from weightstring.proof.verify.layers import each, windows
from weightstring.proof.verify.operations import OPERATIONS, At, NotVerifiable, curve_of, tensor


@OPERATIONS.register("max_pool1d.default", "max_pool2d.default")
def max_pool(
    at: At, x: Any, window: Any, stride: Any = (), padding: Any = 0, dilation: Any = 1, ceil_mode: bool = False
) -> Curve:
    """The largest of each window; what is padded is lower than all."""
    z = curve_of(x)
    axes = 1 if at.name.startswith("max_pool1d") else 2
    counts = at.shape[-axes:]
    if z.value.ndim == axes + 1:  # without an axis of channels
        z = z.moved(lambda v: v[:, None])
        return max_pool(at, z, window, stride, padding, dilation).moved(lambda v: v[:, 0])
    sizes = each(window, axes)
    steps = each(stride, axes) if stride else sizes
    front, spread = each(padding, axes), each(dilation, axes)
    spans = [(n - 1) * s + (k - 1) * d + 1 for n, s, k, d in zip(counts, steps, sizes, spread, strict=True)]
    pads = [(f, max(0, span - f - n)) for f, span, n in zip(front, spans, z.shape[2:], strict=True)]
    floor = -2 * z.size
    fills = (floor, 0.0, 0.0, 0.0)
    widths = [(0, 0), (0, 0), *pads]
    padded = Curve.of(np.pad(part, widths, constant_values=c) for part, c in zip(z.parts, fills, strict=True))
    cut: Any = (..., *(slice(n) for n in counts), *(slice(None),) * axes)
    flat = padded.moved(lambda v: windows(v, sizes, steps, spread)[cut]).moved(
        lambda v: v.reshape(*v.shape[:-axes], -1)
    )
    if math.isfinite(floor) and (flat.value == floor).all(-1).any():
        raise NotVerifiable("one of its windows holds padding alone")
    return largest(flat)


def largest(x: Curve) -> Curve:
    """Of the last axis."""

    def place(k: int) -> Curve:
        return x.moved(lambda v: v[..., k])

    return maximum([place(k) for k in range(x.shape[-1])])


@OPERATIONS.register(
    "avg_pool1d.default", "avg_pool2d.default", "adaptive_avg_pool1d.default", "adaptive_avg_pool2d.default"
)
def average_pool(at: At, x: Any, *settings: Any, **named: Any) -> Curve:
    """Means of windows, which torch takes of each part of the curve."""
    z = curve_of(x)
    mean = z.moved(lambda v: at.target(tensor(v), *settings, **named).numpy())
    divisor, terms = settings[5] if len(settings) > 5 else named.get("divisor_override"), math.prod(z.shape[1:])
    if divisor is not None and divisor <= 0:
        raise NotVerifiable("its divisor is negative")
    axes = len(at.shape) - 2
    if (
        z.norm is not None
        and axes > 0
        and divisor is None
        and at.name.startswith("adaptive")
        and set(at.shape[2:]) == {1}
    ):
        axis = tuple(sorted({*axes_of(z.axis), *range(-1, -axes - 2, -1)}, reverse=True))
        mean = mean.along(z.ball(axis) / math.sqrt(math.prod(z.shape[2:])) * (1 + gamma(1)), axis)
    return mean.rounded(z.size * (1 if divisor is None else max(1, terms / divisor)), terms)


def _axes(z: Curve, axes: Any) -> tuple[int, ...]:
    every = range(z.value.ndim)
    return tuple(every[int(axis)] for axis in (every if axes in (None, []) else np.atleast_1d(axes)))


def total(z: Curve, axes: Sequence[int], keep: bool = False) -> Curve:
    """The sum over axes."""
    terms = math.prod(z.shape[axis] for axis in axes)
    chosen = tuple(axes)
    return z.moved(lambda v: v.sum(chosen, keepdims=keep)).rounded(z.reach.sum(chosen, keepdims=keep), terms)


@OPERATIONS.register("mean.dim", "sum.dim_IntList")
def over_axes(at: At, x: Any, axes: Any, keep: bool = False, dtype: Any = None) -> Curve:
    """Mean or sum over axes."""
    z = curve_of(x)
    chosen = _axes(z, axes)
    result = total(z, chosen, keep)
    images = chosen == tuple(range(2, z.value.ndim)) and not isinstance(z.axis, int)
    if z.norm is not None and images and {*axes_of(z.axis)} >= {*range(-1, 1 - z.value.ndim, -1)}:  # of whole images
        norm = z.norm * math.sqrt(math.prod(z.shape[2:])) * (1 + gamma(1))
        away = z.value.ndim - result.value.ndim
        axis = tuple(range(-1, -len(axes_of(z.axis)) + away - 1, -1))
        result = result.along(norm.reshape(*norm.shape[: norm.ndim - away]), axis)
    return scale(result, 1 / math.prod(z.shape[axis] for axis in chosen)) if at.name.startswith("mean") else result


@OPERATIONS.register("var.dim", "var.correction", "std.dim", "std.correction")
def spread(
    at: At,
    x: Any,
    axes: Any = None,
    unbiased: Any = True,
    keep: bool = False,
    correction: Any = None,
    keepdim: Any = None,
) -> Curve:
    """The variance along axes, or its root."""
    z = curve_of(x)
    chosen = _axes(z, axes)
    terms = math.prod(z.shape[axis] for axis in chosen)
    less = (1 if correction is None else correction) if at.name.endswith("correction") else int(unbiased)
    if terms <= less:
        raise NotVerifiable("it divides by nothing")
    apart = add(z, scale(total(z, chosen, True), 1 / terms), -1.0)
    squares = scale(total(multiply(apart, apart), chosen, bool(keep or keepdim)), 1 / (terms - less))
    return power_of(squares, 0.5) if at.name.startswith("std") else squares


@OPERATIONS.register("amax.default", "amin.default")
def extreme(at: At, x: Any, axes: Any = (), keep: bool = False) -> Curve:
    """The largest or least along axes."""
    sign = 1.0 if at.name.startswith("amax") else -1.0
    z = scale(curve_of(x), sign)
    chosen = _axes(z, list(axes))
    moved = z.moved(lambda v: np.moveaxis(v, chosen, range(-len(chosen), 0)).reshape(*_left(v.shape, chosen), -1))
    return scale(largest(moved), sign).moved(lambda v: v.reshape(at.shape))


def _left(shape: Sequence[int], gone: Sequence[int]) -> list[int]:
    return [n for axis, n in enumerate(shape) if axis not in gone]
