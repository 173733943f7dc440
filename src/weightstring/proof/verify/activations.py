"""Activations of lines."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from weightstring.proof.verify.lines import LEAST, Array, Line, add, gamma, maximum, multiply, relu, scale
from weightstring.proof.verify.operations import OPERATIONS, At, NotVerifiable, line_of, shift


@OPERATIONS.register("relu.default")
def _relu(at: At, x: Any) -> Line:
    return relu(line_of(x))


@OPERATIONS.register("leaky_relu.default")
def leaky_relu(at: At, x: Any, slope: float = 0.01) -> Line:
    """slope·x + (1 − slope)·max(0, x)."""
    if not 0 <= slope <= 1:
        raise NotVerifiable("its slope is outside [0, 1]")
    return add(scale(line_of(x), slope), relu(line_of(x)), 1 - slope)


@OPERATIONS.register("hardtanh.default")
def hardtanh(at: At, x: Any, low: float = -1.0, high: float = 1.0) -> Line:
    """Between two bounds."""
    return clamp(at, x, low, high)


@OPERATIONS.register("relu6.default")
def relu6(at: At, x: Any) -> Line:
    """Between 0 and 6."""
    return clamp(at, x, 0.0, 6.0)


@OPERATIONS.register("clamp.default")
def clamp(at: At, x: Any, min: float | None = None, max: float | None = None) -> Line:
    """Not below, not above."""
    z = line_of(x)
    if min is not None:
        z = shift(relu(shift(z, -min)), min)
    if max is not None:
        z = scale(shift(relu(shift(scale(z, -1.0), max)), -max), -1.0)
    return z


@OPERATIONS.register("abs.default")
def absolute(at: At, x: Any) -> Line:
    """max(x, −x)."""
    return maximum([line_of(x), scale(line_of(x), -1.0)])


def by_tangent(
    x: Line,
    function: Callable[[Array], Array],
    derivative: Callable[[Array], Array],
    steepest: float,
    bend: float,
    at_zero: float = 0.0,
    limit: float = math.inf,
) -> Line:
    """φ(v) + φ'(v)(z − v) ± ½ max|φ''| (z − v)², or φ(v) ± max|φ'| |z − v| where that is nearer; |φ| ≤ ``limit``."""
    reach = np.abs(x.slope) + x.error
    slope = derivative(x.value)
    error, around = np.abs(slope) * x.error + bend / 2 * reach**2, steepest * reach
    flat = around < error
    line = Line(function(x.value), np.where(flat, 0.0, slope * x.slope), np.where(flat, around, error))
    line = line.rounded(4 * (at_zero + (1 + steepest) * x.size))
    if math.isfinite(limit):
        lost = np.abs(line.slope) + line.error > limit
        line = Line(np.where(lost, 0.0, line.value), np.where(lost, 0.0, line.slope), np.where(lost, limit, line.error))
    return line


def _sigmoid(v: Array) -> Array:
    values: Array = torch.from_numpy(np.ascontiguousarray(v)).sigmoid().numpy()
    return values


def _normal(v: Array) -> Array:
    values: Array = torch.special.ndtr(torch.from_numpy(np.ascontiguousarray(v))).numpy()
    return values


def _density(v: Array) -> Array:
    return np.exp(-np.minimum(v * v, 1600.0) / 2) / math.sqrt(2 * math.pi)  # 0 beyond, as far as float64 goes


@OPERATIONS.register("tanh.default")
def tanh(at: At, x: Any) -> Line:
    """The hyperbolic tangent."""
    return by_tangent(line_of(x), np.tanh, lambda v: 1 - np.tanh(v) ** 2, 1.0, 0.77, limit=1.0)


@OPERATIONS.register("sigmoid.default")
def sigmoid(at: At, x: Any) -> Line:
    """1 / (1 + exp(−x))."""
    return by_tangent(line_of(x), _sigmoid, lambda v: _sigmoid(v) * _sigmoid(-v), 0.25, 0.0963, 0.5, 1.0)


@OPERATIONS.register("silu.default")
def silu(at: At, x: Any) -> Line:
    """x·sigmoid(x)."""

    def derivative(v: Array) -> Array:
        return _sigmoid(v) * (1 + v * _sigmoid(-v))

    return by_tangent(line_of(x), lambda v: v * _sigmoid(v), derivative, 1.1, 0.5)


@OPERATIONS.register("gelu.default")
def gelu(at: At, x: Any, approximate: str = "none") -> Line:
    """x·Φ(x), or its form with tanh."""
    z = line_of(x)
    if approximate == "none":
        return by_tangent(z, lambda v: v * _normal(v), lambda v: _normal(v) + v * _density(v), 1.13, 0.798)
    inside = scale(add(z, scale(multiply(multiply(z, z), z), 0.044715)), math.sqrt(2 / math.pi))
    return multiply(scale(z, 0.5), shift(tanh(at, inside), 1.0))


@OPERATIONS.register("softplus.default")
def softplus(at: At, x: Any, beta: float = 1.0, threshold: float = 20.0) -> Line:
    """log(1 + exp(βx)) / β, which torch cuts to x above the threshold."""
    if not beta > 0:
        raise NotVerifiable("its beta is not positive")
    z, inner = line_of(x), scale(line_of(x), beta)
    smooth = scale(by_tangent(inner, lambda v: np.logaddexp(0, v), _sigmoid, 1.0, 0.25, 1.0), 1 / beta)
    step = float(np.logaddexp(0, -threshold)) * (1 + gamma(0)) / beta + LEAST
    over, under = inner.low > threshold, inner.high <= threshold
    return Line(
        np.where(over, z.value, smooth.value),
        np.where(over, z.slope, smooth.slope),
        np.where(over, z.error, np.where(under, smooth.error, smooth.error + step)),
    ).rounded(smooth.size + z.size)


@OPERATIONS.register("sin.default")
def sine(at: At, x: Any) -> Line:
    """The sine."""
    return by_tangent(line_of(x), np.sin, np.cos, 1.0, 1.0, limit=1.0)


@OPERATIONS.register("cos.default")
def cosine(at: At, x: Any) -> Line:
    """The cosine."""
    return by_tangent(line_of(x), np.cos, lambda v: -np.sin(v), 1.0, 1.0, 1.0, 1.0)
