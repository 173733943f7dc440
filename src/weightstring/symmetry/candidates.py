"""Symmetric copies of one model that may be near another: units matched by weights and by activations."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import replace
from typing import NamedTuple

import torch
from torch import Tensor

from weightstring.arrays import Theta, distance
from weightstring.problem import Modular
from weightstring.symmetry.activations import correlations, partnered, recorded
from weightstring.symmetry.assignments import as_assignments, as_move, signed_units
from weightstring.symmetry.matching import match
from weightstring.symmetry.moves import Move
from weightstring.symmetry.pairs import Groups, Pair
from weightstring.symmetry.rescaling import Scaled, canonical, nearest
from weightstring.symmetry.spec import Symmetry
from weightstring.symmetry.turning import by_turns, mixed_units
from weightstring.symmetry.weights import by_weights, compared


def matched(
    problem: Modular,
    symmetry: Symmetry,
    a: Theta,
    b: Theta,
    methods: Collection[str],
    rescale: bool,
    restarts: int,
    seed: int,
    maps: bool = False,
) -> list[Matched]:
    """What each method finds, the model as it is first."""
    signed = frozenset(signed_units(symmetry))
    groups = Groups(symmetry.permutations.groups, signed if rescale else frozenset())
    one, other = _comparable(symmetry, a, b)
    weights = compared(symmetry, one, other)
    moves = [("none", Move(symmetry))]
    if "weights" in methods:
        moves.append(("weights", as_move(symmetry, by_weights(weights, groups, restarts, seed))))
    activations: list[Pair] = []
    if "activations" in methods:
        activations = recorded(problem, symmetry, (one, other))
        # Units that no layer with weights returns, such as those between two layers of an LSTM, by their weights.
        assignments = match(weights, groups, given=match(activations, groups))
        moves.append(("activations", as_move(symmetry, assignments)))
    if maps and "weights" in methods and (move := by_turns(symmetry, a, b, groups.signed, restarts, seed)):
        moves.append(("weights", move))
    orders = (as_assignments(symmetry, replace(move, factors={}, maps={})) for _, move in moves)
    return [
        Matched(method, move, partnered(activations, order))
        for (method, move), order in zip(moves, orders, strict=True)
    ]


def observed(problem: Modular, symmetry: Symmetry, a: Theta, b: Theta, move: Move) -> list[Pair]:
    """How far units correlate with their partners once ``b`` is moved, signs left out: both are run once."""
    activations = recorded(problem, symmetry, _comparable(symmetry, a, b))
    return partnered(activations, as_assignments(symmetry, replace(move, factors={}, maps={})))


def _comparable(symmetry: Symmetry, a: Theta, b: Theta) -> tuple[Scaled, Scaled]:
    """Copies of both that do not depend on how units are scaled."""
    paired = signed_units(symmetry).values()
    one, other = (Scaled(symmetry, theta, canonical(symmetry, theta, paired).factors) for theta in (a, b))
    return one, other


class Matched(NamedTuple):
    """What a method finds.

    Args:
        method: its name.
        move: permutations, and signs where these may change.
        partners: how far units correlate with their partners, signs left out; nothing where they were not observed.
    """

    method: str
    move: Move
    partners: Sequence[Pair]

    def correlations(self, move: Move) -> dict[str, Tensor]:
        """How far each unit correlates with its partner by group, for a move of these permutations and any factors."""
        symmetry = move.symmetry
        still = {name: order.sort().values for name, order in move.permutations.items()}
        partners = as_assignments(symmetry, replace(move, permutations=still, maps={}))
        each = correlations(self.partners, partners, symmetry.permutations)
        blended = {name for name, mixed in mixed_units(symmetry).items() if mixed in move.maps}
        return {name: own for name, own in each.items() if name not in blended}


def with_factors(symmetry: Symmetry, a: Theta, b: Theta, move: Move, rescale: bool) -> Iterator[Move]:
    """A permutation by itself, and with the factors that bring it nearest, where these bring anything."""
    yield move
    if not rescale:
        return
    permuted = move(b)
    scaling = nearest(symmetry, a, permuted)
    if scaling.factors and distance(permuted, a) - distance(scaling.apply_(permuted), a) > 1e-6 * float(a.norm()):
        del permuted
        factors = {
            name: move.factors.get(name, 1.0) * scaling.factors.get(name, torch.ones(()))
            for name in move.factors.keys() | scaling.factors.keys()
        }
        yield replace(move, factors=factors)
