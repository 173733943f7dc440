"""Smooth activations of curves."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch

from weightstring.proof.verify.curves import LEAST, Array, Curve, add, gamma, multiply, relu, scale, shift
from weightstring.proof.verify.elementary import exponential
from weightstring.proof.verify.operations import OPERATIONS, At, NotVerifiable, curve_of, tensor
from weightstring.proof.verify.smooth import Function, by_taylor


def by_derivatives(
    x: Curve,
    function: Function,
    first: Function,
    second: Function,
    bounds: tuple[float, float, float],
    at_zero: float = 0.0,
    limits: tuple[float, float] = (-math.inf, math.inf),
    rises: bool = False,
) -> Curve:
    """A smooth function by itself and two derivatives.

    Args:
        x: what it is taken of.
        function: it.
        first: its derivative.
        second: the derivative of that.
        bounds: no less than the first three derivatives anywhere in absolute value.
        at_zero: sizes of the numbers that it is computed from, beside itself and its argument.
        limits: between which it lies everywhere.
        rises: whether it never falls.
    """
    low, high = (np.full(x.shape, limit) for limit in limits)
    if rises:
        low, high = np.maximum(low, function(x.low)), np.minimum(high, function(x.high))
    hull = (low, high) if rises or math.isfinite(limits[0] + limits[1]) else None
    return by_taylor(x, (function, first, second), bounds, hull, at_zero + (1 + bounds[0]) * x.reach)


def _by_torch(function: Any) -> Function:
    def apply(v: Array) -> Array:
        values: Array = function(tensor(v)).numpy()
        return values

    return apply


_sigmoid, _normal, _erf = (_by_torch(function) for function in (torch.sigmoid, torch.special.ndtr, torch.special.erf))


def _density(v: Array) -> Array:
    return np.exp(-np.minimum(v * v, 1600.0) / 2) / math.sqrt(2 * math.pi)  # 0 beyond, as far as float64 goes


def _sloping(v: Array) -> Array:
    return _sigmoid(v) * _sigmoid(-v)


@OPERATIONS.register("tanh.default")
def tanh(at: At, x: Any) -> Curve:
    """The hyperbolic tangent."""

    def first(v: Array) -> Array:
        return 4 * _sloping(2 * v)

    def second(v: Array) -> Array:
        return -2 * np.tanh(v) * first(v)

    return by_derivatives(curve_of(x), np.tanh, first, second, (1.0, 0.77, 2.0), 0.0, (-1.0, 1.0), rises=True)


@OPERATIONS.register("sigmoid.default")
def sigmoid(at: At, x: Any) -> Curve:
    """1 / (1 + exp(−x))."""

    def second(v: Array) -> Array:
        return -_sloping(v) * np.tanh(v / 2)

    return by_derivatives(curve_of(x), _sigmoid, _sloping, second, (0.25, 0.0963, 0.125), 0.5, (0.0, 1.0), rises=True)


@OPERATIONS.register("silu.default")
def silu(at: At, x: Any) -> Curve:
    """x·sigmoid(x)."""

    def first(v: Array) -> Array:
        return _sigmoid(v) * (1 + v * _sigmoid(-v))

    def second(v: Array) -> Array:
        return _sloping(v) * (2 - v * np.tanh(v / 2))

    return by_derivatives(curve_of(x), lambda v: v * _sigmoid(v), first, second, (1.1, 0.5, 0.309))


@OPERATIONS.register("gelu.default")
def gelu(at: At, x: Any, approximate: str = "none") -> Curve:
    """x·Φ(x), or its form with tanh."""
    z = curve_of(x)
    if approximate == "none":
        first, second = (lambda v: _normal(v) + v * _density(v)), (lambda v: (2 - v * v) * _density(v))
        return by_derivatives(z, lambda v: v * _normal(v), first, second, (1.13, 0.798, 0.78))
    inside = scale(add(z, scale(multiply(multiply(z, z), z), 0.044715)), math.sqrt(2 / math.pi))
    return multiply(scale(z, 0.5), shift(tanh(at, inside), 1.0))


@OPERATIONS.register("erf.default")
def erf(at: At, x: Any) -> Curve:
    """The error function."""
    factor = 2 / math.sqrt(math.pi)

    def first(v: Array) -> Array:
        return factor * np.exp(-np.minimum(v * v, 800.0))

    bounds = (1.1284, 0.968, 2.2568)
    return by_derivatives(curve_of(x), _erf, first, lambda v: -2 * v * first(v), bounds, 0.0, (-1.0, 1.0), rises=True)


@OPERATIONS.register("softplus.default")
def softplus(at: At, x: Any, beta: float = 1.0, threshold: float = 20.0) -> Curve:
    """log(1 + exp(βx)) / β, which torch cuts to x above the threshold."""
    if not beta > 0:
        raise NotVerifiable("its beta is not positive")
    z, inner = curve_of(x), scale(curve_of(x), beta)
    smooth = scale(_softplus(inner), 1 / beta)
    step = float(np.logaddexp(0, -threshold)) * (1 + gamma(0)) / beta + LEAST
    over, under = inner.low > threshold, inner.high <= threshold
    parts = (np.where(over, one, other) for one, other in zip(z[:3], smooth[:3], strict=True))
    error = np.where(over, z.error, np.where(under, smooth.error, smooth.error + step))
    return Curve.of([*parts, error]).rounded(smooth.reach + z.reach)


def _softplus(x: Curve) -> Curve:
    def function(v: Array) -> Array:
        return np.logaddexp(0, v)

    return by_derivatives(x, function, _sigmoid, _sloping, (1.0, 0.25, 0.0963), 1.0, rises=True)


@OPERATIONS.register("log_sigmoid.default")
def log_sigmoid(at: At, x: Any) -> Curve:
    """−log(1 + exp(−x))."""
    return scale(_softplus(scale(curve_of(x), -1.0)), -1.0)


@OPERATIONS.register("elu.default")
def elu(at: At, x: Any, alpha: float = 1.0, scaled: float = 1.0, inner: float = 1.0) -> Curve:
    """max(0, x) + α (exp(min(0, βx)) − 1), times a number."""
    if not (alpha >= 0 and inner >= 0):
        raise NotVerifiable("one of its factors is negative")
    z = curve_of(x)
    below = scale(relu(scale(z, -1.0)), -inner)
    return scale(add(relu(z), shift(exponential(below), -1.0), alpha), scaled)


@OPERATIONS.register("mish.default")
def mish(at: At, x: Any) -> Curve:
    """x·tanh(log(1 + exp(x)))."""
    return multiply(curve_of(x), tanh(at, _softplus(curve_of(x))))


@OPERATIONS.register("sin.default")
def sine(at: At, x: Any) -> Curve:
    """The sine."""
    return by_derivatives(curve_of(x), np.sin, np.cos, lambda v: -np.sin(v), (1.0,) * 3, 0.0, (-1.0, 1.0))


@OPERATIONS.register("cos.default")
def cosine(at: At, x: Any) -> Curve:
    """The cosine."""
    first, second = (lambda v: -np.sin(v)), (lambda v: -np.cos(v))
    return by_derivatives(curve_of(x), np.cos, first, second, (1.0,) * 3, 1.0, (-1.0, 1.0))
