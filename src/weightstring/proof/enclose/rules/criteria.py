"""What is made of outputs: losses, decisions, means."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor

from weightstring.proof.enclose import losses
from weightstring.proof.enclose import softmax as soft
from weightstring.proof.enclose.enclosure import Enclosure
from weightstring.proof.enclose.piecewise import magnitude
from weightstring.proof.enclose.ranged import EXP, LOG
from weightstring.proof.enclose.rules.call import Call, rule
from weightstring.proof.enclose.values import Bounds, Data, Decision, Logits, LogProbabilities, Wrong
from weightstring.tracing.program import TRACED


@rule("cross_entropy_loss.default")
def cross_entropy(
    call: Call,
    logits: object,
    target: Data,
    weight: Tensor | None = None,
    reduction: int = 1,
    ignored: int = -100,
    smoothing: float = 0.0,
) -> Bounds | Enclosure:
    """Cross-entropy: its mean, or each example's or token's."""
    _require_known(call, target, weight)
    given, known = _tokens(call, call.outputs(logits), target)
    if reduction == losses.NONE:
        return _placed(call, losses.each_cross_entropy(given, known, weight, int(ignored), smoothing))
    losses.require_mean(reduction)
    return losses.cross_entropy(given, known, call.rows, call.step.name, weight, int(ignored), smoothing)


def _tokens(call: Call, logits: Logits | Enclosure, target: Data) -> tuple[Logits | Enclosure, Data]:
    """Outputs (I, n, C, ...) and targets (n, ...) of tokens, side by side: (I, n·m, C) and (n·m,)."""
    if isinstance(logits, Enclosure) and len(logits.shape) > 3:
        intervals, _, classes = logits.shape[:3]
        if target.values.is_floating_point():
            raise call.refuse("its targets are distributions of tokens")
        rows = logits.each(lambda v: v.movedim(2, -1).reshape(intervals, -1, classes))
        logits = rows.grouped() if logits.norm is not None else rows
    if not target.values.is_floating_point() and target.values.ndim > 1:
        target = target.mapped(lambda values: values.reshape(-1), call.step.name)
    return logits, target


def _placed(call: Call, each: Enclosure) -> Enclosure:
    """Losses (I, n·m) of tokens, or (I, n), in the shape of the step's result."""
    lead, *rest = call.step.shape
    shape = (each.shape[0], len(call.rows.rows) * (lead // TRACED), *rest)
    return each.each(lambda values: values.reshape(shape))


def _require_known(call: Call, target: object, *weights: object) -> None:
    if not isinstance(target, Data):
        raise call.refuse("its targets are computed, not those of the data")
    if not all(isinstance(weight, Tensor | None) for weight in weights):
        raise call.refuse("its weights are computed, not constants")


@rule("log_softmax.int")
def log_softmax(call: Call, logits: object, axis: int, dtype: object = None) -> LogProbabilities | Enclosure:
    """For a loss to read; of more than (examples, classes) the numbers themselves, over the last axis."""
    given, rank = call.outputs(logits), len(call.step.shape)
    if axis % rank != rank - 1 or rank < 2:
        raise call.refuse("it is not taken over the last axis of each example")
    return LogProbabilities(given) if rank == 2 else soft.log_softmax(call.enclosed(given))


@rule("nll_loss_nd.default", "nll_loss.default")
def negative_log_likelihood(
    call: Call, given: object, target: Data, weight: Tensor | None = None, reduction: int = 1, ignored: int = -100
) -> Bounds | Enclosure:
    """Negative log-likelihood of log softmax: its mean, or each example's."""
    _require_known(call, target, weight)
    if not isinstance(given, LogProbabilities):
        raise call.refuse("its input is not a log softmax")
    logits, known = _tokens(call, given.logits, target)
    if reduction == losses.NONE:
        return _placed(call, losses.each_cross_entropy(logits, known, weight, int(ignored)))
    losses.require_mean(reduction)
    return losses.cross_entropy(logits, known, call.rows, call.step.name, weight, int(ignored))


@rule("kl_div.default")
def divergence(
    call: Call, x: object, target: object, reduction: int = 1, log_target: bool = False
) -> Bounds | Enclosure:
    """Each q (log q − x), or their mean, for targets q ≥ 0 or their logarithms; where q is 0 it is 0."""
    given = call.enclosed(x)
    if not isinstance(target, Data):  # computed, with q nowhere 0
        known = call.enclosed(target)
        q, logs = (EXP(known), known) if log_target else (known, LOG(known))
        found = q * (logs + given.scaled(-1.0))
    else:
        numbers = target.values.double()
        if not log_target and bool((numbers < 0).any()):
            raise call.refuse("its targets are negative")
        shares = numbers.exp() if log_target else numbers
        found = given.scaled(-shares).shifted(shares * numbers if log_target else torch.xlogy(shares, shares))
    if found.shape != given.shape:
        raise call.refuse("the outputs and the targets differ in shape")
    if reduction == losses.NONE:
        return found
    losses.require_mean(reduction)
    return losses.averaged(losses.upper_ends(found), call.rows, centre=losses.places(found))


@rule("mse_loss.default")
def squared_error(call: Call, x: object, target: Any, reduction: int = 1) -> Bounds | Enclosure:
    """Squared error."""
    return _of_distance(call, torch.square, lambda d: d * d, x, target, reduction)


@rule("l1_loss.default")
def absolute_error(call: Call, x: object, target: Any, reduction: int = 1) -> Bounds | Enclosure:
    """Absolute error."""
    return _of_distance(call, torch.abs, magnitude, x, target, reduction)


@rule("huber_loss.default")
def huber(call: Call, x: object, target: Any, reduction: int = 1, delta: float = 1.0) -> Bounds | Enclosure:
    """Quadratic up to δ, linear beyond."""

    def loss(d: Tensor) -> Tensor:
        return torch.where(d < delta, d * d / 2, delta * (d - delta / 2))

    return _of_distance(call, loss, lambda d: losses.bent(d, delta, delta), x, target, reduction)


@rule("smooth_l1_loss.default")
def smooth_l1(call: Call, x: object, target: Any, reduction: int = 1, beta: float = 1.0) -> Bounds | Enclosure:
    """Quadratic up to β, linear beyond."""

    def loss(d: Tensor) -> Tensor:
        return torch.where(d < beta, d * (d / (2 * beta)), d - beta / 2)

    each = magnitude if beta == 0 else partial(losses.bent, delta=beta, steep=1.0)
    return _of_distance(call, loss, each, x, target, reduction)


def _of_distance(
    call: Call,
    loss: Callable[[Tensor], Tensor],
    each: Callable[[Enclosure], Enclosure],
    x: object,
    target: Any,
    reduction: int,
) -> Bounds | Enclosure:
    """The mean of a loss of distances, or the loss of each difference."""
    given = call.enclosed(x)
    known = target if isinstance(target, Data) else call.enclosed(target)
    if (known.values.shape[1:] if isinstance(known, Data) else known.shape[2:]) != given.shape[2:]:
        raise call.refuse("the outputs and the targets differ in shape")
    if reduction == losses.NONE:
        return each(losses.distance(given, known))
    losses.require_mean(reduction)
    return losses.of_distance(loss, given, known, call.rows)


@rule("binary_cross_entropy_with_logits.default")
def binary(
    call: Call,
    x: object,
    target: Data,
    weight: Tensor | None = None,
    positive: Tensor | None = None,
    reduction: int = 1,
) -> Bounds | Enclosure:
    """Binary cross-entropy of logits: its mean, or each one's."""
    _require_known(call, target, weight, positive)
    if reduction == losses.NONE:
        return losses.each_binary(call.enclosed(x), target, weight, positive)
    losses.require_mean(reduction)
    return losses.binary(call.enclosed(x), target, call.rows, weight, positive)


@rule("argmax.default")
def argmax(call: Call, logits: object, axis: int | None = None, keep: bool = False) -> Decision:
    """The class that wins."""
    given = call.outputs(logits)
    rank = len((given.hidden if isinstance(given, Logits) else given).shape) - 1
    if axis is None or rank != 2 or axis % rank != 1 or keep:
        raise call.refuse("it is not the class of each example")
    return Decision(given)


@rule("ne.Tensor")
def different(call: Call, one: object, other: object) -> Wrong:
    """Which decisions differ from the target."""
    for decision, target in ((one, other), (other, one)):
        if isinstance(decision, Decision) and isinstance(target, Data):
            return Wrong(losses.possibly_wrong(decision.logits, target))
    raise call.refuse("it compares other than classes with targets")


@rule("mean.default")
def mean(call: Call, x: object, dtype: object = None) -> Bounds:
    """The mean over everything."""
    if isinstance(x, Wrong):
        return losses.averaged(x.possible.double().expand(2, -1, -1), call.rows)
    if isinstance(x, Bounds):
        return x
    given, examples = call.enclosed(x), len(call.rows.rows)
    if given.shape[1] != examples:  # tokens of all examples side by side
        given = given.each(lambda values: values.reshape(len(values), examples, -1))
    return losses.averaged(losses.upper_ends(given), call.rows, centre=losses.places(given))
