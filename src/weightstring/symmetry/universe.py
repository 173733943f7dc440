"""Units of many models in one order: max Σ_{i<j} ⟨P_i A_i, P_j A_j⟩, no model before another.

Every model gets a permutation to a common universe, so that those between models compose: P_ij = P_jᵀ P_i, whichever
way one goes (C2M3, Crisostomi et al. 2024, whose objective this is). With all models but one held it is a matching with
the sum of the others, solved by coordinate ascent as for two; the models take turns until none of them moves
(MergeMany, Ainsworth et al. 2022).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from weightstring.randomness import generator
from weightstring.symmetry.matching import GAIN, match
from weightstring.symmetry.pairs import Assignment, Assignments, Groups, Pair

TURNS = 50
"""Rounds over all models after which the ascent stops in any case; a few are usual."""


@dataclass(frozen=True, eq=False)
class Tensors:
    """A tensor of every model, of one shape.

    Args:
        each: one a model.
        groups: for each dimension the group whose units lie along it, or None.
        axes: for each dimension the axis of the parameter to which it belongs.
    """

    each: tuple[Tensor, ...]
    groups: tuple[str | None, ...]
    axes: tuple[int, ...]


def in_one_order(
    tensors: Sequence[Tensors],
    groups: Groups,
    start: Sequence[Assignments],
    seed: int,
    given: Sequence[Assignments] = (),
) -> list[dict[str, Assignment]]:
    """Assign the units of all models, each matched with the sum of the others, from some assignments.

    The objective never falls: Σ_{i<j} ⟨P_i A_i, P_j A_j⟩ = (‖Σ_i P_i A_i‖² − Σ_i ‖A_i‖²) / 2.

    Args:
        tensors: whose agreement is to be as large as possible.
        groups: what may be assigned.
        start: the assignments of each model to begin with.
        seed: of the order in which models take their turns.
        given: outermost groups of each model that are assigned already, and stay so.
    """
    known = [{**begun, **(given[i] if given else {})} for i, begun in enumerate(start)]
    still = {name: Assignment(torch.arange(groups.groups[name].size)) for name in (given[0] if given else ())}
    moved = [[_applied(one, one.each[i], known[i]) for i in range(len(known))] for one in tensors]
    sums = [torch.stack(rows).sum(0) for rows in moved]
    for turn in range(TURNS):
        before = _squares(sums)
        for i in torch.randperm(len(known), generator=generator(seed, "turns", turn)).tolist():
            others = [whole - rows[i] for whole, rows in zip(sums, moved, strict=True)]
            pairs = [
                Pair(rest, rows[i], one.groups, one.axes)
                for one, rest, rows in zip(tensors, others, moved, strict=True)
            ]
            found = match(pairs, groups, settled=False, given=still)
            for name in found.keys() - still.keys():
                known[i][name] = found[name].after(known[i].get(name))
            for number, (one, rest) in enumerate(zip(tensors, others, strict=True)):
                moved[number][i] = _applied(one, one.each[i], known[i])
                sums[number] = rest + moved[number][i]
        if not _squares(sums) > before * (1 + GAIN):
            break
    return known


def joint_agreement(tensors: Sequence[Tensors], assignments: Sequence[Mapping[str, Assignment]]) -> float:
    """Σ_{i<j} ⟨P_i A_i, P_j A_j⟩."""
    total = 0.0
    for one in tensors:
        moved = [_applied(one, each, own) for each, own in zip(one.each, assignments, strict=True)]
        total += (_squares([torch.stack(moved).sum(0)]) - _squares(moved)) / 2
    return total


def _squares(tensors: Sequence[Tensor]) -> float:
    return sum(float(each.double().square().sum()) for each in tensors)


def _applied(one: Tensors, tensor: Tensor, assignments: Assignments) -> Tensor:
    return Pair(tensor, tensor, one.groups, one.axes).made(assignments).b
