"""What torch's ATen operators do to lines. An operator that is not here cannot be verified."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, TypeVar

import numpy as np
import torch

from weightstring.verification.lines import (
    Array,
    Given,
    Line,
    Path,
    add,
    constant,
    gamma,
    maximum,
    multiply,
    relu,
    scale,
)


class At(NamedTuple):
    """Where an operation stands.

    Args:
        name: the operator.
        shape: of its result, for as many examples as a module is traced with.
        share: of all examples, those at hand.
        scales: what the loss of each example at hand is multiplied by, given what each weighs in its part's mean.
    """

    name: str
    shape: tuple[int, ...]
    share: float
    scales: Callable[[Callable[[Array], Array] | None], Array]


class Loss(NamedTuple):
    """Upper bounds of a mean of convex functions at s = −1 and 1: the part that the examples at hand have in it."""

    ends: Array


OPERATIONS: dict[str, Callable[..., Any]] = {}


Function = TypeVar("Function", bound=Callable[..., Any])


class NotVerifiable(Exception):
    """An operation that verification does not know."""


def operation(*names: str) -> Callable[[Function], Function]:
    """Enter a function under operators' names."""

    def enter(function: Function) -> Function:
        OPERATIONS.update(dict.fromkeys(names, function))
        return function

    return enter


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


# Layers


def _layer(
    x: Line, weight: Any, bias: Any, apply: Callable[[Array, Array], Array], over: Callable[[Array], Array]
) -> Line:
    if not isinstance(weight, Path) or not isinstance(bias, Path | None):
        raise NotVerifiable("its weight is not a trainable parameter")
    square = apply(x.slope, weight.slope)
    value = apply(x.value, weight.middle) + square / 2
    slope = apply(x.slope, weight.middle) + apply(x.value, weight.slope)
    error = apply(x.error, np.abs(weight.middle) + np.abs(weight.slope)) + np.abs(square) / 2
    outputs = len(weight.middle)
    sums = weight.size.reshape(outputs, -1).sum(1) * x.size
    if bias is not None:
        value, slope = value + over(bias.middle), slope + over(bias.slope)
        sums = sums + bias.size
    return Line(value, slope, error + over(4 * gamma(weight.middle[0].size) * sums))


@operation("linear.default")
def linear(at: At, x: Any, weight: Any, bias: Any = None) -> Line:
    """X Wᵀ + b."""
    return _layer(line_of(x), weight, bias, lambda v, w: v @ w.T, lambda b: b)


@operation("conv1d.default", "conv2d.default", "conv1d.padding", "conv2d.padding")
def convolution(
    at: At, x: Any, weight: Any, bias: Any = None, stride: Any = 1, padding: Any = 0, dilation: Any = 1, groups: int = 1
) -> Line:
    """Convolution: windows times kernels."""
    axes = len(at.shape) - 2
    steps, spread = _each(stride, axes), _each(dilation, axes)
    if isinstance(padding, str):
        kernel = weight.middle.shape[2:]
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
            found = np.tensordot(mine, kernels, axes=(inner, [1, *range(2, 2 + axes)]))
            parts.append(np.moveaxis(found, -1, 1))
        return np.concatenate(parts, 1)

    return _layer(line_of(x), weight, bias, apply, lambda b: b.reshape(-1, *(1,) * axes))


def _each(value: Any, axes: int) -> list[int]:
    values = [value] if isinstance(value, int) else list(value)
    return values * axes if len(values) == 1 else values


def _windows(v: Array, kernel: Sequence[int], steps: Sequence[int], spread: Sequence[int]) -> Array:
    """(n, C, *out, *kernel)."""
    axes = len(kernel)
    spans = [(k - 1) * d + 1 for k, d in zip(kernel, spread, strict=True)]
    found = np.lib.stride_tricks.sliding_window_view(v, spans, axis=tuple(range(2, 2 + axes)))
    return found[
        (slice(None), slice(None), *(slice(None, None, s) for s in steps), *(slice(None, None, d) for d in spread))
    ]


