"""Units matched by weights: max Σ ⟨A, P B⟩ over the parameters of two balanced models (Ainsworth et al. 2022)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from weightstring.randomness import generator
from weightstring.symmetry.assignments import permuted_units
from weightstring.symmetry.blocks import Block
from weightstring.symmetry.matching import certain, match
from weightstring.symmetry.pairs import Assignments, Groups, Pair, Source, agreement
from weightstring.symmetry.rescaling import Scaled
from weightstring.symmetry.spec import Symmetry

ORDERS = 7
"""Random orders of the groups before they repeat; most starts need fewer sweeps."""


@dataclass(frozen=True, eq=False)
class Balanced:
    """A block of parameters of two models with factors, made when it is looked at: so neither model is held.

    Args:
        one: the first model.
        other: the second.
        block: of a parameter.
        groups: for each of its dimensions the group whose units lie along it, or None.
    """

    one: Scaled
    other: Scaled
    block: Block
    groups: tuple[str | None, ...]

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


def compared(symmetry: Symmetry, one: Scaled, other: Scaled) -> list[Balanced]:
    """All blocks of two models that a symmetry permutes."""
    return [Balanced(one, other, block, groups) for block, groups in permuted_units(symmetry)]


def by_weights(pairs: Sequence[Source], groups: Groups, restarts: int, seed: int) -> Assignments:
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
