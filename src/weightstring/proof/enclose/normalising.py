r"""Normalisation of groups of numbers by their own mean and variance: LayerNorm, RMSNorm, GroupNorm.

N(x) = (x − x̄)/s, s² = var(x) + ε, of the polynomials by products and a reciprocal root. Of their errors by the Jacobian
(I − N Nᵀ/d)/s on what is centred, a symmetric matrix of norm 1/s at most:

    ‖N(p + e) − N(p)‖₂ ≤ L/s,      |N(p + e) − N(p)|_i ≤ (|e_i − ē| + |N_i| L/√d)/s,

with the smallest s on the way: √var moves by at most L/√d.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

from weightstring.proof.enclose.enclosure import Enclosure
from weightstring.proof.enclose.groups import Axes
from weightstring.proof.enclose.ranged import RSQRT
from weightstring.proof.enclose.rounding import ELEMENTWISE, FLOOR, gamma


def mean(x: Enclosure, axes: Axes) -> Enclosure:
    """Over axes, which are kept with length 1; its error is at most L/√d."""
    terms = math.prod(x.shape[axis] for axis in axes)
    radius = x.radius.mean(axes, keepdim=True)
    if x.norm is not None:
        radius = torch.minimum(radius, x.over(axes) / math.sqrt(terms))
    nodes = tuple(node.mean(axes, keepdim=True) for node in x.nodes)
    lost = gamma(terms) * (x.largest() + x.radius).mean(axes, keepdim=True)
    return Enclosure(nodes, radius * (1 + ELEMENTWISE) + lost, 2 * x.size + FLOOR)


def normalised(x: Enclosure, axes: Axes, eps: float, centred: bool = True) -> Enclosure:
    """(x − mean) / √(variance + ε) over axes counted from the last, or x / √(mean square + ε)."""
    terms = math.prod(x.shape[axis] for axis in axes)
    root = math.sqrt(terms)
    inner = x.centre
    if centred:
        inner = inner + mean(inner, axes).scaled(-1.0)
    squares = mean(inner * inner, axes)
    alone = inner * RSQRT(squares.shifted(eps))
    reach = x.over(axes)
    least = _least(squares, reach / root, eps)
    shift = torch.minimum(x.radius.mean(axes, keepdim=True), reach / root) if centred else torch.zeros_like(reach)
    most = alone.largest() + alone.radius + reach / least
    radius = (x.radius + shift + most * reach / root) / least
    grown = 1 + gamma(terms)
    norm = reach / least * grown
    return alone.spread(torch.minimum(radius * grown, norm), None if x.norm is None else norm)


def _least(squares: Enclosure, moved: Tensor, eps: float) -> Tensor:
    """No more than √(variance + ε) anywhere on the way from the polynomials to what is enclosed."""
    low, _ = squares.range()
    spread = (low.clamp(min=0).sqrt() * (1 - ELEMENTWISE) - moved * (1 + ELEMENTWISE)).clamp(min=0)
    return (spread * spread + eps).sqrt() * (1 - ELEMENTWISE)


class OfBatch(NamedTuple):
    """Examples normalised by their own statistics, channel by channel.

    Args:
        alone: of the polynomials.
        moved: what errors add to each number.
        least: no more than √(variance + ε) of each channel on the way from the polynomials to what is enclosed.
        mean: of each channel.
        variance: unbiased.
    """

    alone: Enclosure
    moved: Tensor
    least: Tensor
    mean: Enclosure
    variance: Enclosure


def of_batch(x: Enclosure, axes: Axes, eps: float) -> OfBatch:
    """Examples normalised over axes by their mean and biased variance, and both statistics.

    √variance of a channel moves by at most ‖e‖/√d of its errors e.
    """
    terms = math.prod(x.shape[axis] for axis in axes)
    root = math.sqrt(terms)
    centre = x.centre
    middle = mean(centre, axes)
    inner = centre + middle.scaled(-1.0)
    squares = mean(inner * inner, axes)
    alone = inner * RSQRT(squares.shifted(eps))
    shift = x.over(axes) * ((1 + ELEMENTWISE) / root)
    least = _least(squares, shift, eps)
    of_mean = torch.minimum(x.radius.mean(axes, keepdim=True), shift) * (1 + gamma(terms))
    # Of any number on the way, by its own error, or as all of them move by at most ‖e‖ / least.
    own = (inner.largest() + inner.radius + x.radius + of_mean) / least
    most = torch.minimum(own, alone.largest() + alone.radius + shift * root / least)
    moved = (x.radius + of_mean + most * shift) / least * (1 + gamma(terms))
    _, high = squares.range()
    spread = (2 * high.clamp(min=0).sqrt() + shift) * shift * (1 + ELEMENTWISE)
    unbiased = terms / (terms - 1)
    return OfBatch(alone, moved, least, middle.spread(of_mean, None), squares.spread(spread, None).scaled(unbiased))