@operation("batch_norm.default")
def batch_norm(at: At, x: Any, weight: Any, bias: Any, mean: Array, var: Array, training: bool, *rest: Any) -> Line:
    """Frozen statistics, a factor and a shift."""
    if training:
        raise NotVerifiable("it normalises by the batch")
    column = (-1, *(1,) * (len(at.shape) - 2))
    found = add(line_of(x), constant(-np.asarray(mean, dtype=np.float64).reshape(1, *column)))
    found = scale(found, (1 / np.sqrt(np.asarray(var, dtype=np.float64) + rest[1])).reshape(column))
    if weight is not None:
        found = multiply(found, line_of(weight).moved(lambda v: v.reshape(1, *column)))
    if bias is not None:
        found = add(found, line_of(bias).moved(lambda v: v.reshape(1, *column)))
    return found


# Activations


@operation("relu.default")
def _relu(at: At, x: Any) -> Line:
    return relu(line_of(x))


@operation("leaky_relu.default")
def leaky_relu(at: At, x: Any, slope: float = 0.01) -> Line:
    """slope·x + (1 − slope)·max(0, x)."""
    if not 0 <= slope <= 1:
        raise NotVerifiable("its slope is outside [0, 1]")
    return add(scale(line_of(x), slope), relu(line_of(x)), 1 - slope)


@operation("hardtanh.default")
def hardtanh(at: At, x: Any, low: float = -1.0, high: float = 1.0) -> Line:
    """Between two bounds."""
    return clamp(at, x, low, high)


@operation("relu6.default")
def relu6(at: At, x: Any) -> Line:
    """Between 0 and 6."""
    return clamp(at, x, 0.0, 6.0)


@operation("clamp.default")
def clamp(at: At, x: Any, min: float | None = None, max: float | None = None) -> Line:
    """Not below, not above."""
    found = line_of(x)
    if min is not None:
        found = _shift(relu(_shift(found, -min)), min)
    if max is not None:
        found = scale(_shift(relu(_shift(scale(found, -1.0), max)), -max), -1.0)
    return found


def _shift(x: Line, by: float) -> Line:
    return Line(x.value + by, x.slope, x.error).rounded(x.size + abs(by))


@operation("abs.default")
def absolute(at: At, x: Any) -> Line:
    """max(x, −x)."""
    return maximum([line_of(x), scale(line_of(x), -1.0)])


@operation("maximum.default")
def larger(at: At, x: Any, y: Any) -> Line:
    """The larger."""
    return maximum([line_of(x), line_of(y)])


def _by_tangent(
    x: Line, function: Callable[[Array], Array], derivative: Callable[[Array], Array], steepest: float, bend: float
) -> Line:
    """φ(v) + φ'(v)(z − v) ± ½ max|φ''| (z − v)², or φ(v) ± max|φ'| |z − v| where that is nearer."""
    reach = np.abs(x.slope) + x.error
    slope = derivative(x.value)
    error, around = np.abs(slope) * x.error + bend / 2 * reach**2, steepest * reach
    flat = around < error
    found = Line(function(x.value), np.where(flat, 0.0, slope * x.slope), np.where(flat, around, error))
    return found.rounded(8 * (1 + steepest) * (1 + x.size))


def _sigmoid(v: Array) -> Array:
    found: Array = torch.from_numpy(np.ascontiguousarray(v)).sigmoid().numpy()
    return found


def _normal(v: Array) -> Array:
    found: Array = torch.special.ndtr(torch.from_numpy(np.ascontiguousarray(v))).numpy()
    return found


def _density(v: Array) -> Array:
    return np.exp(-v * v / 2) / math.sqrt(2 * math.pi)


@operation("tanh.default")
def tanh(at: At, x: Any) -> Line:
    """The hyperbolic tangent."""
    return _by_tangent(line_of(x), np.tanh, lambda v: 1 - np.tanh(v) ** 2, 1.0, 0.77)


