"""Losses of classes: cross-entropy, likelihoods, and how many are wrong."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from weightstring.proof.verify.attention import LogProbabilities, log_sum_exp
from weightstring.proof.verify.curves import LEAST, Array, Curve, gamma, scale
from weightstring.proof.verify.means import (
    MEAN,
    NONE,
    SUM,
    above_curve,
    chord,
    ends_of,
    log_sum_exp_of,
    nearer,
    reduced,
    require_known,
    summed,
)
from weightstring.proof.verify.operations import OPERATIONS, At, Loss, NotVerifiable, curve_of
from weightstring.proof.verify.zonotopes import Zonotope


class Winner(NamedTuple):
    """argmax over an axis."""

    logits: Curve
    axis: int


class Missed(NamedTuple):
    """What may be wrong somewhere."""

    possible: NDArray[np.bool_]


def _above_mixture(x: Curve | Zonotope, q: Array) -> Curve:
    """z_j − Σ_k q_k z_k, classes last; z_j's own error counts (1 − q_j) times."""
    z = x.rest if isinstance(x, Zonotope) else x
    parts = (part - (part * q).sum(-1, keepdims=True) for part in z[:3])
    error = (1 - q) * z.error + (q * z.error).sum(-1, keepdims=True) - q * z.error
    curve = Curve.of([*parts, error]).rounded(2 * z.reach + 2 * (q * z.reach).sum(-1, keepdims=True), q.shape[-1])
    return curve.wider(x.apart(q)) if isinstance(x, Zonotope) else curve


class _Targets(NamedTuple):
    """What an entropy is taken with: shares of the classes (…, K), costs included, and what each row is times."""

    shares: Array
    factors: Array


def _classes(at: At, y: Any, costs: Array, reduction: int, ignored: int, smoothing: float) -> _Targets:
    """Of targets that are classes."""
    classes = len(costs)
    counted = y != ignored
    if ((y < 0) | (y >= classes))[counted].any():
        raise NotVerifiable("a target is no class")
    q = np.eye(classes)[np.where(counted, y, 0)] * counted[..., None]
    q = ((1 - smoothing) * q + smoothing / classes * q.sum(-1, keepdims=True)) * costs
    if reduction == SUM:
        return _Targets(q, np.ones(y.shape))
    every = at.entire(1)
    whole = float(np.where(every == ignored, 0.0, costs[np.where(every == ignored, 0, every)]).sum())
    if not whole:
        raise NotVerifiable("all of its targets are ignored or weigh nothing")
    return _Targets(q, np.full(y.shape, 1 / whole))


@OPERATIONS.register("cross_entropy_loss.default")
def cross_entropy(
    at: At, logits: Any, target: Any, weight: Any = None, reduction: int = MEAN, ignored: int = -100,
    smoothing: float = 0.0,
) -> Any:  # fmt: skip
    """Σ_c w_c q_c (−log p_c) = (Σ w q)·logsumexp_j(z_j − mean of z by w q)."""
    require_known(target, weight)
    z = logits if isinstance(logits, Zonotope) else _classes_last(logits)
    classes = z.shape[-1]
    costs = np.ones(classes) if weight is None else weight
    if not ((costs == 0) | ((costs > 1e-60) & (costs < 1e60))).all():
        raise NotVerifiable("a class weight is negative, or so large or small that it may underflow")
    if np.issubdtype(target.dtype, np.floating):
        if (target < 0).any():
            raise NotVerifiable("a target is negative")
        q = (1 - smoothing) * np.moveaxis(target, 1, -1) + smoothing / classes
        factors = 1.0 if reduction == SUM else at.share / max(1, q[..., 0].size)
        given = _Targets(q * costs, np.full(q.shape[:-1], factors))
    else:
        given = _classes(at, target, costs, SUM if reduction == NONE else reduction, ignored, smoothing)
    return _entropies(at, z, given, reduction)


def _classes_last(logits: Any) -> Curve:
    return curve_of(logits).moved(lambda v: np.moveaxis(v, 1, -1) if v.ndim > 1 else v)


