"""Which unit of one network is which of another: linear assignments, one group at a time.

Both weight matching (Ainsworth et al. 2022) and activation matching (Li et al. 2015) look for permutations P_1 … P_L
that make Σ ⟨A, P B⟩ over some pairs of tensors as large as possible: the parameters themselves, or the activations of
their units. With all groups but one held, the best permutation of that one is a linear assignment, found exactly. Over
all it is a hard problem; coordinate ascent finds a local maximum, from several starts.

A group with families (heads, with coordinates of their own each) is assigned as a whole: for each pair of outer units
the inner ones are matched first, and what they reach is the worth of that pair.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from jaxtyping import Float64, Int64
from scipy.optimize import linear_sum_assignment
from torch import Tensor

from weightstring.symmetry.blocks import outer_dim
from weightstring.symmetry.spec import Group

SWEEPS = 100
"""Rounds over all groups after which coordinate ascent stops in any case; a few are usual."""

GAIN = 1e-6
"""Relative gain below which a new assignment is not worth another sweep."""


@dataclass(frozen=True, eq=False)
class Pair:
    """Tensors of two networks whose units are to agree.

    Args:
        a: the first network's.
        b: the second network's, in the same shape.
        groups: for each dimension the group whose units lie along it, or None.
        axes: for each dimension the axis of the parameter to which it belongs.
    """

    a: Tensor
    b: Tensor
    groups: tuple[str | None, ...]
    axes: tuple[int, ...]

    @property
    def value(self) -> float:
        """⟨A, B⟩."""
        return float(torch.dot(self.a.reshape(-1), self.b.reshape(-1)))

    def dims(self, group: str) -> list[int]:
        """The dimensions along which a group's units lie."""
        return [dim for dim, name in enumerate(self.groups) if name == group]

    def similarity(self, dim: int) -> Float64[Tensor, "n n"]:
        """⟨A_i, B_j⟩ for units i and j along a dimension."""
        rows = [x.movedim(dim, 0).flatten(1) if x.ndim > 1 else x.unsqueeze(1) for x in (self.a, self.b)]
        products = (rows[0] @ rows[1].T).to(torch.float64)
        return products if bool(products.isfinite().all()) else rows[0].double() @ rows[1].double().T

    def at(self, dim: int, i: int, j: int, families: Collection[str]) -> Pair:
        """Unit i of the one and unit j of the other, in which these families may still be assigned."""
        dims = _depending(self.groups, self.axes, dim, families)
        groups = [group if index in dims else None for index, group in enumerate(self.groups)]
        del groups[dim]
        axes = (*self.axes[:dim], *self.axes[dim + 1 :])
        return Pair(self.a.select(dim, i), self.b.select(dim, j), tuple(groups), axes)


@dataclass(frozen=True, eq=False)
class Assignment:
    """How one group's units are assigned.

    Args:
        order: unit i of the first network is unit ``order[i]`` of the second.
        signs: ±1 for each; None: all 1.
        inner: for each unit, the assignments of its families.
    """

    order: Int64[Tensor, " n"]
    signs: Float64[Tensor, " n"] | None = None
    inner: tuple[Mapping[str, Assignment], ...] = ()

    def apply(self, tensor: Tensor, groups: Sequence[str | None], axes: Sequence[int], group: str) -> Tensor:
        """A tensor of the second network as the first one's."""
        for dim, own in enumerate(groups):
            if own != group:
                continue
            tensor = tensor.index_select(dim, self.order)
            if self.signs is not None:
                shape = [-1 if other == dim else 1 for other in range(tensor.ndim)]
                tensor = tensor * self.signs.to(tensor).reshape(shape)
            names = {name for inner in self.inner for name in inner}
            mine = _depending(groups, axes, dim, names)
            if mine:
                rest = [name if index in mine else None for index, name in enumerate(groups)]
                places = list(axes)
                del rest[dim], places[dim]
                slices = [
                    _applied(part, rest, places, inner)
                    for part, inner in zip(tensor.unbind(dim), self.inner, strict=True)
                ]
                tensor = torch.stack(slices, dim)
        return tensor

    def after(self, first: Assignment | None) -> Assignment:
        """The assignment that does ``first`` and then this one."""
        if first is None:
            return self
        signs = self.signs
        if first.signs is not None:
            earlier = first.signs[self.order]
            signs = earlier if signs is None else earlier * signs
        inner = tuple(
            {name: nested[name].after(first.inner[j].get(name) if first.inner else None) for name in nested}
            for nested, j in zip(self.inner, self.order.tolist(), strict=bool(self.inner))
        )
        return Assignment(first.order[self.order], signs, inner)


