"""Layers, pooling and sums over axes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from math import prod
from typing import Any

import torch

from weightstring.proof.enclose import pooling
from weightstring.proof.enclose.enclosure import Enclosure
from weightstring.proof.enclose.linear import (
    Apply,
    Convolution,
    LinearMap,
    Unnormalised,
    fully_connected,
)
from weightstring.proof.enclose.rounding import ELEMENTWISE
from weightstring.proof.enclose.rules.call import Call, rule
from weightstring.proof.enclose.values import Data, Logits


def _pair(value: int | Sequence[int], axes: int) -> list[int]:
    return [value] * axes if isinstance(value, int) else list(value) * (axes if len(value) == 1 else 1)


@rule("linear.default")
def linear(call: Call, x: object, weight: object, bias: object = None) -> Enclosure | Logits | Unnormalised:
    """The layer x Wᵀ + b."""
    return layer(call, x, weight, bias, fully_connected, axis=-1)


@rule("conv1d.default", "conv2d.default", "conv1d.padding", "conv2d.padding")
def conv(
    call: Call,
    x: object,
    weight: object,
    bias: object = None,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
) -> Enclosure | Logits | Unnormalised:
    """Convolution with zeros around."""
    apply = Convolution(stride, padding, dilation, groups)
    return layer(call, x, weight, bias, apply, axis=1)


def layer(
    call: Call, x: object, weight: object, bias: object, apply: Apply, axis: int
) -> Enclosure | Logits | Unnormalised:
    """A map of each example by weights (out, ...) and a bias, whose outputs lie along an axis."""
    kernel, shift = call.weights(weight), None if bias is None else call.weights(bias)
    made = call.prepared(lambda: LinearMap(apply, kernel, shift, call.intervals, call.degree, axis))
    if isinstance(x, Data):
        products = call.products.of(call.step.name, x, apply, kernel, call.rows)
        reached = call.products.kept.reach(x)
        size = torch.full((len(call.intervals),), reached, dtype=torch.float64, device=products[0].device)
        return made.of_constant(products, size)
    hidden = call.enclosed(x)
    if call.deferred and axis == -1:
        return Logits(hidden, made, call.kept.setdefault(f"{call.step.name} relative", {}))
    if isinstance(apply, Convolution) and not call.images:
        hidden = replace(hidden, norm=None)
    if call.unnormalised and hidden.norm is not None and made.has_norm:
        return Unnormalised(*made.apart(hidden))
    return made.of(hidden)


@rule("max_pool1d.default", "max_pool2d.default")
def max_pool(
    call: Call, x: object, window: Any, stride: Any = (), padding: Any = 0, dilation: Any = 1, ceil_mode: bool = False
) -> Enclosure:
    """The largest of each window."""
    axes = 1 if call.step.op.startswith("max_pool1d") else 2
    sizes = _pair(window, axes)
    strides = _pair(stride, axes) if stride else sizes
    pads, spread = _pair(padding, axes), _pair(dilation, axes)
    z, counts = call.enclosed(x), call.step.shape[-axes:]
    lengths = z.shape[-axes:]
    if any(map(pooling.holds_padding_alone, lengths, sizes, strides, pads, spread, counts)):
        raise call.refuse("one of its windows holds padding alone, whose largest is -inf")
    return pooling.max_pool(z, sizes, strides, pads, spread, counts)


@rule("adaptive_avg_pool1d.default", "adaptive_avg_pool2d.default", "avg_pool1d.default", "avg_pool2d.default")
def average_pool(call: Call, x: object, *settings: Any, **named: Any) -> Enclosure:
    """The mean of each window."""
    z = call.enclosed(x)
    operator = getattr(torch.ops.aten, call.step.op.removesuffix(".default"))
    divisor = settings[5] if len(settings) > 5 else named.get("divisor_override")
    if divisor is not None and divisor <= 0:
        raise call.refuse("its divisor is negative")
    terms = prod(z.shape[3:])
    growth = 1.0 if divisor is None else max(1.0, terms / divisor)
    heaviest = _heaviest(call, z, settings) if divisor is None and not named else math.inf
    return pooling.average(z, lambda values: operator(values, *settings, **named), terms, growth, heaviest)


def _heaviest(call: Call, z: Enclosure, settings: Sequence[Any]) -> float:
    """No less than what an entry weighs in all windows together; ∞ where they overlap or lie over channels."""
    entering, leaving = z.shape[3:], call.step.shape[2:]
    if not entering:
        return math.inf
    if call.step.op.startswith("adaptive"):
        apart = all(old % new == 0 for old, new in zip(entering, leaving, strict=True))
        return prod(leaving) / prod(entering) if apart else math.inf
    window = _pair(settings[0], len(entering))
    stride = _pair(settings[1], len(entering)) if len(settings) > 1 and settings[1] else window
    padded = len(settings) > 2 and any(_pair(settings[2], len(entering)))
    cut = len(settings) > 3 and settings[3]  # the last windows may be smaller
    if any(step < size for step, size in zip(stride, window, strict=True)):
        return math.inf
    return 1.0 if padded or cut else 1 / prod(window)


@rule("mean.dim", "sum.dim_IntList")
def over_axes(call: Call, x: object, axes: Sequence[int] | None, keep: bool = False, dtype: object = None) -> Enclosure:
    """The mean or sum over axes of each example."""
    z = call.enclosed(x)
    rank = len(z.shape) - 1
    chosen = sorted({axis % rank for axis in (axes or range(rank))})
    if 0 in chosen:
        raise call.refuse("it combines different examples")
    shifted = [axis + 1 for axis in chosen]
    terms = prod(z.shape[axis] for axis in shifted)
    mean = call.step.op.startswith("mean")
    reduce = torch.mean if mean else torch.sum
    summed = z.each(lambda v: reduce(v, dim=shifted, keepdim=keep))
    size, norm = z.size if mean else z.size * terms, None
    if z.norm is not None:
        axes = tuple(sorted({*z.axes, *(axis - len(z.shape) for axis in shifted)}, reverse=True))
        norm = z.over(axes) * (terms ** (-0.5 if mean else 0.5) * (1 + ELEMENTWISE))
        norm = norm if keep else norm.squeeze(shifted)
    return Enclosure(summed.nodes, summed.radius, size, norm).widened(ELEMENTWISE * (terms + 64) * size)
