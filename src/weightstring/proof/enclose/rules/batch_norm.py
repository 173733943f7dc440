"""BatchNorm: by statistics that are constants, that are functions of θ, or by those of the examples at hand."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

from torch import Tensor

from weightstring.proof.enclose.enclosure import Enclosure
from weightstring.proof.enclose.groups import Axes, regrouped
from weightstring.proof.enclose.linear import Unnormalised
from weightstring.proof.enclose.normalising import of_batch
from weightstring.proof.enclose.ranged import RSQRT
from weightstring.proof.enclose.rounding import ELEMENTWISE
from weightstring.proof.enclose.rules.call import Call, rule

NORMS = {"batch_norm.default", "_native_batch_norm_legit_no_training.default"}
"""What scales the outputs of layers one by one, so that their norms are better found together."""


@rule("batch_norm.default", smooth=True, grouped=True)
def batch_norm(
    call: Call,
    x: object,
    weight: object,
    bias: object,
    mean: object,
    var: object,
    training: bool,
    momentum: float,
    eps: float,
    *_: object,
) -> Enclosure:
    """(x − mean) / √(var + eps) · weight + bias."""
    if training or mean is None or var is None:
        raise call.refuse("it normalises by the batch")
    z = x.alone if isinstance(x, Unnormalised) else call.enclosed(x)
    shape = (-1, *(1,) * (len(z.shape) - 3))
    factor = None if weight is None else _column(call, weight, shape)
    if isinstance(mean, Enclosure) and isinstance(var, Enclosure):
        across = _across(shape)
        inverse = RSQRT(var.each(across).shifted(eps))
        factor = inverse if factor is None else inverse * factor
        z = (z + mean.each(across).scaled(-1.0)) * factor
        most = factor.largest() + factor.radius
    elif isinstance(mean, Tensor) and isinstance(var, Tensor):
        constant = (var.double() + eps).rsqrt().view(shape)
        z = z.shifted(-mean.double().view(shape))
        if factor is None:
            z, most = z.scaled(constant), constant.expand(z.shape[0], 1, *constant.shape)
        else:
            factor = factor.scaled(constant)
            z, most = z * factor, factor.largest() + factor.radius
    else:
        raise call.refuse("its statistics are none of its own")
    if isinstance(x, Unnormalised):
        z = _with_errors(z, x, most)
    return z if bias is None else z + _column(call, bias, shape)


@rule("_native_batch_norm_legit_no_training.default", smooth=True, grouped=True)
def functional_batch_norm(
    call: Call, x: object, weight: object, bias: object, mean: object, var: object, momentum: float, eps: float
) -> list[Enclosure]:
    """The same where a module that writes in place was made not to."""
    return [batch_norm(call, x, weight, bias, mean, var, False, momentum, eps)]


class Estimate(NamedTuple):
    """What a layer makes of the examples at hand while it normalises by their own statistics.

    Args:
        output: normalised.
        mean: (I, 1, C) of each channel.
        variance: likewise, unbiased.
    """

    output: Enclosure
    mean: Enclosure
    variance: Enclosure


def estimated(call: Call, x: object, weight: object, bias: object, eps: float) -> Estimate:
    """(x − mean) / √(variance + eps) · weight + bias, with the mean and biased variance of all examples at hand."""
    alone = x.settled() if isinstance(x, Unnormalised) else call.enclosed(x)
    rank = len(alone.shape)
    over: Axes = tuple(axis for axis in range(-1, -rank, -1) if axis != 2 - rank)
    if math.prod(alone.shape[axis] for axis in over) < 2:
        raise call.refuse("one number of each channel has no variance")
    found = of_batch(alone, over, eps)
    shape = (-1, *(1,) * (rank - 3))
    z, most = found.alone, 1 / found.least * (1 + ELEMENTWISE)
    if weight is not None:
        factor = _column(call, weight, shape)
        z, largest = z * factor, factor.largest() + factor.radius
        most, radius = most * largest, found.moved * largest
    else:
        radius = found.moved
    whole = tuple(range(-1, -rank, -1))
    # The derivative of the normalisation divides each channel, and projects.
    own = x.alone if isinstance(x, Unnormalised) else alone
    norm = own.over(whole) * most.amax(whole, keepdim=True)
    if isinstance(x, Unnormalised):
        norm = norm + regrouped(x.inherited.norm(most.flatten(1)), alone.radius, whole)
    z = z.spread(radius * (1 + ELEMENTWISE), norm * (1 + ELEMENTWISE))
    output = z if bias is None else z + _column(call, bias, shape)
    flat = _flat(rank)
    return Estimate(output, found.mean.each(flat), found.variance.each(flat))


def _column(call: Call, given: object, shape: tuple[int, ...]) -> Enclosure:
    """A parameter of each channel, to be combined with activations."""
    return call.weights(given).enclosed(call.intervals, call.degree).each(lambda v: v.reshape(len(v), 1, *shape))


def _across(shape: tuple[int, ...]) -> Callable[[Tensor], Tensor]:
    """(I, 1, C), to be combined with activations."""
    return lambda values: values.reshape(len(values), 1, *shape)


def _flat(rank: int) -> Callable[[Tensor], Tensor]:
    return lambda values: values.reshape(len(values), 1, -1)


def _with_errors(z: Enclosure, x: Unnormalised, most: Tensor) -> Enclosure:
    """With what errors of the layer before become, each of whose outputs is at most ``most`` times as large."""
    most = (most * (1 + ELEMENTWISE)).expand(z.shape[0], 1, z.shape[2], *(1,) * (len(z.shape) - 3))
    return z.spread(x.inherited.radius * most, x.inherited.norm(most.flatten(1)))
