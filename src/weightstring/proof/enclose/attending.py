r"""Attention, softmax(Q Kᵀ) V, with what its parts have in common.

Softmax does not see what is the same along a row of scores, so that K may be moved by any row k̄(σ); its rows sum to 1,
so that V may be by any v̄. Here k̄ is the mean, and for each query v̄ the mixture at the middle, by w = P there. For
errors e of the scores and f of V

    P(p + e)(V + f) − P(p) V = Σ_s P_s (e_s − ē)(v_s − v̄) + Σ_s P_s f_s,      ē = Σ_s P_s e_s,

on the way, and ē Σ_s P_s (v_s − v̄) = ē Σ_s (P_s − w_s)(v_s − v̄): an error of the scores moves the result by no more
than the values differ that it mixes, and what all scores have in common by second order alone.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from weightstring.proof.enclose.bilinear import matrix_product
from weightstring.proof.enclose.enclosure import Enclosure, measured
from weightstring.proof.enclose.groups import UNSEEN, length
from weightstring.proof.enclose.rounding import ELEMENTWISE, gamma
from weightstring.proof.enclose.softmax import Masked, Probabilities, gathered, row_shares


def attended(
    query: Enclosure, key: Enclosure, value: Enclosure, hide: Callable[[Enclosure], Masked] | None
) -> Enclosure:
    """(I, n, ..., a, d) of queries that are scaled, keys and values (I, n, ..., k, d), and what is done to scores."""
    scores, keep = matrix_product(query, _apart(key).each(_turned, _turned)), None
    if hide is not None:
        masked = hide(scores)
        scores, keep = masked.scores, masked.keep
    shares = row_shares(scores, keep)
    found = gathered(Probabilities(shares.alone), value.centre)
    middles = tuple(shares.middle @ node for node in value.nodes)
    apart = _distances(value, Enclosure(middles, torch.zeros_like(middles[0]), value.size))
    moved = shares.most * shares.radius
    drift = ((shares.away + shares.change) * apart).sum(-1, keepdim=True)
    drift = drift + gamma(apart.shape[-1]) * apart.amax(-1, keepdim=True)
    of_scores = ((moved * apart).sum(-1, keepdim=True) + shares.mixed * drift) * (1 + gamma(apart.shape[-1]))
    of_values = shares.most @ value.over((-1,)).expand(*value.shape[:-1], 1) * (1 + gamma(apart.shape[-1]))
    radius = shares.most @ value.radius * (1 + gamma(apart.shape[-1])) + of_scores
    return found.spread(radius, of_scores + of_values)


def _turned(values: Tensor) -> Tensor:
    return values.mT


def _apart(key: Enclosure) -> Enclosure:
    """K less the mean of its rows' polynomials."""
    nodes = tuple(node - node.mean(-2, keepdim=True) for node in key.nodes)
    return measured(nodes, key.radius, 2 * ELEMENTWISE * key.size, key.norm)


def _distances(value: Enclosure, mixed: Enclosure) -> Tensor:
    """(..., a, k) no less than how far each row of V lies from each mixture, anywhere in the interval."""
    ends = [_far(value.nodes[at], mixed.nodes[at]) for at in (0, -1)]
    return torch.maximum(*ends) + (_far(value.top, mixed.top) if value.degree == 2 else 0.0)


def _far(rows: Tensor, points: Tensor) -> Tensor:
    """(..., a, k) no less than ‖row − point‖, by |r|² + |p|² − 2 r·p."""
    mine, its = length(rows, (-1,)).mT, length(points, (-1,))
    lost = 16 * gamma(rows.shape[-1]) * (mine + its) ** 2
    squares = (mine * mine + its * its - 2 * (points @ rows.mT)).clamp(min=0)
    return (squares + lost).sqrt() * (1 + ELEMENTWISE) + UNSEEN
