"""Softmax inside a network, and attention in any spelling."""

from __future__ import annotations

import math
from functools import partial

import torch
from torch import Tensor

from weightstring.proof.enclose import softmax as soft
from weightstring.proof.enclose.attending import attended
from weightstring.proof.enclose.enclosure import Enclosure
from weightstring.proof.enclose.rules.call import Call, rule
from weightstring.proof.enclose.softmax import NEVER, Masked
from weightstring.proof.enclose.values import Data


@rule("softmax.int", "_softmax.default", smooth=True, grouped=True)
def softmax(call: Call, x: object, axis: int, *_: object, **named: object) -> object:
    """exp(x) / Σ exp(x) over an axis of each example."""
    scores, keep = (x.scores, x.keep) if isinstance(x, Masked) else (call.enclosed(x), None)
    rank = len(call.step.shape)
    if axis % rank == 0:
        raise call.refuse("it is taken over the examples")
    if axis % rank == rank - 1:
        return soft.softmax(scores, keep)
    if keep is not None:
        raise call.refuse("it is masked and not over the last axis")

    def turned(values: Tensor) -> Tensor:
        return values.transpose(axis % rank + 1, -1)

    return soft.softmax(scores.each(turned, turned)).enclosure.each(turned, turned)


@rule("scaled_dot_product_attention.default", smooth=True, grouped=True)
def attention(
    call: Call,
    query: object,
    key: object,
    value: object,
    mask: object = None,
    share: float = 0.0,
    causal: bool = False,
    scale: float | None = None,
    enable_gqa: bool = False,
) -> Enclosure:
    """softmax(Q Kᵀ scale + mask) V."""
    if share:
        raise call.refuse("it draws at random")
    q, k, v = (call.enclosed(part) for part in (query, key, value))
    if enable_gqa:
        k, v = (_repeated(part, q.shape[-3] // part.shape[-3]) for part in (k, v))
    q = q.scaled(1 / math.sqrt(q.shape[-1]) if scale is None else float(scale))
    if causal:
        mask = torch.ones(q.shape[-2], k.shape[-2], dtype=torch.bool, device=q.radius.device).tril()
    return attended(q, k, v, None if mask is None else partial(under, call, mask=mask))


def _repeated(x: Enclosure, times: int) -> Enclosure:
    """Each head of keys or values for several of queries."""

    def repeat(values: Tensor) -> Tensor:
        heads = values.expand(
            *values.shape[:-3], x.shape[-3], *values.shape[-2:]
        )  # a group of several heads holds each
        return heads.repeat_interleave(times, -3)

    return x if times == 1 else x.each(repeat, repeat)


def hides(mask: object) -> bool:
    """Whether it is a constant that stands for −∞ somewhere, as masks do that are added."""
    given = mask.values if isinstance(mask, Data) else mask
    return isinstance(given, Tensor) and given.is_floating_point() and bool((given <= NEVER).any())


def under(call: Call, scores: Enclosure, mask: object) -> Masked:
    """Scores with a mask added: numbers, or whether a place is seen."""
    given = mask.values if isinstance(mask, Data) else mask
    if not isinstance(given, Tensor):
        raise call.refuse("its mask depends on θ")
    seen = given if given.dtype == torch.bool else given > NEVER
    shape = scores.shape[2:] if not isinstance(mask, Data) else scores.shape[1:]
    if given.ndim > len(shape):
        given, seen = given.squeeze(0), seen.squeeze(0)
    wide = torch.broadcast_shapes(scores.shape, seen.shape)  # type: ignore[no-untyped-call]
    if wide != scores.shape:  # one row of scores under several masks: numbers are repeated, and no groups any more
        scores = scores.each(lambda values: values.expand(wide))
    keep = seen.to(torch.float64)
    keep = keep.expand(wide[len(wide) - len(shape) :]) if given.ndim <= len(shape) else keep
    if given.dtype != torch.bool:
        scores = scores.shifted(given.double().where(seen, 0.0))
    return Masked(scores, keep)
