"""Means of what is bounded from above by a polynomial in s, number by number."""

from __future__ import annotations

from typing import Any

import numpy as np

from weightstring.proof.verify.curves import LEAST, Array, Curve, gamma
from weightstring.proof.verify.operations import At, Loss, NotVerifiable

NONE, MEAN, SUM = 0, 1, 2


def chord(losses: Array) -> Array:
    """(2, …) a convex function at s = −1 and 1 → (3, …) the line through both."""
    return np.stack([losses[0] / 2 + losses[1] / 2, losses[1] / 2 - losses[0] / 2, np.zeros_like(losses[0])])


def above_curve(x: Curve) -> Array:
    """(3, …) a polynomial above the curve."""
    return np.stack([x.value + x.error, x.slope, x.bend])


def nearer(one: Array, other: Array) -> Array:
    """Of two polynomials (3, …) that which is lower on the average, number by number."""
    with np.errstate(invalid="ignore"):
        better = one[0] + one[2] / 3 < other[0] + other[2] / 3
    found: Array = np.where(better & np.isfinite(one).all(0), one, other)
    return found


def summed(above: Array, factors: Any, count: int, printed: Any = 0.0, spare: float = LEAST) -> Loss:
    """(3, …) → their sum, each times a factor, with its rounding; ``printed``: of each."""
    factors = np.broadcast_to(factors, above.shape[1:])
    coefficients = np.array([float((part * factors).sum()) for part in above])
    size = float((np.abs(above).sum(0) * factors).sum())
    coefficients[0] += gamma(count + above[0].size) * (size + spare)
    return Loss(coefficients, float((np.broadcast_to(printed, factors.shape) * factors).sum()))


def _mean(at: At, above: Array, printed: Any = 0.0, spare: float = LEAST) -> Loss:
    """The share of the mean that those at hand have."""
    return summed(above, at.share / max(1, above[0].size), at.total, printed, spare)


def reduced(at: At, above: Array, reduction: int, printed: Any = 0.0) -> Loss:
    """The part that those at hand have in the mean or sum."""
    return _mean(at, above, printed) if reduction == MEAN else summed(above, at.part, at.total, printed)


def require_known(target: Any, *weights: Any) -> None:
    """Refuse targets and weights that depend on θ."""
    if not isinstance(target, np.ndarray) or not all(isinstance(weight, np.ndarray | None) for weight in weights):
        raise NotVerifiable("its targets or weights are computed")


def ends_of(x: Curve) -> Array:
    """(2, …): a convex function above the curve, at s = −1 and 1."""
    top = x.value + np.maximum(x.bend, 0.0) + x.error
    return np.stack([top - x.slope, top + x.slope])


def log_sum_exp_of(z: Array, axis: int) -> Array:
    """No less than log Σ exp(z), as near as its own size allows."""
    order = np.sort(z, axis)
    top = np.take(order, [-1], axis)
    rest = np.log1p(np.exp(np.delete(order, -1, axis) - top).sum(axis))
    top = top.squeeze(axis)
    # An argument's own rounding counts as often as it is large, 745 times where exp vanishes.
    bound: Array = top + rest + gamma(z.shape[axis] + 900) * (np.abs(top) + rest)
    return bound
