"""Units matched by weights where linear maps may mix them: an orthogonal map in place of an assignment (Procrustes).

In balanced gauges (:mod:`weightstring.symmetry.gauges`) all linear maps that are left are orthogonal. The one that
makes Σ ⟨A, R B⟩ largest is the polar factor of the very matrix of similarities by which permutations are assigned, so
that streams, heads and units take turns in one coordinate ascent. Heads are assigned by what the best map within each
pair of them reaches.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import torch
from torch import Tensor

from weightstring.arrays import Theta
from weightstring.symmetry.assignments import as_move
from weightstring.symmetry.gauges import foldable, gauged, nearest_maps
from weightstring.symmetry.moves import Move
from weightstring.symmetry.pairs import Assignments, Groups
from weightstring.symmetry.places import places
from weightstring.symmetry.rescaling import Scaled
from weightstring.symmetry.spec import Spec, Symmetry, Term
from weightstring.symmetry.weights import by_weights, compared

MAPPED = "mapped: "
"""Before the names of groups that linear maps mix and nothing permutes."""


def by_turns(symmetry: Symmetry, a: Theta, b: Theta, signed: frozenset[str], restarts: int, seed: int) -> Move | None:
    """Permutations and linear maps that bring ``b`` near ``a``; None: there is nothing to mix.

    Args:
        symmetry: of both models.
        a: the model to come near to (P,).
        b: the other (P,).
        signed: groups of permutations whose signs may change too.
        restarts: how often coordinate ascent starts.
        seed: of its orders.
    """
    symmetry = foldable(symmetry, a, b)
    free = [name for name, group in symmetry.maps.groups.items() if not group.fixed]
    if not free:
        return None
    matched, mixed = joined(symmetry)
    kinds = {name: symmetry.maps.groups[own].kind for name, own in mixed.items()}
    groups = Groups(matched.permutations.groups, signed, kinds)
    ours, theirs = gauged(symmetry, a), gauged(symmetry, b)
    one, other = (Scaled(symmetry, own.theta, {}) for own in (ours, theirs))
    unit = symmetry.maps.unit
    pairs = [pair for pair in compared(matched, one, other) if pair.block.parameter not in unit]
    assignments = by_weights(pairs, groups, restarts, seed)
    views = symmetry.layout.views(a)
    move = replace(as_move(symmetry, assignments), unfolded={name: views[name].clone() for name in unit})
    theirs = gauged(symmetry, Move(symmetry, move.permutations)(b))  # its heads in the order of the first one's
    maps: dict[str, Tensor] = {}
    for name, own in mixed.items():
        turn = _turn(assignments, name, groups)
        maps[own] = torch.linalg.inv(ours.maps[own]) @ turn @ theirs.maps[own] if own in ours.maps else turn
    move = replace(move, maps=maps)
    rest = [name for name in free if name not in maps]
    return replace(move, maps={**maps, **nearest_maps(symmetry, a, move(b), rest)}) if rest else move


def joined(symmetry: Symmetry) -> tuple[Symmetry, dict[str, str]]:
    """A symmetry whose permutations have the groups of linear maps as well, and which each of these is.

    Widths that rotations tell apart are no group of permutations. They become one, so that heads can be matched by the
    best maps within; where they are not the same family in all parameters, they are left out.
    """
    found, permutations = mixed_units(symmetry), symmetry.permutations
    extra = {name for name, group in symmetry.maps.groups.items() if not group.fixed} - set(found.values())
    over: dict[str, set[tuple[str, ...]]] = {name: set() for name in extra}
    axes = {
        parameter: tuple(
            _both(symmetry, term, other, over)
            for term, other in zip(terms, symmetry.maps.axes.get(parameter, terms), strict=True)
        )
        for parameter, terms in permutations.axes.items()
    }
    if not extra or any(len(outers) != 1 for outers in over.values()):
        return symmetry, found
    groups = dict(permutations.groups)
    for name, (outers,) in over.items():
        groups[MAPPED + name] = replace(symmetry.maps.groups[name], name=MAPPED + name, over=outers)
    whole = replace(symmetry, permutations=Spec(groups, axes))
    return whole, found | {MAPPED + name: name for name in extra}


def _both(symmetry: Symmetry, term: Term, other: Term, over: Mapping[str, set[tuple[str, ...]]]) -> Term:
    """A product with the groups that are permuted, and those that are mixed only: it is noted over which."""
    ahead, behind = _factors(term, symmetry.permutations), _factors(other, symmetry.maps)
    if not ahead or [size for _, size in ahead] != [size for _, size in behind]:
        return term
    merged: list[Term] = []
    for (name, size), (own, _) in zip(ahead, behind, strict=True):
        if name is None and own is not None and own in over:
            outers = symmetry.maps.groups[own].over
            theirs = {outer: mine for (mine, _), (outer, _) in zip(ahead, behind, strict=True)}
            over[own].add(tuple(theirs.get(outer) or "" for outer in outers))
            merged.append(MAPPED + own)
        else:
            merged.append(name or size)
    return tuple(merged)


def _factors(term: Term, spec: Spec) -> list[tuple[str | None, int]]:
    """The names and lengths of a product's factors; none of what is no product of groups and numbers."""
    named = term if isinstance(term, tuple) else (term,)
    if not all(isinstance(part, str | int) for part in named):
        return []
    bare = [part if isinstance(part, int) else part.removeprefix("1/") for part in named]
    return [(None, part) if isinstance(part, int) else (part, spec.groups[part].size) for part in bare]


def mixed_units(symmetry: Symmetry) -> dict[str, str]:
    """For each group of permutations the group of linear maps that has the same units, but for what must be 1."""
    permuted, mapped = (places(symmetry, blocks) for blocks in (symmetry.permuted, symmetry.mapped))
    found: dict[str, str] = {}
    for name, own_places in permuted.items():
        bare = {place for place in own_places if place[0] not in symmetry.maps.unit}
        over = symmetry.permutations.copies(name)
        for own, others in mapped.items():
            free = not (symmetry.permutations.groups[name].fixed or symmetry.maps.groups[own].fixed)
            if free and others == bare and symmetry.maps.copies(own) == over:
                found[name] = own
    return found


def _turn(assignments: Assignments, name: str, groups: Groups) -> Tensor:
    """A group's maps (…, n, n), outer units first."""
    own = groups.groups[name]
    if not own.over:
        turn = assignments[name].turn if name in assignments else None
        return torch.eye(own.size, dtype=torch.float64) if turn is None else turn
    outer = next((each for each in own.over if each in assignments), own.over[0])
    within = groups.within(outer)
    inner = assignments[outer].inner if outer in assignments else ()
    each = inner or tuple({} for _ in range(groups.groups[outer].size))
    return torch.stack([_turn(nested, name, within) for nested in each])