Assignments = Mapping[str, Assignment]


def _applied(tensor: Tensor, groups: Sequence[str | None], axes: Sequence[int], assignments: Assignments) -> Tensor:
    for name, assignment in assignments.items():
        tensor = assignment.apply(tensor, groups, axes, name)
    return tensor


def _depending(
    groups: Sequence[str | None], axes: Sequence[int], dim: int, families: Collection[str]
) -> frozenset[int]:
    """The dimensions of these families whose assignment depends on the index along ``dim``."""
    outer = groups[dim]
    assert outer is not None
    return frozenset(
        index
        for index, group in enumerate(groups)
        if group in families and outer_dim(groups, axes, index, outer) == dim
    )


@dataclass(frozen=True)
class Groups:
    """What may be assigned.

    Args:
        groups: by name, families among them.
        signed: those whose units' signs may change.
    """

    groups: Mapping[str, Group]
    signed: frozenset[str] = frozenset()

    @property
    def outermost(self) -> list[str]:
        """The groups that are over no other."""
        return [name for name, group in self.groups.items() if not group.over]

    def within(self, name: str) -> Groups:
        """The families of a group, as they are for one of its units."""
        inner = {
            other: replace(group, over=tuple(outer for outer in group.over if outer != name))
            for other, group in self.groups.items()
            if name in group.over
        }
        return Groups(inner, self.signed)

    def families(self, name: str) -> frozenset[str]:
        """The names of a group's families."""
        return frozenset(self.within(name).groups)


def match(
    pairs: Sequence[Pair],
    groups: Groups,
    orders: Sequence[Sequence[int]] = (),
    *,
    settled: bool = True,
    given: Assignments | None = None,
) -> Assignments:
    """Assign every group's units by coordinate ascent.

    Args:
        pairs: whose agreement Σ⟨A, B⟩ is to be as large as possible.
        groups: what may be assigned.
        orders: for each sweep, in which order the outermost groups take their turns; then again from the first.
        settled: begin with each group matched by what is already known (inputs and outputs first); otherwise with all
            units as they are.
        given: outermost groups that are assigned already, and stay so.

    Returns:
        The assignment of each outermost group, those given among them; a group that no pair has stays as it is.
    """
    assignments = dict(given or {})
    now = [assigned(pair, assignments) for pair in pairs]
    seen = {name for pair in pairs for name in pair.groups}
    names = [name for name in groups.outermost if name not in assignments and (groups.families(name) | {name}) & seen]
    if settled:
        _settle(now, groups, assignments, names)
    for sweep in range(SWEEPS):
        order = [names[i] for i in orders[sweep % len(orders)] if i < len(names)] if orders else names
        moved = [_improve(now, groups, name, assignments) for name in order]
        if not any(moved):
            break
    return assignments


def agreement(pairs: Sequence[Pair], assignments: Assignments) -> float:
    """Σ ⟨A, P B⟩."""
    return sum(assigned(pair, assignments).value for pair in pairs)


def assigned(pair: Pair, assignments: Assignments) -> Pair:
    """A pair whose second tensor has the first one's units."""
    return replace(pair, b=_applied(pair.b, pair.groups, pair.axes, assignments))


