"""Losses of lines: each a mean of functions that are convex in s, so that its larger end bounds it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from weightstring.proof.verify.lines import LEAST, Array, Given, Line, add, gamma, scale
from weightstring.proof.verify.operations import OPERATIONS, At, Loss, NotVerifiable, line_of

MEAN = 1


class LogProbabilities(NamedTuple):
    """log softmax over axis 1."""

    logits: Line


class Winner(NamedTuple):
    """argmax over axis 1."""

    logits: Line


class Missed(NamedTuple):
    """Which examples may be wrong somewhere."""

    possible: NDArray[np.bool_]


def _ends(x: Line) -> Array:
    """(2, n, ...): an upper line at s = −1 and 1."""
    return np.stack([x.value - x.slope + x.error, x.value + x.slope + x.error])


def _mean(losses: Array, scales: Array, count: int, printed: Array | float = 0.0, spare: float = LEAST) -> Loss:
    """(2, n, ...) → the share of the mean over ``count`` examples, its rounding added; ``printed``: of each loss."""
    parts = (losses, np.abs(losses), np.broadcast_to(printed, losses.shape))
    each, sizes, lost = (part.reshape(*losses.shape[:2], -1).mean(2) @ scales for part in parts)
    return Loss(each + gamma(count + len(scales) + losses[0, 0].size) * (sizes + spare), lost)


def _require_mean(reduction: int) -> None:
    if reduction != MEAN:
        raise NotVerifiable("its reduction is not 'mean'")


def _require_known(target: Any, *weights: Any) -> None:
    if not isinstance(target, Given) or not all(isinstance(weight, np.ndarray | None) for weight in weights):
        raise NotVerifiable("its targets or weights are computed")


def _log_sum_exp(z: Array, axis: int) -> Array:
    order = np.sort(z, axis)
    top = np.take(order, [-1], axis)
    rest = np.log1p(np.exp(np.delete(order, -1, axis) - top).sum(axis))
    top = top.squeeze(axis)
    # An argument's own rounding counts as often as it is large, 745 times where exp vanishes.
    bound: Array = top + rest + gamma(z.shape[axis] + 900) * (np.abs(top) + rest)
    return bound


def _above_mixture(z: Line, q: Array) -> Line:
    """z_j − Σ_k q_k z_k; z_j's own error counts (1 − q_j) times."""
    value, slope = (part - (part * q).sum(1, keepdims=True) for part in (z.value, z.slope))
    error = (1 - q) * z.error + (q * z.error).sum(1, keepdims=True) - q * z.error
    return Line(value, slope, error).rounded(4 * z.size, q.shape[1])


@OPERATIONS.register("cross_entropy_loss.default")
def cross_entropy(
    at: At,
    logits: Any,
    target: Any,
    weight: Any = None,
    reduction: int = 1,
    ignored: int = -100,
    smoothing: float = 0.0,
) -> Loss:
    """Σ_c w_c q_c (−log p_c) = (Σ w q)·logsumexp_j(z_j − mean of z by w q)."""
    _require_mean(reduction)
    _require_known(target, weight)
    z, y = line_of(logits), target.values
    if z.value.ndim != 2:
        raise NotVerifiable("its outputs are not (examples, classes)")
    classes = z.value.shape[1]
    costs = np.ones(classes) if weight is None else np.asarray(weight, dtype=np.float64)
    if not ((costs == 0) | ((costs > 1e-60) & (costs < 1e60))).all():
        raise NotVerifiable("a class weight is negative, or so large or small that it may underflow")
    if np.issubdtype(y.dtype, np.floating):
        if (y < 0).any():
            raise NotVerifiable("a target is negative")
        q = (1 - smoothing) * np.asarray(y, dtype=np.float64) + smoothing / classes
        scales = at.scales(None)
    else:
        counted = y != ignored
        q = np.eye(classes)[np.where(counted, y, 0)] * counted[:, None]
        every = target.whole()
        scales = at.scales(np.where(every == ignored, 0.0, costs[np.where(every == ignored, 0, every)]))
        q = (1 - smoothing) * q + smoothing / classes * q.sum(1, keepdims=True)
    q = q * costs
    total = q.sum(1)
    with np.errstate(invalid="ignore", divide="ignore"):
        mixture = np.where(total[:, None] > 0, q / total[:, None], 1 / classes)
    ends = _ends(_above_mixture(z, mixture))
    # An output less itself is nothing.
    ends[:, (mixture == 1) & (np.count_nonzero(mixture, 1) == 1)[:, None]] = 0.0
    sizes = 1 + np.abs(ends).max(2)
    spare = LEAST * float((sizes @ scales).max())
    return _mean(_log_sum_exp(ends, 2), scales * total, at.total, 2 * gamma(classes) * sizes, spare)


@OPERATIONS.register("log_softmax.int")
def log_softmax(at: At, logits: Any, axis: int, dtype: Any = None) -> LogProbabilities:
    """Kept for a loss."""
    if len(at.shape) != 2 or axis % 2 != 1:
        raise NotVerifiable("its outputs are not (examples, classes)")
    return LogProbabilities(line_of(logits))


