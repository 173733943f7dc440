"""Where a proof is loose, and why: what each operation's own remainder does to the bound, by derivatives.

An operation's enclosure has the errors that it was given, carried along, and a remainder R of its own. With w·R in
place of R the bound B is a function of all w, and ∂B/∂w at w = 1 is what the operation adds to it, to first order,
later magnification included. One walk with derivatives gives all of them. What the loss adds itself, with the layer
that it reads, is what errors of its input do not explain: B less what they take part in, less the loss.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from weightstring.proof.certificate import Cause, Looseness, Piece
from weightstring.proof.enclose.enclosing import ARRAYS, Enclosing
from weightstring.proof.enclose.enclosure import Enclosure, per_interval
from weightstring.proof.enclose.intervals import Intervals
from weightstring.proof.enclose.linear import Unnormalised
from weightstring.proof.enclose.products import Kept, Products
from weightstring.proof.enclose.rules import Call
from weightstring.proof.enclose.softmax import Probabilities
from weightstring.proof.enclose.values import Bounds, Decision, Logits, LogProbabilities, Rows, highest
from weightstring.proof.enclose.walking import Stretch, Walk

SEGMENTS = 16
"""Segments that are explained at most: those with the highest bounds."""

EXAMPLES = 8
"""Examples by which an interval is explained, at most."""

CAUSES = 6
"""Operations named for each interval, at most."""

TRIFLE = 1e-3
"""Share below which an operation is not named."""

LOSS = "the loss, with the layer that it reads"
"""What is called so: what errors of that layer's input do not explain."""


@dataclass(frozen=True, eq=False)
class Weighing(Walk):
    """A walk whose operations' own remainders have weights of 1, by which derivatives are taken.

    Args:
        weights: of each interval (I,), by operation, in words.
        bounds: what the loss returns, beside the same of inputs without errors.
    """

    weights: dict[str, Tensor] = field(default_factory=dict)
    bounds: list[tuple[Bounds, Bounds]] = field(default_factory=list)

    def _result(self, call: Call, values: dict[str, object]) -> object:
        found = super()._result(call, values)
        known = Enclosure | Unnormalised | Probabilities | Bounds
        if call.step.name in self.program.of_data or not isinstance(found, known):
            return found
        own = super()._result(call, {name: _alone(value) for name, value in values.items()})
        if isinstance(found, Enclosure) and isinstance(own, Enclosure):
            return self._weighed(found, own, call.step.where)
        if isinstance(found, Unnormalised) and isinstance(own, Unnormalised):
            return replace(found, alone=self._weighed(found.alone, own.alone, call.step.where))
        if isinstance(found, Probabilities) and isinstance(own, Probabilities):
            return Probabilities(self._weighed(found.enclosure, own.enclosure, call.step.where))
        if isinstance(found, Bounds) and isinstance(own, Bounds) and found.each.requires_grad:
            found.each.retain_grad()
            self.bounds.append((found, own))
        return found

    def _weighed(self, found: Enclosure, own: Enclosure, where: str) -> Enclosure:
        if where not in self.weights:
            self.weights[where] = torch.ones_like(found.size).requires_grad_()
        more, norm = self.weights[where] - 1, found.norm
        if norm is not None and own.norm is not None:
            norm = norm + per_interval(more, norm) * own.norm
        radius = found.radius + per_interval(more, found.radius) * own.radius
        for part in (*found.nodes, radius, norm):
            if part is not None and part.requires_grad:
                part.register_hook(_defined)  # type: ignore[no-untyped-call]
        return replace(found, radius=radius, norm=norm)


def _defined(derivative: Tensor) -> Tensor:
    """Where two numbers are equal of which one is chosen, or a root is 0, there may be none: it counts as 0."""
    return derivative.nan_to_num(0.0, 0.0, 0.0)