@operation("sigmoid.default")
def sigmoid(at: At, x: Any) -> Line:
    """1 / (1 + exp(−x))."""
    return _by_tangent(line_of(x), _sigmoid, lambda v: _sigmoid(v) * (1 - _sigmoid(v)), 0.25, 0.0963)


@operation("silu.default")
def silu(at: At, x: Any) -> Line:
    """x·sigmoid(x)."""

    def derivative(v: Array) -> Array:
        return _sigmoid(v) * (1 + v * (1 - _sigmoid(v)))

    return _by_tangent(line_of(x), lambda v: v * _sigmoid(v), derivative, 1.1, 0.5)


@operation("gelu.default")
def gelu(at: At, x: Any, approximate: str = "none") -> Line:
    """x·Φ(x), or its form with tanh."""
    z = line_of(x)
    if approximate == "none":
        return _by_tangent(z, lambda v: v * _normal(v), lambda v: _normal(v) + v * _density(v), 1.13, 0.798)
    inside = scale(add(z, scale(multiply(multiply(z, z), z), 0.044715)), math.sqrt(2 / math.pi))
    return multiply(scale(z, 0.5), _shift(tanh(at, inside), 1.0))


@operation("softplus.default")
def softplus(at: At, x: Any, beta: float = 1.0, threshold: float = 20.0) -> Line:
    """log(1 + exp(βx)) / β, which torch cuts to x above the threshold."""
    found = _by_tangent(scale(line_of(x), beta), lambda v: np.logaddexp(0, v), _sigmoid, 1.0, 0.25)
    found = scale(found, 1 / beta)
    return Line(found.value, found.slope, found.error + math.exp(-threshold) / beta)


@operation("sin.default")
def sine(at: At, x: Any) -> Line:
    """The sine."""
    return _by_tangent(line_of(x), np.sin, np.cos, 1.0, 1.0)


@operation("cos.default")
def cosine(at: At, x: Any) -> Line:
    """The cosine."""
    return _by_tangent(line_of(x), np.cos, lambda v: -np.sin(v), 1.0, 1.0)


# Pooling and sums


@operation("max_pool1d.default", "max_pool2d.default")
def max_pool(
    at: At, x: Any, window: Any, stride: Any = (), padding: Any = 0, dilation: Any = 1, ceil_mode: bool = False
) -> Line:
    """The largest of each window; what is padded is lower than all."""
    z = line_of(x)
    counts = at.shape[2:]
    axes = len(counts)
    sizes = _each(window, axes)
    steps = _each(stride, axes) if stride else sizes
    front, spread = _each(padding, axes), _each(dilation, axes)
    spans = [(n - 1) * s + (k - 1) * d + 1 for n, s, k, d in zip(counts, steps, sizes, spread, strict=True)]
    pads = [(f, max(0, span - f - n)) for f, span, n in zip(front, spans, z.value.shape[2:], strict=True)]
    floor = -2 * z.size - 1
    fills = (floor, 0.0, 0.0)
    padded = Line(*(np.pad(part, [(0, 0), (0, 0), *pads], constant_values=c) for part, c in zip(z, fills, strict=True)))
    cut: Any = (..., *(slice(n) for n in counts), *(slice(None),) * axes)
    windows = padded.moved(lambda v: _windows(v, sizes, steps, spread)[cut])
    flat = windows.moved(lambda v: v.reshape(*v.shape[:-axes], -1))
    return maximum([flat.moved(lambda v, k=k: v[..., k]) for k in range(flat.value.shape[-1])])


@operation("avg_pool1d.default", "avg_pool2d.default", "adaptive_avg_pool1d.default", "adaptive_avg_pool2d.default")
def average_pool(at: At, x: Any, *settings: Any, **named: Any) -> Line:
    """Means of windows, which torch takes of each part of the line."""
    z = line_of(x)
    pool = getattr(torch.ops.aten, at.name.split(".")[0])
    found = z.moved(lambda v: pool(torch.from_numpy(np.ascontiguousarray(v)), *settings, **named).numpy())
    return found.rounded(z.size, math.prod(z.value.shape[2:]))


