r"""Softmax: of the polynomials by exponentials and a reciprocal, of their errors by its Jacobian.

P = softmax(z) does not change when one number c(σ) is subtracted from all of a row; c is the row's mean by the weights
at the middle, so that what remains moves little. With J = diag(P) − PPᵀ, P(p + e) − P(p) is a mean of J e on the way:

    |J e|_i ≤ P_i (|e_i| + Σ_j P_j |e_j|),      ‖J‖₂ ≤ max_i 2 P_i (1 − P_i) ≤ ½,

the latter as J's rows have absolute sums of 2 P_i (1 − P_i). On the way P_i is at most e^{2 max E} times that at p.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from weightstring.proof.enclose.bilinear import matrix_product
from weightstring.proof.enclose.enclosure import Enclosure, measured
from weightstring.proof.enclose.ranged import EXP, LOG, RECIPROCAL
from weightstring.proof.enclose.rounding import ELEMENTWISE, FLOOR, gamma

NEVER = -1e30
"""Scores from here on down are those of places that are masked."""


@dataclass(frozen=True, eq=False)
class Masked:
    """Numbers of which some stand for −∞.

    Args:
        scores: the numbers, 0 where they are masked.
        keep: 1 where they are not, 0 where they are; broadcasts with (n, ...).
    """

    scores: Enclosure
    keep: Tensor


@dataclass(frozen=True, eq=False)
class Probabilities:
    """What a softmax over the last axis gives: each row sums to 1."""

    enclosure: Enclosure


@dataclass(frozen=True, eq=False)
class Parts:
    """Of rows along the last axis.

    Args:
        shifted: p − c.
        weights: exp(p − c), 0 where masked.
        total: their sum.
        radius: E, 0 where masked.
        length: L.
    """

    shifted: Enclosure
    weights: Enclosure
    total: Enclosure
    radius: Tensor
    length: Tensor

    def mixed(self, shares: Tensor) -> Tensor:
        """No less than Σ_j P_j |e_j| of each row, for shares P_j at most."""
        return torch.minimum(self.radius.amax(-1, keepdim=True), (shares * self.radius).sum(-1, keepdim=True))


def _parts(x: Enclosure, keep: Tensor | None) -> Parts:
    middle = x.nodes[1] if x.degree == 2 else (x.nodes[0] + x.nodes[1]) / 2
    middle = middle if keep is None else middle.masked_fill(keep == 0, -torch.inf)
    share = middle.softmax(-1)
    nodes = tuple(node - (node * share).sum(-1, keepdim=True) for node in x.nodes)
    # Whatever rounding makes of c is another c; what is left is that of the differences.
    if keep is not None:  # what is masked may be as large as it likes
        nodes = tuple(node * keep for node in nodes)
    zero = torch.zeros_like(x.radius)
    shifted = measured(nodes, zero, ELEMENTWISE * 2 * x.size, zero[..., :1])
    radius, weights = x.radius, EXP(shifted)
    if keep is not None:
        radius, weights = radius * keep, weights.each(lambda values: values * keep, lambda norm: norm)
    terms = radius.shape[-1]
    lost = gamma(terms) * (weights.largest() + weights.radius).sum(-1, keepdim=True)
    total = weights.each(lambda values: values.sum(-1, keepdim=True))
    total = Enclosure(total.nodes, total.radius + lost, total.size * 2 * terms)
    return Parts(shifted, weights, total, radius, Enclosure(x.nodes, radius, x.size, x.norm).over((-1,)))


def _shares(parts: Parts) -> tuple[Enclosure, Tensor]:
    """P of the polynomials alone, and no less than P on the way to p + e."""
    alone = parts.weights * RECIPROCAL(parts.total)
    worst = (2 * parts.radius.amax(-1, keepdim=True)).exp()
    return alone, ((alone.largest() + alone.radius) * worst * (1 + ELEMENTWISE)).clamp(max=1.0)


@dataclass(frozen=True, eq=False)
class Shares:
    """P of rows of scores p + e, in its parts.

    Args:
        alone: P of the polynomials.
        middle: P at the middle of the interval, numbers.
        most: no less than P anywhere on the way from p to p + e.
        away: no less than how far P of the polynomials is from the middle's.
        change: no less than what e changes P by.
        mixed: (..., 1) no less than Σ_j P_j |e_j|.
        radius: E, 0 where masked.
        length: (..., 1) L.
    """

    alone: Enclosure
    middle: Tensor
    most: Tensor
    away: Tensor
    change: Tensor
    mixed: Tensor
    radius: Tensor
    length: Tensor


def row_shares(x: Enclosure, keep: Tensor | None) -> Shares:
    """Of rows along the last axis."""
    parts = _parts(x, keep)
    alone, most = _shares(parts)
    mixed = parts.mixed(most) * (1 + gamma(parts.radius.shape[-1]))
    middle = alone.nodes[len(alone.nodes) // 2]
    middle = middle / middle.sum(-1, keepdim=True)
    nodes = tuple(node - middle for node in alone.nodes)
    away = Enclosure(nodes, alone.radius, alone.size).largest() + alone.radius + ELEMENTWISE
    change = most * (parts.radius + mixed) + FLOOR
    return Shares(alone, middle, most, away, change, mixed, parts.radius, parts.length)


def softmax(x: Enclosure, keep: Tensor | None = None) -> Probabilities:
    """Over the last axis."""
    shares = row_shares(x, keep)
    found = shares.alone.spread(shares.change, None if x.norm is None else shares.length / 2)
    return Probabilities(found if keep is None else found.each(lambda values: values * keep, lambda norm: norm))


def log_softmax(x: Enclosure, keep: Tensor | None = None) -> Enclosure:
    """Over the last axis; of what is masked, whatever is there."""
    parts = _parts(x, keep)
    _, most = _shares(parts)
    mixed = parts.mixed(most) * (1 + gamma(parts.radius.shape[-1]))
    root = parts.radius.shape[-1] ** 0.5
    alone = parts.shifted + LOG(parts.total).scaled(-1.0)
    return alone.spread(parts.radius + mixed, None if x.norm is None else parts.length + root * mixed)


def log_sum_exp(x: Enclosure) -> Enclosure:
    """Log Σ exp over the last axis of the polynomials p + E, which is no less than that of p + e: (..., 1)."""
    upper = Enclosure(tuple(node + x.radius for node in x.nodes), torch.zeros_like(x.radius), 2 * x.size)
    parts = _parts(upper, None)
    nodes = tuple((one - left)[..., :1] for one, left in zip(upper.nodes, parts.shifted.nodes, strict=True))
    return LOG(parts.total) + measured(nodes, torch.zeros_like(nodes[0]), 4 * ELEMENTWISE * upper.size)


def gathered(shares: Probabilities, values: Enclosure) -> Enclosure:
    """Mixtures P (..., a, k) of the rows of V (..., k, d): V̄ + P (V − V̄) with any row V̄, as P's rows sum to 1."""
    weights = shares.enclosure.nodes[len(shares.enclosure.nodes) // 2].mean(-2, keepdim=True)
    middles = tuple(weights @ node for node in values.nodes)
    middle = measured(middles, torch.zeros_like(middles[0]))
    apart = tuple(node - other for node, other in zip(values.nodes, middles, strict=True))
    inner = measured(apart, values.radius, ELEMENTWISE * (values.size + middle.size), values.norm)
    return matrix_product(shares.enclosure, inner) + middle
