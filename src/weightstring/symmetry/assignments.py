"""Assignments of units as moves of θ, and back; which units may change their signs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from weightstring.symmetry.moves import Move
from weightstring.symmetry.pairs import Assignment, Assignments, Groups
from weightstring.symmetry.spec import Group, Spec, Symmetry, Term


def signed_groups(symmetry: Symmetry) -> frozenset[str]:
    """The groups of permutations whose units' signs may change too, which is a rescaling of the very same axes."""
    return frozenset(
        name
        for name, scale in same_units(symmetry).items()
        if symmetry.scales.groups[scale].negative and not symmetry.scales.groups[scale].fixed
    )


def same_units(symmetry: Symmetry) -> dict[str, str]:
    """For each group of permutations the group of scales that has the same units everywhere, where there is one."""
    places = [_places(spec) for spec in (symmetry.permutations, symmetry.scales)]
    return {name: scale for name, place in places[0].items() for scale, other in places[1].items() if place == other}


def _places(spec: Spec) -> dict[str, frozenset[tuple[object, ...]]]:
    """Where each group occurs: parameter, axis, and way into its term."""
    places: dict[str, set[tuple[object, ...]]] = {}

    def visit(term: Term, *way: object) -> None:
        if isinstance(term, str):
            places.setdefault(term.removeprefix("1/"), set()).add(way)
        elif isinstance(term, tuple | list):
            for index, part in enumerate(term):
                visit(part, *way, index)

    for parameter, terms in spec.axes.items():
        for dim, term in enumerate(terms):
            visit(term, parameter, dim)
    return {name: frozenset(ways) for name, ways in places.items()}


def as_move(symmetry: Symmetry, assignments: Assignments) -> Move:
    """Assignments as permutations and signs."""
    permutations: dict[str, Tensor] = {}
    factors: dict[str, Tensor] = {}
    scales = same_units(symmetry)
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
    scales = same_units(symmetry)
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