def looseness_of(
    enclosing: Enclosing, pieces: Sequence[Piece], largest: Callable[[Piece], float]
) -> tuple[Looseness, ...]:
    """Why bounds of a string are loose: of each segment its interval with the highest bound.

    Args:
        enclosing: the loss of the string.
        pieces: of the proof.
        largest: the largest loss that is known on one.
    """
    tops = dict[int, Piece]()
    for piece in pieces:
        if piece.segment not in tops or piece.bound > tops[piece.segment].bound:
            tops[piece.segment] = piece
    chosen = sorted(sorted(tops.values(), key=lambda piece: piece.bound)[-SEGMENTS:])
    rows = _rows(enclosing, len(chosen))
    return tuple(
        Looseness(piece.segment, piece.low, piece.high, piece.bound - largest(piece), causes)
        for piece, causes in zip(chosen, _explained(enclosing, chosen, rows), strict=True)
    )


def _explained(enclosing: Enclosing, pieces: Sequence[Piece], rows: Rows) -> list[tuple[Cause, ...]]:
    walk = enclosing.walk
    weighing = Weighing(walk.program, walk.examples, walk.derived, walk.degree)
    low, high = (torch.tensor([piece[k] for piece in pieces], dtype=torch.float64) for k in (1, 2))
    try:
        with torch.enable_grad(), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # a rule may ask how large numbers are: of that no derivative is wanted
            found = _walked(enclosing, weighing, rows, pieces, low, high)
            bound = highest(found.nodes)
            if bound.requires_grad:
                bound.sum().backward()  # type: ignore[no-untyped-call]
    except RuntimeError:  # a rule of somebody's that computes in a way of which no derivatives are known
        return [()] * len(pieces)
    parts = {where: weight.grad for where, weight in weighing.weights.items() if weight.grad is not None}
    owed = sum((b.each.grad * (b.each - own.each)).sum((0, 2)) for b, own in weighing.bounds if b.each.grad is not None)
    points = [highest(_walked(enclosing, walk, rows, pieces, t, t).nodes) for t in (low, (low + high) / 2, high)]
    parts[LOSS] = bound - torch.stack(points).amax(0) - owed
    return [
        _causes({where: float(amount.detach()[index]) for where, amount in parts.items()})
        for index in range(len(pieces))
    ]


def _causes(parts: Mapping[str, float]) -> tuple[Cause, ...]:
    whole = sum(amount for amount in parts.values() if not amount <= 0)
    if not 0 < whole < math.inf:
        return ()
    shares = [Cause(where, amount / whole) for where, amount in parts.items() if amount >= TRIFLE * whole]
    return tuple(sorted(shares, key=lambda cause: -cause.share)[:CAUSES])


def _rows(enclosing: Enclosing, intervals: int) -> Rows:
    """Some examples, spread over the classes: few enough for all that derivatives keep."""
    each = 8 * ARRAYS * enclosing.width * len(enclosing.program.steps) * intervals
    count = max(1, min(EXAMPLES, enclosing.max_bytes // each))
    order = enclosing.order
    return Rows(enclosing.population, order[:: -(-len(order) // count)])


def _walked(enclosing: Enclosing, walk: Walk, rows: Rows, pieces: Sequence[Piece], low: Tensor, high: Tensor) -> Bounds:
    beads = enclosing.beads
    used, local = torch.unique(torch.tensor([[p.segment, p.segment + 1] for p in pieces]), return_inverse=True)
    intervals = Intervals(*(part.to(beads.device) for part in (local[:, 0], low, high)))
    products = Products(Kept(0), list(range(len(used))))
    found = walk.result(Stretch(intervals, enclosing.weights(beads[used.to(beads.device)]), products, {}), rows)
    assert isinstance(found, Bounds)
    return found


def _alone(value: object) -> object:
    """The polynomials without their errors."""
    if isinstance(value, Enclosure):
        return value.centre
    if isinstance(value, Unnormalised):
        of = value.inherited
        none = replace(of, x=of.x.centre, radius=torch.zeros_like(of.radius), reach=torch.zeros_like(of.reach))
        return Unnormalised(value.alone.centre, none)
    if isinstance(value, Probabilities):
        return Probabilities(value.enclosure.centre)
    if isinstance(value, Logits):
        return replace(value, hidden=value.hidden.centre)
    if isinstance(value, LogProbabilities | Decision):
        inner = _alone(value.logits)
        assert isinstance(inner, Logits | Enclosure)
        return replace(value, logits=inner)
    if isinstance(value, list):
        return [_alone(part) for part in value]
    return value
