"""Losses of numbers: distances, entropies of probabilities."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from weightstring.proof.verify.activations import softplus
from weightstring.proof.verify.curves import Array, Curve, add, constant, gamma, maximum, multiply, relu, scale, shift
from weightstring.proof.verify.elementary import exponential, logarithm
from weightstring.proof.verify.means import (
    MEAN,
    NONE,
    above_curve,
    chord,
    ends_of,
    log_sum_exp_of,
    nearer,
    reduced,
    require_known,
)
from weightstring.proof.verify.operations import OPERATIONS, At, NotVerifiable, curve_of


def _of_distance(at: At, x: Any, target: Any, reduction: int, loss: Callable[[Array], Array], exact: Any) -> Any:
    """A convex loss of |x − y|: its line through both ends, or ``exact``: the curve that it is."""
    one, other = curve_of(x), curve_of(target)
    if one.shape != other.shape:
        raise NotVerifiable("the outputs and the targets differ in shape")
    difference = add(one, other, -1.0)
    if reduction == NONE:
        return exact(difference)
    widest = np.abs(difference.bend) + difference.error
    distances = np.stack([np.abs(difference.value + s * difference.slope) + widest for s in (-1, 1)])
    return reduced(at, nearer(above_curve(exact(difference)), chord(loss(distances))), reduction)


def _absolute(x: Curve) -> Curve:
    return maximum([x, scale(x, -1.0)])


def _bent(x: Curve, delta: float, steep: float) -> Curve:
    """steep·(½ m²/δ + |x| − m) with m = min(|x|, δ), which is δ less what exceeds it."""
    far = relu(shift(_absolute(x), -delta))
    near = add(_absolute(x), far, -1.0)
    return scale(add(scale(multiply(near, near), 0.5 / delta), far), steep)


@OPERATIONS.register("mse_loss.default")
def squared(at: At, x: Any, target: Any, reduction: int = MEAN) -> Any:
    """Squared distance."""
    return _of_distance(at, x, target, reduction, np.square, lambda d: multiply(d, d))


@OPERATIONS.register("l1_loss.default")
def absolute(at: At, x: Any, target: Any, reduction: int = MEAN) -> Any:
    """Distance."""
    return _of_distance(at, x, target, reduction, np.abs, _absolute)


@OPERATIONS.register("huber_loss.default")
def huber(at: At, x: Any, target: Any, reduction: int = MEAN, delta: float = 1.0) -> Any:
    """Squared near, linear far."""

    def loss(d: Array) -> Array:
        return np.where(d < delta, d * d / 2, delta * (d - delta / 2))

    return _of_distance(at, x, target, reduction, loss, lambda d: _bent(d, delta, delta))


@OPERATIONS.register("smooth_l1_loss.default")
def smooth_l1(at: At, x: Any, target: Any, reduction: int = MEAN, beta: float = 1.0) -> Any:
    """Squared near, linear far."""

    def loss(d: Array) -> Array:
        return np.where(d < beta, d * (d / (2 * beta)) if beta else 0.0, d - beta / 2)

    return _of_distance(at, x, target, reduction, loss, (lambda d: _bent(d, beta, 1.0)) if beta else _absolute)


@OPERATIONS.register("binary_cross_entropy_with_logits.default")
def binary(at: At, x: Any, target: Any, weight: Any = None, positive: Any = None, reduction: int = MEAN) -> Any:
    """log(exp((1 − y)z) + exp(−yz)), or its two terms apart."""
    require_known(target, weight, positive)
    z, y = curve_of(x), np.asarray(target, dtype=np.float64)
    if any(factor is not None and (factor.ndim > y.ndim or (factor < 0).any()) for factor in (weight, positive)):
        raise NotVerifiable("a weight is negative")
    if ((y < 0) | (y > 1)).any():
        raise NotVerifiable("a target is outside [0, 1]")
    of_yes = y if positive is None else y * positive
    costs = np.ones_like(y) if weight is None else np.broadcast_to(weight, y.shape)
    no, yes = (softplus(at, scale(z, sign), 1.0, np.inf) for sign in (1.0, -1.0))
    curve = scale(add(scale(no, 1 - y), scale(yes, of_yes)), costs)
    if reduction == NONE:
        return curve
    up, down = ends_of(z), ends_of(scale(z, -1.0))
    if positive is None:
        losses = log_sum_exp_of(np.stack([(1 - y) * up, y * down]), 0)
    else:
        losses = (1 - y) * np.logaddexp(0, up) + of_yes * np.logaddexp(0, down)
    printed = 2 * gamma(0) * (1 + np.abs(up) + np.abs(down)).sum(0) * costs
    return reduced(at, nearer(above_curve(curve), chord(losses * costs)), reduction, printed)


@OPERATIONS.register("binary_cross_entropy.default")
def of_probabilities(at: At, p: Any, target: Any, weight: Any = None, reduction: int = MEAN) -> Any:
    """−y log p − (1 − y) log(1 − p), each logarithm not below −100."""
    require_known(target, weight)
    y = np.asarray(target, dtype=np.float64)
    if ((y < 0) | (y > 1)).any():
        raise NotVerifiable("a target is outside [0, 1]")
    z = curve_of(p)
    logs = [shift(relu(shift(logarithm(part), 100.0)), -100.0) for part in (z, shift(scale(z, -1.0), 1.0))]
    curve = add(scale(logs[0], -y), scale(logs[1], y - 1))
    curve = curve if weight is None else scale(curve, weight)
    return curve if reduction == NONE else reduced(at, above_curve(curve), reduction)


@OPERATIONS.register("kl_div.default")
def divergence(at: At, x: Any, target: Any, reduction: int = MEAN, log_target: bool = False) -> Any:
    """Y (log y − x), where y is 0 nothing."""
    y = curve_of(target)
    if log_target:
        curve = multiply(exponential(y), add(y, curve_of(x), -1.0))
    elif isinstance(target, np.ndarray) and (target >= 0).all():
        own = np.where(target > 0, target * np.log(np.where(target > 0, target, 1.0)), 0.0)
        curve = add(constant(own).rounded(np.abs(own) + target), scale(curve_of(x), target), -1.0)
    else:
        raise NotVerifiable("its targets are negative or computed")
    return curve if reduction == NONE else reduced(at, above_curve(curve), reduction)