@operation("mean.dim", "sum.dim_IntList")
def over_axes(at: At, x: Any, axes: Sequence[int] | None, keep: bool = False, dtype: Any = None) -> Line:
    """Mean or sum over axes of each example."""
    z = line_of(x)
    chosen = tuple(axis % z.value.ndim for axis in (axes or range(z.value.ndim)))
    if 0 in chosen:
        raise NotVerifiable("it combines examples")
    terms = math.prod(z.value.shape[axis] for axis in chosen)
    found = z.moved(lambda v: v.sum(chosen, keepdims=keep))
    if at.name.startswith("mean"):
        return scale(found.rounded(z.size * terms, terms), 1 / terms)
    return found.rounded(z.size * terms, terms)


# Shapes


@operation(
    "view.default", "reshape.default", "_unsafe_view.default", "flatten.using_ints", "unflatten.int", "squeeze.dim",
    "squeeze.dims", "unsqueeze.default",
)  # fmt: skip
def reshaped(at: At, x: Any, *_: Any) -> Any:
    """Other shapes of each example's numbers."""
    if isinstance(x, Path):
        return Path(*(part.reshape(at.shape) for part in x))
    if isinstance(x, np.ndarray):
        return x.reshape(at.shape)
    if not at.shape or at.shape[0] != EXAMPLES:
        raise NotVerifiable("it combines examples")
    if isinstance(x, Given):
        return Given(x.values.reshape(len(x.values), *at.shape[1:]))
    return line_of(x).moved(lambda v: v.reshape(len(v), *at.shape[1:]))


EXAMPLES = 7
"""With how many a module is traced."""


@operation("permute.default", "transpose.int", "t.default", "select.int", "slice.Tensor")
def rearranged(at: At, x: Any, *settings: Any) -> Any:
    """Axes exchanged, entries chosen."""
    operator = getattr(torch.ops.aten, at.name.split(".")[0])

    def apply(v: Any) -> Any:
        return operator(torch.from_numpy(np.ascontiguousarray(v)), *settings).numpy()

    if isinstance(x, np.ndarray):
        return apply(x)
    if isinstance(x, Path):
        return Path(*map(apply, x))
    rank = line_of(x).value.ndim
    first: Any = settings[0] if settings else 0
    if at.name.startswith("permute"):
        still = first[0] % rank == 0
    elif at.name.startswith("transpose"):
        still = 0 not in (first % rank, settings[1] % rank)
    else:
        everything = at.name.startswith("slice") and settings[1] in (None, 0) and (settings[2] or 0) >= EXAMPLES
        if first % rank == 0 and everything and (len(settings) < 4 or settings[3] == 1):
            return x
        still = first % rank != 0
    if not still:
        raise NotVerifiable("it moves or chooses examples")
    return Given(apply(x.values)) if isinstance(x, Given) else line_of(x).moved(apply)


@operation("cat.default")
def joined(at: At, parts: Sequence[Any], axis: int = 0) -> Line:
    """Side by side."""
    if axis % len(at.shape) == 0:
        raise NotVerifiable("it joins examples")
    lines = [line_of(part) for part in parts]
    return Line(*(np.concatenate(column, axis) for column in zip(*lines, strict=True)))


@operation("dropout.default")
def dropout(at: At, x: Any, share: float, training: bool) -> Any:
    """Nothing, in evaluation mode."""
    if training and share:
        raise NotVerifiable("it draws at random")
    return x