def _entropies(at: At, z: Curve | Zonotope, given: _Targets, reduction: int) -> Any:
    q, classes = given.shares, z.shape[-1]
    total = q.sum(-1)
    with np.errstate(invalid="ignore", divide="ignore"):
        mixture = np.where(total[..., None] > 0, q / total[..., None], 1 / classes)
    apart = _above_mixture(z, mixture)
    alone = (mixture == 1) & (np.count_nonzero(mixture, -1) == 1)[..., None]  # an output less itself is nothing
    apart = apart.moved(lambda v: np.where(alone, 0.0, v))
    if reduction == NONE:
        return scale(log_sum_exp(apart, -1).moved(lambda v: v[..., 0]), total)
    ends = ends_of(apart)
    sizes = 1 + np.abs(ends).max((0, -1))
    raised = apart._replace(value=apart.value + apart.error, error=np.zeros_like(apart.error))
    smooth = log_sum_exp(raised.rounded(apart.reach), -1).moved(lambda v: v[..., 0])
    above = nearer(above_curve(smooth), chord(log_sum_exp_of(ends, -1)))
    factors = given.factors * total
    spare = LEAST * float((sizes * factors).max(initial=0.0)) * max(1, factors.size)
    return summed(above, factors, at.total + classes, 2 * gamma(classes) * sizes, spare)


@OPERATIONS.register("nll_loss_nd.default", "nll_loss.default", "nll_loss2d.default")
def negative_log_likelihood(
    at: At, given: Any, target: Any, weight: Any = None, reduction: int = MEAN, ignored: int = -100
) -> Any:
    """Of log softmax, or of any logarithms."""
    rank = len(given.shape) if hasattr(given, "shape") else 0
    if isinstance(given, LogProbabilities) and given.axis % max(1, rank) == min(1, rank - 1):
        return cross_entropy(at, given.logits, target, weight, reduction, ignored)
    require_known(target, weight)
    z = _classes_last(given)
    costs = np.ones(z.shape[-1]) if weight is None else weight
    found = _classes(at, target, costs, SUM if reduction == NONE else reduction, ignored, 0.0)
    each = scale(z, -found.shares)
    picked = each.moved(lambda v: v.sum(-1))
    return picked if reduction == NONE else summed(above_curve(picked), found.factors, at.total)


@OPERATIONS.register("argmax.default")
def argmax(at: At, logits: Any, axis: int | None = None, keep: bool = False) -> Winner:
    """The class that wins."""
    z = curve_of(logits)
    if axis is None or keep or z.value.ndim < 2:
        raise NotVerifiable("it is not the class of each example")
    return Winner(z.moved(lambda v: np.moveaxis(v, axis, -1)), axis)


@OPERATIONS.register("ne.Tensor")
def differs(at: At, one: Any, other: Any) -> Missed:
    """Where another class may reach the right one."""
    winner, target = (one, other) if isinstance(one, Winner) else (other, one)
    if not (isinstance(winner, Winner) and isinstance(target, np.ndarray)) or target.shape != winner.logits.shape[:-1]:
        raise NotVerifiable("it compares other than classes with targets")
    y, classes = target, winner.logits.shape[-1]
    if np.issubdtype(y.dtype, np.floating):
        raise NotVerifiable("its targets are not classes")
    known = (y >= 0) & (y < classes)
    right = np.eye(classes)[np.where(known, y, 0)]
    highest = _above_mixture(winner.logits, right).high
    below = (highest < 0) & np.isfinite(highest)  # which what overflowed is not
    reached: NDArray[np.bool_] = ~np.asarray((below | (right > 0)).all(-1)) | ~known
    return Missed(reached)


@OPERATIONS.register("mean.default", "sum.default")
def mean(at: At, x: Any, dtype: Any = None) -> Any:
    """Over everything."""
    if isinstance(x, Loss):
        return x
    if isinstance(x, Missed):
        wrong = x.possible.astype(np.float64)
        above = np.stack([wrong, np.zeros_like(wrong), np.zeros_like(wrong)])
    else:
        above = above_curve(curve_of(x))
    return reduced(at, above, MEAN if at.name.startswith("mean") else SUM)
