"""exp, log and powers of curves."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from weightstring.proof.verify.curves import Array, Curve, gamma, scale, shift
from weightstring.proof.verify.operations import OPERATIONS, At, NotVerifiable, curve_of
from weightstring.proof.verify.smooth import Function, by_taylor


def exponential(x: Curve) -> Curve:
    """exp, whose derivatives are itself."""

    def bounds(low: Array, high: Array) -> tuple[Array, Array, Array]:
        top = np.exp(high) * (1 + gamma(0))
        return top, top, top

    hull = np.exp(x.low) * (1 - gamma(0)), np.exp(x.high) * (1 + gamma(0))
    return by_taylor(x, (np.exp,) * 3, bounds, hull)


def _near_one(x: Curve) -> tuple[Curve, NDArray[np.intc]]:
    """X = 4ᵏ y with y from 1/2 to 2 at s = 0, exactly, so that no derivative at y under- or overflows; and k."""
    halves = np.frexp(np.where(np.isfinite(x.value), x.value, 1.0))[1] // 2
    return x.moved(lambda v: np.ldexp(v, -2 * halves)).rounded(0.0), halves


def power_of(x: Curve, exponent: float) -> Curve:
    """The power of what is surely positive; else its bounds are infinite."""
    near, halves = _near_one(x)
    with np.errstate(over="ignore", under="ignore"):
        factors = np.power(2.0, 2 * exponent * halves)
    if not (np.isfinite(factors) & (factors > 0)).all():
        raise NotVerifiable("a power of it is beyond what float64 holds")
    return scale(_power_near_one(near, exponent), factors)


def _power_near_one(x: Curve, exponent: float) -> Curve:
    orders = [math.prod(exponent - i for i in range(k)) for k in range(4)]

    def function(v: Array) -> Array:
        return np.sqrt(v) if exponent == 0.5 else np.power(v, exponent)

    def derivative(k: int) -> Function:
        return lambda v: orders[k] * np.power(v, exponent - k)

    def bounds(low: Array, high: Array) -> tuple[Array, ...]:
        ends = [[np.abs(derivative(k)(v)) for v in (low, high)] for k in (1, 2, 3)]
        return tuple(np.maximum(*each) * (1 + gamma(0)) for each in ends)

    low, high = x.low, x.high
    possible = low > 0
    ends = function(np.where(possible, low, np.nan)), function(np.where(possible, high, np.nan))
    hull = np.minimum(*ends) * (1 - gamma(0)), np.maximum(*ends) * (1 + gamma(0))
    sure = x.moved(lambda v: np.where(possible, v, np.nan)).along(x.norm, x.axis)
    return by_taylor(sure, (function, derivative(1), derivative(2)), bounds, hull)  # type: ignore[arg-type]


def logarithm(x: Curve) -> Curve:
    """log, where x is surely positive; else its bounds are infinite."""
    near, halves = _near_one(x)
    return shift(_log_near_one(near), halves * math.log(4.0)) if halves.any() else _log_near_one(x)


def _log_near_one(x: Curve) -> Curve:
    low = x.low

    def bounds(low: Array, high: Array) -> tuple[Array, Array, Array]:
        first = (1 + gamma(0)) / low
        return first, first * first, 2 * first**3

    sure = x.moved(lambda v: np.where(low > 0, v, np.nan)).along(x.norm, x.axis)
    with np.errstate(divide="ignore"):
        hull = np.log(sure.low), np.log(sure.high)
    hull = hull[0] - gamma(0) * np.abs(hull[0]), hull[1] + gamma(0) * np.abs(hull[1])
    return by_taylor(sure, (np.log, lambda v: 1 / v, lambda v: -1 / (v * v)), bounds, hull)


def reciprocal(x: Curve) -> Curve:
    """1/x, where x is surely not 0; else its bounds are infinite."""
    sign = np.sign(x.value)
    return scale(power_of(scale(x, sign), -1.0), sign)


@OPERATIONS.register("exp.default")
def _exp(at: At, x: Any) -> Curve:
    return exponential(curve_of(x))


@OPERATIONS.register("expm1.default")
def _expm1(at: At, x: Any) -> Curve:
    return shift(exponential(curve_of(x)), -1.0)


@OPERATIONS.register("log.default")
def _log(at: At, x: Any) -> Curve:
    return logarithm(curve_of(x))


@OPERATIONS.register("log1p.default")
def _log1p(at: At, x: Any) -> Curve:
    return logarithm(shift(curve_of(x), 1.0))


@OPERATIONS.register("sqrt.default")
def _sqrt(at: At, x: Any) -> Curve:
    return power_of(curve_of(x), 0.5)


@OPERATIONS.register("rsqrt.default")
def _rsqrt(at: At, x: Any) -> Curve:
    return power_of(curve_of(x), -0.5)


@OPERATIONS.register("reciprocal.default")
def _reciprocal(at: At, x: Any) -> Curve:
    return reciprocal(curve_of(x))
