"""Assignments of units as moves of θ, and back; which units may change their signs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from weightstring.symmetry.blocks import Block
from weightstring.symmetry.moves import Move
from weightstring.symmetry.pairs import Assignment, Assignments, Groups, Unsigned
from weightstring.symmetry.places import place, places
from weightstring.symmetry.rescaling import own_vector
from weightstring.symmetry.spec import Group, Spec, Symmetry


def signed_units(symmetry: Symmetry) -> dict[str, str]:
    """For each group of permutations whose units' signs may change the group of factors that has them.

    These are the very same units, or those of some of the tensors: the signs of gated units, of which the one part may
    be negated with what reads the product, the other may not. Where factors have vectors of their own, such as the
    weights of norms, these say which signs are whose.
    """
    found, groups = same_units(symmetry), symmetry.scales.groups
    permuted, scaled = (places(symmetry, blocks) for blocks in (symmetry.permuted, symmetry.scaled))
    for name, own in permuted.items():
        if name in found or symmetry.permutations.groups[name].fixed:
            continue
        within = [
            scale
            for scale, others in scaled.items()
            if others < own and _shape(symmetry.scales, scale) == _shape(symmetry.permutations, name)
        ]
        if len(within) == 1 and own_vector(symmetry, within[0]) is None:
            found[name] = within[0]
    return {name: scale for name, scale in found.items() if groups[scale].negative and not groups[scale].fixed}


def same_units(symmetry: Symmetry) -> dict[str, str]:
    """For each group of permutations the group of factors that has the same units everywhere, where there is one."""
    permuted, scaled = (places(symmetry, blocks) for blocks in (symmetry.permuted, symmetry.scaled))
    return {
        name: scale
        for name, own in permuted.items()
        for scale, others in scaled.items()
        if own == others and _shape(symmetry.scales, scale) == _shape(symmetry.permutations, name)
    }


def _shape(spec: Spec, name: str) -> tuple[int, ...]:
    return *spec.copies(name), spec.groups[name].size


def permuted_units(symmetry: Symmetry) -> list[tuple[Block, tuple[str | None, ...]]]:
    """The parts of θ that permutations move, with the groups of their dimensions, see :func:`units_of`."""
    views = symmetry.layout.views(torch.empty(symmetry.layout.size, device="meta"))
    signed = signed_units(symmetry)
    scaled: dict[str, list[Block]] = {}
    for block in symmetry.scaled:
        scaled.setdefault(block.parameter, []).append(block)
    return [
        (block, units_of(block, views[block.parameter].shape, scaled.get(block.parameter, []), signed))
        for block in symmetry.permuted
    ]


def units_of(
    block: Block, shape: Sequence[int], scaled: Sequence[Block], signed: Mapping[str, str]
) -> tuple[str | None, ...]:
    """For each dimension of a block of a tensor the group whose units lie along it, marked where their signs do not.

    Args:
        block: of permutations.
        shape: of the tensor.
        scaled: the tensor's blocks of factors.
        signed: the group of factors that has the signs of a group's units, see :func:`signed_units`.
    """
    whole = torch.empty(*shape, device="meta")
    seen = {(factor.group, place(other, whole, dim)) for other in scaled for dim, factor in enumerate(other.factors)}

    def units(dim: int) -> str | None:
        name = block.factors[dim].group
        unseen = name is not None and name in signed and (signed[name], place(block, whole, dim)) not in seen
        return Unsigned(name) if unseen else name

    return tuple(map(units, range(len(block.factors))))


def as_move(symmetry: Symmetry, assignments: Assignments) -> Move:
    """Assignments as permutations and signs."""
    permutations: dict[str, Tensor] = {}
    factors: dict[str, Tensor] = {}
    scales = signed_units(symmetry)
    for name, group in symmetry.permutations.groups.items():
        if group.fixed:
            continue
        assignment = _collected(assignments, name, group.over, symmetry.permutations.groups)
        permutations[name] = torch.as_tensor(assignment[0]).cpu()
        if bool((assignment[1] != 1).any()):
            factors[scales[name]] = assignment[1].cpu()
    return Move(symmetry, permutations, factors)


def _collected(
    assignments: Assignments, name: str, over: Sequence[str], groups: Mapping[str, Group]
) -> tuple[Tensor, Tensor]:
    """A group's permutations (…, n) and signs (…, n), outer units first."""
    if not over:
        assignment = assignments.get(name) or Assignment(torch.arange(groups[name].size))
        signs = torch.ones(len(assignment.order), dtype=torch.float64) if assignment.signs is None else assignment.signs
        return assignment.order, signs
    outer = next((assignment for assignment in over if assignment in assignments), over[0])
    rest = [assignment for assignment in over if assignment != outer]
    inside = assignments[outer].inner if outer in assignments else [{}] * groups[outer].size
    each = [_collected(inner, name, rest, groups) for inner in inside]
    return torch.stack([order for order, _ in each]), torch.stack([signs for _, signs in each])


def as_assignments(symmetry: Symmetry, move: Move) -> dict[str, Assignment]:
    """The inverse of :func:`as_move`, of permutations and signs."""
    groups = Groups(symmetry.permutations.groups)
    scales = signed_units(symmetry)
    signs = {name: move.factors[scale].sign() for name, scale in scales.items() if scale in move.factors}
    return {
        name: _nested(groups, name, move.permutations, signs, ())
        for name in groups.outermost
        if _moves(groups, name, move)
    }


def _moves(groups: Groups, name: str, move: Move) -> bool:
    return name in move.permutations or bool(groups.families(name) & move.permutations.keys())


def _nested(
    groups: Groups, name: str, permutations: Mapping[str, Tensor], signs: Mapping[str, Tensor], index: tuple[int, ...]
) -> Assignment:
    size = groups.groups[name].size
    order = permutations[name][index] if name in permutations else torch.arange(size)
    within = groups.within(name)
    inner = tuple(
        {deeper: _nested(within, deeper, permutations, signs, (*index, unit)) for deeper in within.outermost}
        for unit in range(size if within.groups else 0)
    )
    return Assignment(order, signs[name][index] if name in signs else None, inner)
