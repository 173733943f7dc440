"""What torch's ATen operators do to lines: a table, layers and pooling. What is not in it cannot be verified."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch

from weightstring.proof.verify.lines import (
    LEAST,
    Array,
    Given,
    Line,
    Path,
    add,
    constant,
    gamma,
    maximum,
    multiply,
    scale,
)
from weightstring.registry import Registry


class At(NamedTuple):
    """Where an operation stands.

    Args:
        name: the operator.
        shape: of its result, for as many examples as a module is traced with.
        counted: whether axis 0 of it counts the examples.
        share: of all examples, those at hand.
        total: of all examples, how many.
        dtype: of the parameters.
        scales: what the losses of the examples at hand are multiplied by, given what all weigh in their part's mean.
    """

    name: str
    shape: tuple[int, ...]
    counted: bool
    share: float
    total: int
    dtype: torch.dtype
    scales: Callable[[Array | None], Array]


class Loss(NamedTuple):
    """Upper bounds of a mean of convex functions at s = −1 and 1: the part that the examples at hand have in it.

    Args:
        ends: (2,).
        printed: (2,) by how much more rounding may put what torch computes in float64 in its own way.
    """

    ends: Array
    printed: Array


OPERATIONS: Registry[Callable[..., Any]] = Registry("verification rule", group="weightstring.verification_rules")
"""What operators do to lines, by their names as in certificate rules: ``linear.default``."""


class NotVerifiable(Exception):
    """An operation that verification does not know."""


def line_of(x: Any) -> Line:
    """Anything with rows of examples as a line."""
    if isinstance(x, Line):
        return x
    if isinstance(x, Path):
        return x.line()
    if isinstance(x, Given):
        return constant(np.asarray(x.values, dtype=np.float64))
    if isinstance(x, np.ndarray):
        return constant(np.asarray(x, dtype=np.float64)[None])
    raise NotVerifiable(f"it takes a {type(x).__name__}")


def array(tensor: torch.Tensor) -> Any:
    """A tensor's numbers: those with a point as float64, which holds all of them."""
    numbers = tensor.detach().cpu()
    return (numbers.double() if numbers.is_floating_point() else numbers).numpy()


def path_of(x: Any) -> Path:
    """A parameter, or a constant as one that does not move."""
    if isinstance(x, np.ndarray):
        values = x.astype(np.float64)
        return Path(values, np.zeros_like(values), np.abs(values))
    if not isinstance(x, Path):
        raise NotVerifiable(f"its weight is a {type(x).__name__}")
    return x


def shift(x: Line, by: float) -> Line:
    """The sum x + by."""
    return Line(x.value + by, x.slope, x.error).rounded(x.size + abs(by))


def _layer(
    x: Line, weight: Any, bias: Any, apply: Callable[[Array, Array], Array], over: Callable[[Array], Array]
) -> Line:
    weight, bias = path_of(weight), None if bias is None else path_of(bias)
    square = apply(x.slope, weight.slope)
    value = apply(x.value, weight.middle) + square / 2
    slope = apply(x.slope, weight.middle) + apply(x.value, weight.slope)
    error = apply(x.error, np.abs(weight.middle) + np.abs(weight.slope)) + np.abs(square) / 2
    outputs = len(weight.middle)
    sums = (weight.size.reshape(outputs, -1).sum(1) + LEAST) * x.size + LEAST
    if bias is not None:
        value, slope = value + over(bias.middle), slope + over(bias.slope)
        sums = sums + bias.size
    return Line(value, slope, error + over(2 * gamma(weight.middle[0].size) * sums))


@OPERATIONS.register("linear.default")
def linear(at: At, x: Any, weight: Any, bias: Any = None) -> Line:
    """The layer x Wᵀ + b."""
    return _layer(line_of(x), weight, bias, lambda v, w: v @ w.T, lambda b: b)


