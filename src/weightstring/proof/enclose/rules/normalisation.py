"""Normalisation of each example by its own numbers."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from weightstring.proof.enclose.enclosure import Enclosure
from weightstring.proof.enclose.intervals import Weights
from weightstring.proof.enclose.normalising import normalised
from weightstring.proof.enclose.rules.call import Call, rule


@rule("layer_norm.default", smooth=True, grouped=True)
def layer_norm(
    call: Call,
    x: object,
    shape: Sequence[int],
    weight: object = None,
    bias: object = None,
    eps: float = 1e-5,
    *_: object,
) -> Enclosure:
    """(x − mean) / √(variance + ε) · weight + bias over the last axes."""
    axes = tuple(range(-len(shape), 0))
    return _moved(call, normalised(call.enclosed(x), axes, eps), weight, bias)


@rule("rms_norm.default", smooth=True, grouped=True)
def rms_norm(call: Call, x: object, shape: Sequence[int], weight: object = None, eps: float | None = None) -> Enclosure:
    """X / √(mean square + ε) · weight over the last axes."""
    axes = tuple(range(-len(shape), 0))
    least = torch.finfo(call.dtype).eps if eps is None else eps  # what torch adds where it is told nothing
    return _moved(call, normalised(call.enclosed(x), axes, least, centred=False), weight, None)


@rule("group_norm.default", smooth=True, grouped=True)
def group_norm(
    call: Call, x: object, groups: int, weight: object = None, bias: object = None, eps: float = 1e-5, *_: object
) -> Enclosure:
    """Each group of channels by itself."""
    z = call.enclosed(x)
    lead, channels, rest = z.shape[:2], z.shape[2], z.shape[3:]

    def split(values: Tensor) -> Tensor:
        return values.reshape(*lead, groups, -1)

    found = normalised(z.each(split), (-1,), eps)
    joined = found.each(lambda values: values.reshape(*lead, channels, *rest))
    column = (channels, *(1,) * len(rest))
    return _moved(call, joined, weight, bias, column)


@rule("instance_norm.default", smooth=True, grouped=True)
def instance_norm(
    call: Call,
    x: object,
    weight: object,
    bias: object,
    mean: object,
    variance: object,
    own: bool,
    momentum: float,
    eps: float,
    *_: object,
) -> Enclosure:
    """Each channel by itself."""
    if not own:
        raise call.refuse("it normalises by running statistics")
    return group_norm(call, x, call.enclosed(x).shape[2], weight, bias, eps)


def _moved(call: Call, z: Enclosure, weight: object, bias: object, shape: tuple[int, ...] | None = None) -> Enclosure:
    """Times a weight and plus a bias that move along the string."""
    for given, combine in ((weight, Enclosure.__mul__), (bias, Enclosure.__add__)):
        if given is not None:
            beads = call.weights(given).beads
            own = shape or tuple(beads.shape[1:])
            row = beads.reshape(len(beads), *(1,) * (len(z.shape) - 2 - len(own)), *own)
            z = combine(z, Weights(row).enclosed(call.intervals, call.degree))
    return z
