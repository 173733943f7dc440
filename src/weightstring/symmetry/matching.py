"""Which unit of one network is which of another: linear assignments, one group at a time.

Both weight matching (Ainsworth et al. 2022) and activation matching (Li et al. 2015) look for permutations P_1 … P_L
that make Σ ⟨A, P B⟩ over some pairs of tensors as large as possible: the parameters themselves, or the activations of
their units. With all groups but one held, the best permutation of that one is a linear assignment, found exactly. Over
all it is a hard problem; coordinate ascent finds a local maximum, from several starts.

A group with families (heads, with coordinates of their own each) is assigned as a whole: for each pair of outer units
the inner ones are matched first, and what they reach is the worth of that pair.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import TypeAlias

import torch
from jaxtyping import Float, Float64
from torch import Tensor

from weightstring.symmetry.maps import nearest_turn
from weightstring.symmetry.pairs import (
    Assignment,
    Assignments,
    Groups,
    Pair,
    Source,
    Unsigned,
    agreement,
    depending,
    dims_of,
)
from weightstring.symmetry.spec import Kind

SWEEPS = 100
"""Rounds over all groups after which coordinate ascent stops in any case; a few are usual."""

ROWS = 64
"""Of a matrix of similarities, how many are added at a time."""

GAIN = 1e-6
"""Relative gain below which a new assignment is not worth another sweep."""


def match(
    pairs: Sequence[Source],
    groups: Groups,
    orders: Sequence[Sequence[int]] = (),
    *,
    settled: bool = True,
    given: Assignments | None = None,
) -> Assignments:
    """Assign every group's units by coordinate ascent.

    Args:
        pairs: whose agreement Σ⟨A, B⟩ is to be as large as possible; one at a time is made.
        groups: what may be assigned.
        orders: for each sweep, in which order the outermost groups take their turns; then again from the first.
        settled: begin with each group matched by what is already known (inputs and outputs first); otherwise with all
            units as they are.
        given: outermost groups that are assigned already, and stay so.

    Returns:
        The assignment of each outermost group, those given among them; a group that no pair has stays as it is.
    """
    assignments = dict(given or {})
    seen = {name for pair in pairs for name in pair.groups}
    names = [name for name in groups.outermost if name not in assignments and (groups.families(name) | {name}) & seen]
    # Those that another assignment may be better for, now that others are assigned.
    stale = _settle(pairs, groups, assignments, names) if settled else set(names)
    for sweep in range(SWEEPS):
        order = [names[i] for i in orders[sweep % len(orders)] if i < len(names)] if orders else names
        moved = False
        for name in [name for name in order if name in stale]:
            stale.discard(name)
            if _improve(pairs, groups, name, assignments):
                moved = True
                stale |= _beside(pairs, groups, name, names)
        if not moved:
            break
    return assignments


def certain(pairs: Sequence[Source], groups: Groups) -> list[str]:
    """The outermost groups whose best assignment does not depend on any other's."""
    return [name for name in groups.outermost if not _beside(pairs, groups, name, groups.outermost)]


def _beside(pairs: Sequence[Source], groups: Groups, name: str, names: Collection[str]) -> set[str]:
    """The groups with units in the tensors that have a group's; itself where a tensor has them twice."""
    own = groups.families(name) | {name}
    beside: set[str] = set()
    for pair in pairs:
        if own & set(pair.groups):
            beside |= {other for other in names if (groups.families(other) | {other}) & set(pair.groups)} - {name}
            beside |= {name} if len(dims_of(pair, name)) > 1 else set()
    return beside


def _settle(
    pairs: Sequence[Source], groups: Groups, assignments: dict[str, Assignment], names: Sequence[str]
) -> set[str]:
    """Match the group of which most is known, then the next, by pairs in which nothing else is still open.

    Returns:
        The groups in whose pairs something was open.
    """
    open_names, unsure = list(names), set()
    while open_names:
        known = {each for name in assignments for each in (name, *groups.families(name))}
        usable = {name: _usable(pairs, groups, name, known) for name in open_names}
        shares = {name: _share(pairs, usable[name], name) for name in open_names}
        name = max(open_names, key=shares.__getitem__)
        having = [pair for pair in pairs if name in pair.groups]
        if len(usable[name]) < len(having):
            unsure.add(name)
        assignments[name] = _best(usable[name] or having, groups, name, assignments)
        open_names.remove(name)
    return unsure


def _usable(pairs: Sequence[Source], groups: Groups, name: str, known: Collection[str]) -> list[Source]:
    allowed = {None, name, *groups.families(name), *known}
    return [pair for pair in pairs if len(dims_of(pair, name)) == 1 and set(pair.groups) <= allowed]


def _share(pairs: Sequence[Source], usable: Sequence[Source], name: str) -> float:
    whole = sum(pair.size for pair in pairs if name in pair.groups)
    return sum(pair.size for pair in usable) / whole if whole else 0.0


def _improve(pairs: Sequence[Source], groups: Groups, name: str, assignments: dict[str, Assignment]) -> bool:
    """Give one group the best assignment with all others held; whether that is better than what it has."""
    own = [pair for pair in pairs if name in pair.groups]
    if not own:
        return False
    best = _best(own, groups, name, assignments)
    before = after = scale = 0.0
    for pair in (source.made(assignments) for source in own):
        before, after = before + pair.value, after + pair.made({name: best}).value
        scale += float(pair.a.norm() * pair.b.norm())
    if not after > before + GAIN * scale:
        return False
    assignments[name] = best.after(assignments.get(name))
    return True