@OPERATIONS.register("nll_loss_nd.default", "nll_loss.default")
def negative_log_likelihood(
    at: At, given: Any, target: Any, weight: Any = None, reduction: int = 1, ignored: int = -100
) -> Loss:
    """Of log softmax."""
    if not isinstance(given, LogProbabilities):
        raise NotVerifiable("its input is not a log softmax")
    return cross_entropy(at, given.logits, target, weight, reduction, ignored)


def _of_distance(at: At, loss: Callable[[Array], Array], x: Any, target: Any, reduction: int) -> Loss:
    _require_mean(reduction)
    if not isinstance(target, Line | Given) or line_of(x).value.shape != line_of(target).value.shape:
        raise NotVerifiable("the outputs and the targets differ in shape")
    difference = add(line_of(x), line_of(target), -1.0)
    distances = np.stack([np.abs(difference.value + s * difference.slope) + difference.error for s in (-1, 1)])
    return _mean(loss(distances), at.scales(None), at.total)


@OPERATIONS.register("mse_loss.default")
def squared(at: At, x: Any, target: Any, reduction: int = 1) -> Loss:
    """Squared distance."""
    return _of_distance(at, np.square, x, target, reduction)


@OPERATIONS.register("l1_loss.default")
def absolute(at: At, x: Any, target: Any, reduction: int = 1) -> Loss:
    """Distance."""
    return _of_distance(at, np.abs, x, target, reduction)


@OPERATIONS.register("huber_loss.default")
def huber(at: At, x: Any, target: Any, reduction: int = 1, delta: float = 1.0) -> Loss:
    """Squared near, linear far."""
    return _of_distance(at, lambda d: np.where(d < delta, d * d / 2, delta * (d - delta / 2)), x, target, reduction)


@OPERATIONS.register("smooth_l1_loss.default")
def smooth_l1(at: At, x: Any, target: Any, reduction: int = 1, beta: float = 1.0) -> Loss:
    """Squared near, linear far."""
    return _of_distance(
        at, lambda d: np.where(d < beta, d * (d / (2 * beta)) if beta else 0.0, d - beta / 2), x, target, reduction
    )


@OPERATIONS.register("binary_cross_entropy_with_logits.default")
def binary(at: At, x: Any, target: Any, weight: Any = None, positive: Any = None, reduction: int = 1) -> Loss:
    """log(exp((1 − y)z) + exp(−yz)), or its two terms apart."""
    _require_mean(reduction)
    _require_known(target, weight, positive)
    z, y = line_of(x), np.asarray(target.values, dtype=np.float64)
    if any(factor is not None and (factor.ndim > y.ndim or (factor < 0).any()) for factor in (weight, positive)):
        raise NotVerifiable("a weight is negative")
    if ((y < 0) | (y > 1)).any():
        raise NotVerifiable("a target is outside [0, 1]")
    up, down = _ends(z), _ends(scale(z, -1.0))
    if positive is None:
        losses = _log_sum_exp(np.stack([(1 - y) * up, y * down]), 0)
    else:
        losses = (1 - y) * np.logaddexp(0, up) + np.asarray(positive, dtype=np.float64) * y * np.logaddexp(0, down)
    printed = 2 * gamma(0) * (1 + np.abs(up) + np.abs(down))
    if weight is not None:
        losses, printed = (part * np.asarray(weight, dtype=np.float64) for part in (losses, printed))
    return _mean(losses, at.scales(None), at.total, printed)


@OPERATIONS.register("argmax.default")
def argmax(at: At, logits: Any, axis: int | None = None, keep: bool = False) -> Winner:
    """The class that wins."""
    z = line_of(logits)
    if axis is None or z.value.ndim != 2 or axis % 2 != 1 or keep:
        raise NotVerifiable("it is not the class of each example")
    return Winner(z)


@OPERATIONS.register("ne.Tensor")
def differs(at: At, one: Any, other: Any) -> Missed:
    """Where another class may reach the right one."""
    winner, target = (one, other) if isinstance(one, Winner) else (other, one)
    if not (isinstance(winner, Winner) and isinstance(target, Given) and target.values.ndim == 1):
        raise NotVerifiable("it compares other than classes with targets")
    y, classes = target.values, winner.logits.value.shape[1]
    if np.issubdtype(y.dtype, np.floating):
        raise NotVerifiable("its targets are not classes")
    known = (y >= 0) & (y < classes)
    right = np.eye(classes)[np.where(known, y, 0)]
    highest = _above_mixture(winner.logits, right).high
    below = (highest < 0) & np.isfinite(highest)  # which what overflowed is not
    reached: NDArray[np.bool_] = ~np.asarray((below | (right > 0)).all(1)) | ~known
    return Missed(reached)


@OPERATIONS.register("mean.default")
def mean(at: At, x: Any, dtype: Any = None) -> Loss:
    """Over everything."""
    if isinstance(x, Loss):
        return x
    if isinstance(x, Missed):
        return _mean(np.stack([x.possible.astype(np.float64)] * 2), at.scales(None), at.total)
    return _mean(_ends(line_of(x)), at.scales(None), at.total)
