"""BatchNorm: by constants, by statistics that move along the string, or by those of the examples at hand."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np

from weightstring.proof.verify.curves import (
    Array,
    Curve,
    add,
    constant,
    gamma,
    multiply,
    norm_of,
    scale,
    shift,
)
from weightstring.proof.verify.elementary import power_of
from weightstring.proof.verify.layers import Convolved
from weightstring.proof.verify.operations import OPERATIONS, At, NotVerifiable, curve_of
from weightstring.proof.verify.pooling import total


@OPERATIONS.register("batch_norm.default")
def batch_norm(at: At, x: Any, weight: Any, bias: Any, mean: Any, var: Any, training: bool, *rest: Any) -> Curve:
    """(x − mean) / √(var + ε) · weight + bias."""
    if training or mean is None or var is None:
        raise NotVerifiable("it normalises by the batch")
    if not rest[1] > 0:
        raise NotVerifiable("its eps is not positive")
    z = x.own if isinstance(x, Convolved) else curve_of(x)
    z = add(z, scale(_column(mean, z), -1.0))
    if isinstance(var, np.ndarray):
        factor = _column(1 / np.sqrt(var + rest[1]), z)
        factor = factor.rounded(factor.reach)
    else:
        factor = power_of(shift(_column(var, z), rest[1]), -0.5)
    factor = factor if weight is None else multiply(factor, _column(weight, z))
    z = multiply(z, factor)
    if isinstance(x, Convolved):
        z = _with_errors(z, x, factor.reach)
    elif z.norm is None and z.value.ndim > 2:
        axis = tuple(range(-1, -z.value.ndim, -1))
        z = z.along(norm_of(z.error, axis), axis)
    return z if bias is None else add(z, _column(bias, z))


@OPERATIONS.register("_native_batch_norm_legit_no_training.default")
def functional_batch_norm(
    at: At, x: Any, weight: Any, bias: Any, mean: Any, var: Any, momentum: float, eps: float
) -> list[Curve]:
    """The same by another name."""
    return [batch_norm(at, x, weight, bias, mean, var, False, momentum, eps)]


class Estimate(NamedTuple):
    """What a layer makes of examples while it normalises by their own statistics.

    Args:
        output: normalised.
        mean: (C,) of each channel.
        variance: likewise, unbiased.
    """

    output: Curve
    mean: Curve
    variance: Curve


def estimated(x: Any, weight: Any, bias: Any, eps: float) -> Estimate:
    """By the mean and the biased variance of each channel (axis 1) over all else.

    Their polynomials' first. The root of a channel's variance is its deviations' norm over √d, and moves by at most
    ‖e‖/√d; the derivative of what is normalised is a projection divided by √(variance + ε).
    """
    if not eps > 0:
        raise NotVerifiable("its eps is not positive")
    z = curve_of(x)
    rank, every = z.value.ndim, tuple(range(-1, -z.value.ndim - 1, -1))
    over = tuple(axis for axis in range(rank) if axis != 1)
    n = math.prod(z.shape[axis] for axis in over)
    if n < 2:
        raise NotVerifiable("one number has no variance")
    root, ball = math.sqrt(n), z.ball(every)
    away = np.minimum(norm_of(z.error, tuple(axis - rank for axis in over)), ball) / root * (1 + gamma(0))
    centre = z._replace(error=np.zeros_like(z.error), norm=None)
    middle = scale(total(centre, over, True), 1 / n)
    inner = add(centre, middle, -1.0)
    spread = scale(total(multiply(inner, inner), over, True), 1 / n)
    rough = multiply(inner, power_of(shift(spread, eps), -0.5))
    with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
        low, high = np.sqrt(np.maximum(spread.low, 0.0)), np.sqrt(np.maximum(spread.high, 0.0))
        least = np.maximum(low * (1 - gamma(0)) - away, math.sqrt(eps)) * (1 - gamma(1))
        shifted = np.minimum(z.error.sum(over, keepdims=True) / n * (1 + gamma(n)), away)
        each = z.error + shifted
        moved = (each + (inner.reach + each) / least * away) / least * (1 + gamma(4))
        more = (2 * high + away) * away * (1 + gamma(4))
    factor = _column(weight, z)
    stretch = factor.reach / least * (1 + gamma(1))
    result = multiply(rough, factor)
    if isinstance(x, Convolved):
        norm = x.length(stretch.reshape(-1))
        norm = norm_of(norm, every) + norm_of(x.own.error, every) * stretch.max()
    else:
        norm = ball * stretch.max()
    norm = (norm + norm_of(result.error, every)) * (1 + gamma(4))
    result = result._replace(error=result.error + moved * factor.reach * (1 + gamma(0))).along(norm, every)
    output = result if bias is None else add(result, _column(bias, z))
    mean = middle._replace(error=middle.error + shifted)
    variance = scale(spread._replace(error=spread.error + more), n / (n - 1))
    return Estimate(output, _flat(mean), _flat(variance))


def _column(given: Any, like: Curve) -> Curve:
    """Numbers of each channel, to be combined with activations; None: ones."""
    if given is None:
        return constant(np.ones((1, like.shape[1], *(1,) * (like.value.ndim - 2))))
    return curve_of(given).moved(lambda v: v.reshape(1, -1, *(1,) * (like.value.ndim - 2)))


def _flat(x: Curve) -> Curve:
    return x.moved(lambda v: v.reshape(-1))


def _with_errors(z: Curve, x: Convolved, most: Array) -> Curve:
    """With what errors of the convolution before become."""
    norm = x.length(most.reshape(-1)) + z.ball(x.axis)
    return z._replace(error=z.error + x.error * most * (1 + gamma(0))).along(norm * (1 + gamma(0)), x.axis)