def _best(pairs: Sequence[Source], groups: Groups, name: str, assignments: Assignments) -> Assignment:
    """The best assignment of one group's units; of a group that two dimensions share, to first order."""
    inner = groups.within(name)
    families = inner.groups.keys()
    size, fixed = groups.groups[name].size, groups.groups[name].fixed
    worth = torch.zeros(size, size, dtype=torch.float64)
    unsigned = torch.zeros_like(worth) if name in groups.signed else None
    nested: list[tuple[Pair, int]] = []
    for pair in (source.made(assignments) for source in pairs):
        for dim in dims_of(pair, name):
            if depending(pair.groups, pair.axes, dim, families):
                nested.append((pair, dim))
            else:
                sums = worth if unsigned is None or not isinstance(pair.groups[dim], Unsigned) else unsigned
                _add(sums, pair.similarity(dim).cpu())
    if not nested:
        return _assign(worth, unsigned, groups.turned.get(name))
    apart = _apart(nested, inner)
    matched: list[dict[int, Assignments]] = []
    for i in range(size):
        others = [i] if fixed else list(range(size))
        if apart is None:
            parts = {j: [pair.at(dim, i, j, families) for pair, dim in nested] for j in others}
            matched.append({j: match(parts[j], inner) for j in others})
            reached = [agreement(parts[j], matched[i][j]) for j in others]
        else:
            each, reached = _inner(apart, inner, i, others)
            matched.append(dict(zip(others, each, strict=True)))
        worth[i, others] += torch.tensor(reached, dtype=torch.float64, device=worth.device)
    order = torch.arange(size) if fixed else _assign(worth).order
    return Assignment(order, None, tuple(matched[i][j] for i, j in enumerate(order.tolist())))


def _add(sums: Float64[Tensor, "n n"], products: Float[Tensor, "n n"]) -> None:
    """Add products, some rows at a time: PyTorch copies what is of another precision before it adds it."""
    for own, rows in zip(torch.split(sums, ROWS), torch.split(products, ROWS), strict=True):
        own += rows


Apart: TypeAlias = dict[str, list[tuple[Tensor, Tensor]]]
"""For each family the tensors of both networks that have it, as (outer units, its units, all else)."""


def _apart(nested: Sequence[tuple[Pair, int]], inner: Groups) -> Apart | None:
    """The families of a group by themselves, where no tensor has several: then all are assigned at once."""
    apart: Apart = {}
    for pair, dim in nested:
        places = depending(pair.groups, pair.axes, dim, inner.groups.keys())
        names = [pair.groups[place] for place in places]
        if len(names) != 1 or names[0] is None or inner.families(names[0]) or inner.groups[names[0]].fixed:
            return None
        if isinstance(names[0], Unsigned):
            return None
        ahead = [x.movedim((dim, *places), (0, 1)) for x in (pair.a, pair.b)]
        a, b = (x.reshape(*x.shape[:2], -1) for x in ahead)
        apart.setdefault(names[0], []).append((a, b))
    return apart


def _inner(apart: Apart, inner: Groups, i: int, others: Sequence[int]) -> tuple[list[Assignments], list[float]]:
    """The best assignments within unit i of the one network and others of the other, and what they reach."""
    matched: list[dict[str, Assignment]] = [{} for _ in others]
    reached = [0.0] * len(others)
    for name, tensors in apart.items():
        products = torch.stack([_products(a[i], b[others]) for a, b in tensors]).sum(0)
        for index, each in enumerate(products):
            unsigned = torch.zeros((), dtype=torch.float64) if name in inner.signed else None
            found = matched[index][name] = _assign(each.clone(), unsigned, inner.turned.get(name))
            if found.turn is not None:
                reached[index] += float((each * found.turn).sum())
                continue
            best = each.gather(1, found.order.unsqueeze(1))
            reached[index] += float(best.sum() if found.signs is None else best.abs().sum())
    return list(matched), reached


def _products(a: Float[Tensor, "m K"], b: Float[Tensor, "J m K"]) -> Float64[Tensor, "J m m"]:
    """⟨a_k, b_jl⟩ in float64, computed in the tensors' own precision if nothing overflows there."""

    def product(x: Tensor, y: Tensor) -> Tensor:
        return (x @ y.flatten(0, 1).T).view(len(x), len(y), -1).movedim(1, 0).to(torch.float64)

    found = product(a, b)
    return found if bool(found.isfinite().all()) else product(a.double(), b.double())


def _assign(
    similarity: Float64[Tensor, "n n"], unsigned: Float64[Tensor, ...] | None = None, kind: Kind | None = None
) -> Assignment:
    """The permutation of the largest total similarity, which is used up.

    Where signs may change, with what does not change by them beside it: signs too, of the largest Σ |similarity| +
    unsigned. Of a kind of linear maps, the orthogonal one: it is to all of these what an assignment is to permutations.
    """
    if kind is not None:
        return Assignment(torch.arange(len(similarity)), turn=nearest_turn(kind, similarity))
    from scipy.optimize import linear_sum_assignment  # takes .3 seconds to import

    negative = similarity < 0
    worth = similarity if unsigned is None else similarity.abs_().add_(unsigned)
    _, columns = linear_sum_assignment(worth.neg_().cpu().numpy())
    order = torch.as_tensor(columns, device=similarity.device)
    if unsigned is None:
        return Assignment(order)
    return Assignment(order, torch.where(negative.gather(1, order.unsqueeze(1)).squeeze(1), -1.0, 1.0).to(similarity))