@OPERATIONS.register("matmul.default", "mm.default")
def product(at: At, x: Any, y: Any) -> Line:
    """A matrix that is the same for all examples, on the right of each or on its left."""
    if _is_matrix(y):
        turned = Path(*(part.T for part in path_of(y)))
        return _layer(line_of(x), turned, None, lambda v, w: v @ w.T, lambda b: b)
    if not _is_matrix(x) or line_of(y).value.ndim < 3:
        raise NotVerifiable("neither factor is a matrix that is the same for all examples")
    return _layer(line_of(y).moved(_turned), x, None, lambda v, w: v @ w.T, lambda b: b).moved(_turned)


def _is_matrix(x: Any) -> bool:
    return (isinstance(x, Path) and x.middle.ndim == 2) or (isinstance(x, np.ndarray) and x.ndim == 2)


def _turned(v: Array) -> Array:
    return v.swapaxes(-1, -2)


@OPERATIONS.register("conv1d.default", "conv2d.default", "conv1d.padding", "conv2d.padding")
def convolution(
    at: At, x: Any, weight: Any, bias: Any = None, stride: Any = 1, padding: Any = 0, dilation: Any = 1, groups: int = 1
) -> Line:
    """Convolution: windows times kernels."""
    axes = len(at.shape) - 2
    steps, spread = _each(stride, axes), _each(dilation, axes)
    if isinstance(padding, str):
        kernel = path_of(weight).middle.shape[2:]
        ends = [(d * (k - 1) // 2, d * (k - 1) - d * (k - 1) // 2) for d, k in zip(spread, kernel, strict=True)]
        pads = ends if padding == "same" else [(0, 0)] * axes
    else:
        pads = [(p, p) for p in _each(padding, axes)]

    def apply(v: Array, w: Array) -> Array:
        padded = np.pad(v, [(0, 0), (0, 0), *pads])
        windows = _windows(padded, w.shape[2:], steps, spread)
        parts = []
        for mine, kernels in zip(np.split(windows, groups, 1), np.split(w, groups, 0), strict=True):
            inner = [1, *range(2 + axes, 2 + 2 * axes)]
            products = np.tensordot(mine, kernels, axes=(inner, [1, *range(2, 2 + axes)]))
            parts.append(np.moveaxis(products, -1, 1))
        return np.concatenate(parts, 1)

    return _layer(line_of(x), weight, bias, apply, lambda b: b.reshape(-1, *(1,) * axes))


def _each(value: Any, axes: int) -> list[int]:
    values = [value] if isinstance(value, int) else list(value)
    return values * axes if len(values) == 1 else values


def _windows(v: Array, kernel: Sequence[int], steps: Sequence[int], spread: Sequence[int]) -> Array:
    """(n, C, *out, *kernel)."""
    axes = len(kernel)
    spans = [(k - 1) * d + 1 for k, d in zip(kernel, spread, strict=True)]
    windows = np.lib.stride_tricks.sliding_window_view(v, spans, axis=tuple(range(2, 2 + axes)))
    return windows[
        (slice(None), slice(None), *(slice(None, None, s) for s in steps), *(slice(None, None, d) for d in spread))
    ]


@OPERATIONS.register("batch_norm.default")
def batch_norm(at: At, x: Any, weight: Any, bias: Any, mean: Array, var: Array, training: bool, *rest: Any) -> Line:
    """Frozen statistics, a factor and a shift."""
    if training:
        raise NotVerifiable("it normalises by the batch")
    column = (-1, *(1,) * (len(at.shape) - 2))
    line = add(line_of(x), constant(-np.asarray(mean, dtype=np.float64).reshape(1, *column)))
    line = scale(line, (1 / np.sqrt(np.asarray(var, dtype=np.float64) + rest[1])).reshape(column))
    if weight is not None:
        line = multiply(line, line_of(weight).moved(lambda v: v.reshape(1, *column)))
    if bias is not None:
        line = add(line, line_of(bias).moved(lambda v: v.reshape(1, *column)))
    return line


@OPERATIONS.register("_native_batch_norm_legit_no_training.default")
def functional_batch_norm(
    at: At, x: Any, weight: Any, bias: Any, mean: Array, var: Array, momentum: float, eps: float
) -> list[Line]:
    """The same by another name."""
    at = at._replace(shape=line_of(x).value.shape)
    return [batch_norm(at, x, weight, bias, mean, var, False, momentum, eps)]


@OPERATIONS.register("max_pool1d.default", "max_pool2d.default")
def max_pool(
    at: At, x: Any, window: Any, stride: Any = (), padding: Any = 0, dilation: Any = 1, ceil_mode: bool = False
) -> Line:
    """The largest of each window; what is padded is lower than all."""
    z = line_of(x)
    axes = 1 if at.name.startswith("max_pool1d") else 2
    counts = at.shape[-axes:]
    if z.value.ndim == axes + 1:  # without an axis of channels
        z = z.moved(lambda v: v[:, None])
        return max_pool(at, z, window, stride, padding, dilation).moved(lambda v: v[:, 0])
    sizes = _each(window, axes)
    steps = _each(stride, axes) if stride else sizes
    front, spread = _each(padding, axes), _each(dilation, axes)
    spans = [(n - 1) * s + (k - 1) * d + 1 for n, s, k, d in zip(counts, steps, sizes, spread, strict=True)]
    pads = [(f, max(0, span - f - n)) for f, span, n in zip(front, spans, z.value.shape[2:], strict=True)]
    floor = -2 * z.size
    fills = (floor, 0.0, 0.0)
    padded = Line(*(np.pad(part, [(0, 0), (0, 0), *pads], constant_values=c) for part, c in zip(z, fills, strict=True)))
    cut: Any = (..., *(slice(n) for n in counts), *(slice(None),) * axes)
    windows = padded.moved(lambda v: _windows(v, sizes, steps, spread)[cut])
    flat = windows.moved(lambda v: v.reshape(*v.shape[:-axes], -1))
    if math.isfinite(floor) and (flat.value == floor).all(-1).any():
        raise NotVerifiable("one of its windows holds padding alone")
    return maximum([flat.moved(lambda v, k=k: v[..., k]) for k in range(flat.value.shape[-1])])


@OPERATIONS.register(
    "avg_pool1d.default", "avg_pool2d.default", "adaptive_avg_pool1d.default", "adaptive_avg_pool2d.default"
)
def average_pool(at: At, x: Any, *settings: Any, **named: Any) -> Line:
    """Means of windows, which torch takes of each part of the line."""
    z = line_of(x)
    pool = getattr(torch.ops.aten, at.name.split(".")[0])
    mean = z.moved(lambda v: pool(torch.from_numpy(np.ascontiguousarray(v)), *settings, **named).numpy())
    divisor, terms = settings[5] if len(settings) > 5 else named.get("divisor_override"), math.prod(z.value.shape[1:])
    if divisor is not None and divisor <= 0:
        raise NotVerifiable("its divisor is negative")
    return mean.rounded(z.size * (1 if divisor is None else max(1, terms / divisor)), terms)


@OPERATIONS.register("mean.dim", "sum.dim_IntList")
def over_axes(at: At, x: Any, axes: Sequence[int] | None, keep: bool = False, dtype: Any = None) -> Line:
    """Mean or sum over axes of each example."""
    z = line_of(x)
    chosen = tuple(axis % z.value.ndim for axis in (axes or range(z.value.ndim)))
    if 0 in chosen:
        raise NotVerifiable("it combines examples")
    terms = math.prod(z.value.shape[axis] for axis in chosen)
    total = z.moved(lambda v: v.sum(chosen, keepdims=keep))
    if at.name.startswith("mean"):
        return scale(total.rounded(z.size * terms, terms), 1 / terms)
    return total.rounded(z.size * terms, terms)