def _settle(now: list[Pair], groups: Groups, assignments: dict[str, Assignment], names: Sequence[str]) -> None:
    """Match the group of which most is known, then the next, by pairs in which nothing else is still open."""
    open_names = list(names)
    while open_names:
        known = {pairs for name in assignments for pairs in (name, *groups.families(name))}
        usable = {name: _usable(now, groups, name, known) for name in open_names}
        shares = {name: _share(now, usable[name], name) for name in open_names}
        name = max(open_names, key=shares.__getitem__)
        pairs = usable[name] or [pair for pair in now if name in pair.groups]
        _take(now, name, _best(pairs, groups, name), assignments)
        open_names.remove(name)


def _usable(now: Sequence[Pair], groups: Groups, name: str, known: Collection[str]) -> list[Pair]:
    allowed = {None, name, *groups.families(name), *known}
    return [pair for pair in now if len(pair.dims(name)) == 1 and set(pair.groups) <= allowed]


def _share(now: Sequence[Pair], usable: Sequence[Pair], name: str) -> float:
    whole = sum(float(pair.a.square().sum()) for pair in now if name in pair.groups)
    return sum(float(pair.a.square().sum()) for pair in usable) / whole if whole else 0.0


def _improve(now: list[Pair], groups: Groups, name: str, assignments: dict[str, Assignment]) -> bool:
    """Give one group the best assignment with all others held; whether that is better than what it has."""
    pairs = [pair for pair in now if name in pair.groups]
    if not pairs:
        return False
    best = _best(pairs, groups, name)
    before = sum(pair.value for pair in pairs)
    after = agreement(pairs, {name: best})
    scale = sum(float(pair.a.norm() * pair.b.norm()) for pair in pairs)
    if not after > before + GAIN * scale:
        return False
    _take(now, name, best, assignments)
    return True


def _take(now: list[Pair], name: str, assignment: Assignment, assignments: dict[str, Assignment]) -> None:
    now[:] = [assigned(pair, {name: assignment}) if name in pair.groups else pair for pair in now]
    assignments[name] = assignment.after(assignments.get(name))


def _best(pairs: Sequence[Pair], groups: Groups, name: str) -> Assignment:
    """The best assignment of one group's units; of a group that two dimensions share, to first order."""
    inner = groups.within(name)
    families = inner.groups.keys()
    places = [(pair, dim) for pair in pairs for dim in pair.dims(name)]
    nested = [(pair, dim) for pair, dim in places if _depending(pair.groups, pair.axes, dim, families)]
    size, fixed = groups.groups[name].size, groups.groups[name].fixed
    worth = torch.zeros(size, size, dtype=torch.float64)
    for pair, dim in places:
        if not _depending(pair.groups, pair.axes, dim, families):
            worth = worth + pair.similarity(dim)
    if not nested:
        return _assign(worth, name in groups.signed)
    matched: dict[tuple[int, int], Assignments] = {}
    for i in range(size):
        for j in [i] if fixed else range(size):
            parts = [pair.at(dim, i, j, families) for pair, dim in nested]
            matched[i, j] = match(parts, inner)
            worth[i, j] += agreement(parts, matched[i, j])
    order = torch.arange(size) if fixed else _assign(worth, False).order
    return Assignment(order, None, tuple(matched[i, j] for i, j in enumerate(order.tolist())))


def _assign(similarity: Float64[Tensor, "n n"], signed: bool) -> Assignment:
    """The permutation of the largest total similarity; signs too where these may change."""
    worth = similarity.abs() if signed else similarity
    _, columns = linear_sum_assignment(worth.cpu().numpy(), maximize=True)
    order = torch.as_tensor(columns, device=similarity.device)
    if not signed:
        return Assignment(order)
    signs = similarity.gather(1, order.unsqueeze(1)).squeeze(1).sign()
    return Assignment(order, torch.where(signs == 0, torch.ones_like(signs), signs))
