"""Symmetric copies of one model that may be near another: units matched by weights and by activations."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import NamedTuple

import torch
from torch import Tensor

from weightstring.arrays import Theta, distance
from weightstring.problem import Modular
from weightstring.randomness import generator
from weightstring.symmetry.activations import correlations, partnered, recorded
from weightstring.symmetry.assignments import as_assignments, as_move, same_units, signed_groups
from weightstring.symmetry.blocks import Block
from weightstring.symmetry.matching import certain, match
from weightstring.symmetry.moves import Move
from weightstring.symmetry.pairs import Assignments, Groups, Pair, Source, agreement
from weightstring.symmetry.rescaling import Scaled, canonical, nearest
from weightstring.symmetry.spec import Symmetry

ORDERS = 7
"""Random orders of the groups before they repeat; most starts need fewer sweeps."""


def matched(
    problem: Modular,
    symmetry: Symmetry,
    a: Theta,
    b: Theta,
    methods: Collection[str],
    rescale: bool,
    restarts: int,
    seed: int,
) -> list[Matched]:
    """What each method finds, the model as it is first."""
    signed = signed_groups(symmetry)
    groups = Groups(symmetry.permutations.groups, signed if rescale else frozenset())
    # In copies that do not depend on how units are scaled they can be compared.
    paired = [same_units(symmetry)[name] for name in signed]
    one, other = (Scaled(symmetry, theta, canonical(symmetry, theta, paired).factors) for theta in (a, b))
    weights = [Balanced(one, other, block) for block in symmetry.permuted]
    moves = [("none", Move(symmetry))]
    if "weights" in methods:
        moves.append(("weights", as_move(symmetry, _by_weights(weights, groups, restarts, seed))))
    activations: list[Pair] = []
    if "activations" in methods:
        activations = recorded(problem, symmetry, (one, other))
        # Units that no layer with weights returns, such as those between two layers of an LSTM, by their weights.
        assignments = match(weights, groups, given=match(activations, groups))
        moves.append(("activations", as_move(symmetry, assignments)))
    orders = (as_assignments(symmetry, replace(move, factors={})) for _, move in moves)
    return [
        Matched(method, move, partnered(activations, order))
        for (method, move), order in zip(moves, orders, strict=True)
    ]


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
        return correlations(
            self.partners, as_assignments(symmetry, replace(move, permutations=still)), symmetry.permutations
        )


@dataclass(frozen=True, eq=False)
class Balanced:
    """A block of parameters of two models with factors, made when it is looked at: so neither model is held.

    Args:
        one: the first model.
        other: the second.
        block: of a parameter.
    """

    one: Scaled
    other: Scaled
    block: Block

    @property
    def groups(self) -> tuple[str | None, ...]:
        """For each dimension the group whose units lie along it, or None."""
        return tuple(factor.group for factor in self.block.factors)

    @property
    def axes(self) -> tuple[int, ...]:
        """For each dimension its axis of the parameter."""
        return tuple(factor.axis for factor in self.block.factors)

    @cached_property
    def size(self) -> float:
        """‖A‖²."""
        return float(self._of(self.one).square().sum())

    def made(self, assignments: Assignments) -> Pair:
        """The tensors of both, the second one's with the first one's units."""
        return Pair(self._of(self.one), self._of(self.other), self.groups, self.axes).made(assignments)

    def _of(self, model: Scaled) -> Tensor:
        return self.block.view(model.parameter(self.block.parameter))


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
        yield Move(symmetry, move.permutations, factors)


def _by_weights(pairs: Sequence[Source], groups: Groups, restarts: int, seed: int) -> Assignments:
    """The assignments of the largest agreement of all restarts."""
    count = len(groups.outermost)
    best = match(pairs, groups)
    known = {name: best[name] for name in certain(pairs, groups) if name in best}
    reached = agreement(pairs, best)
    for restart in range(1, restarts if len(known) < len(best) else 1):
        draw = generator(seed, "align", restart)
        orders = [torch.randperm(count, generator=draw).tolist() for _ in range(ORDERS)]
        # Once more from what is known for sure; then from the units as they are, in random orders.
        found = match(pairs, groups, orders, settled=restart % 2 == 0, given=known)
        if (value := agreement(pairs, found)) > reached:
            best, reached = found, value
    return best