@operation(
    "to.dtype", "to.dtype_layout", "_to_copy.default", "contiguous.default", "clone.default", "detach.default",
    "alias.default", "detach_.default", "lift_fresh_copy.default", "_assert_tensor_metadata.default",
)  # fmt: skip
def same(at: At, x: Any, *settings: Any, **named: Any) -> Any:
    """The same numbers."""
    dtypes = [one for one in (*settings, *named.values()) if isinstance(one, torch.dtype)]
    real = isinstance(x, Line) or (isinstance(x, Given) and np.issubdtype(x.values.dtype, np.floating))
    if real and not all(dtype.is_floating_point for dtype in dtypes):
        raise NotVerifiable("it cuts numbers to whole ones")
    return x


@operation("broadcast_tensors.default")
def broadcast(at: At, parts: Sequence[Any]) -> list[Any]:
    """Nothing, for one shape."""
    shapes = {part.values.shape[1:] if isinstance(part, Given) else line_of(part).value.shape[1:] for part in parts}
    if len(shapes) > 1:
        raise NotVerifiable("the shapes of outputs and targets differ")
    return list(parts)


@operation("getitem")
def item(at: At, parts: Sequence[Any], which: int) -> Any:
    """One of several."""
    return parts[which]


# Arithmetic


def _paired(at: At, x: Any, y: Any) -> tuple[Line, Line]:
    found = []
    for part in (x, y):
        if isinstance(part, np.ndarray) and part.ndim >= len(at.shape):
            if part.shape[0] != 1:
                raise NotVerifiable("it takes a constant of its own for each example")
            part = part[0]
        line = line_of(part)
        missing = len(at.shape) - line.value.ndim
        if missing and len(line.value) != 1:
            raise NotVerifiable("it combines examples")
        found.append(line.moved(lambda v, missing=missing: v.reshape(len(v), *(1,) * missing, *v.shape[1:])))
    return found[0], found[1]


@operation("add.Tensor", "sub.Tensor", "add_.Tensor")
def sum_of(at: At, x: Any, y: Any, alpha: float = 1) -> Any:
    """X + alpha·y."""
    factor = -alpha if at.name.startswith("sub") else alpha
    if isinstance(x, Loss) or isinstance(y, Loss):
        if factor < 0 and isinstance(y, Loss):
            raise NotVerifiable("it subtracts a loss")
        # A constant belongs to the mean over all examples.
        first, second = (part.ends if isinstance(part, Loss) else float(part) * at.share for part in (x, y))
        return Loss(np.asarray(first + factor * second))
    if isinstance(y, int | float):
        return _shift(line_of(x), factor * y)
    if isinstance(x, int | float):
        return _shift(scale(line_of(y), factor), x)
    left, right = _paired(at, x, y)
    return add(left, right, factor)


@operation("mul.Tensor", "div.Tensor", "mul_.Tensor", "mul.Scalar", "div.Scalar")
def product(at: At, x: Any, y: Any) -> Any:
    """x·y, or x/y for a constant y."""
    if at.name.startswith("div"):
        if not isinstance(y, int | float | np.ndarray):
            raise NotVerifiable("it divides by what depends on θ")
        y = 1 / y
    for one, other in ((x, y), (y, x)):
        if isinstance(one, Loss):
            if not isinstance(other, int | float) or other < 0:
                raise NotVerifiable("it turns a loss round")
            return Loss(one.ends * other)
        if isinstance(other, int | float):
            return scale(line_of(one), float(other))
    return multiply(*_paired(at, x, y))


@operation("neg.default")
def negative(at: At, x: Any) -> Line:
    """−x."""
    return scale(line_of(x), -1.0)


@operation("square.default")
def square(at: At, x: Any) -> Line:
    """x²."""
    return multiply(line_of(x), line_of(x))


@operation("pow.Tensor_Scalar")
def power(at: At, x: Any, exponent: float) -> Line:
    """A small whole power."""
    if exponent not in (1, 2, 3, 4):
        raise NotVerifiable(f"its exponent is {exponent}")
    found = line_of(x)
    for _ in range(int(exponent) - 1):
        found = multiply(found, line_of(x))
    return found
