"""Tensors of two networks whose units are to agree, and assignments of the units of the one to those of the other."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Protocol

import torch
from jaxtyping import Float, Float64, Int64
from torch import Tensor

from weightstring.arrays import is_finite
from weightstring.symmetry.blocks import outer_dim
from weightstring.symmetry.maps import turned
from weightstring.symmetry.spec import Group, Kind


class Unsigned(str):
    """The name of a group along a dimension on which its units have no signs: of gated units, their gates'."""

    __slots__ = ()


class Source(Protocol):
    """Tensors of two networks whose units are to agree, made when they are looked at."""

    @property
    def groups(self) -> tuple[str | None, ...]:
        """For each dimension the group whose units lie along it, or None."""

    @property
    def axes(self) -> tuple[int, ...]:
        """For each dimension the axis of the parameter to which it belongs."""

    @property
    def size(self) -> float:
        """‖A‖²."""

    def made(self, assignments: Assignments) -> Pair:
        """The tensors, the second network's with the first one's units as far as these are assigned."""


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

    @cached_property
    def size(self) -> float:
        """‖A‖²."""
        return float(self.a.square().sum())

    def made(self, assignments: Assignments) -> Pair:
        """A pair whose second tensor has the first one's units."""
        return replace(self, b=_applied(self.b, self.groups, self.axes, assignments))

    def similarity(self, dim: int) -> Float[Tensor, "n n"]:
        """⟨A_i, B_j⟩ for units i and j along a dimension, in the tensors' own precision if nothing overflows there."""
        rows = [x.movedim(dim, 0).flatten(1) if x.ndim > 1 else x.unsqueeze(1) for x in (self.a, self.b)]
        products = rows[0] @ rows[1].T
        return products if is_finite(products.view(-1)) else rows[0].double() @ rows[1].double().T

    def at(self, dim: int, i: int, j: int, families: Collection[str]) -> Pair:
        """Unit i of the one and unit j of the other, in which these families may still be assigned."""
        dims = depending(self.groups, self.axes, dim, families)
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
        turn: an orthogonal map (n, n) of all units in place of an order.
    """

    order: Int64[Tensor, " n"]
    signs: Float64[Tensor, " n"] | None = None
    inner: tuple[Mapping[str, Assignment], ...] = ()
    turn: Float64[Tensor, "n n"] | None = None

    def apply(self, tensor: Tensor, groups: Sequence[str | None], axes: Sequence[int], group: str) -> Tensor:
        """A tensor of the second network as the first one's."""
        for dim, own in enumerate(groups):
            if own != group:
                continue
            if self.turn is not None:
                tensor = turned(tensor, self.turn.to(tensor), [dim])
                continue
            tensor = tensor.index_select(dim, self.order.to(tensor.device))
            if self.signs is not None and not isinstance(own, Unsigned):
                shape = [-1 if other == dim else 1 for other in range(tensor.ndim)]
                tensor = tensor * self.signs.to(tensor).reshape(shape)
            names = {name for inner in self.inner for name in inner}
            mine = depending(groups, axes, dim, names)
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
        if self.turn is not None:
            return replace(self, turn=self.turn if first.turn is None else self.turn @ first.turn)
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


def depending(groups: Sequence[str | None], axes: Sequence[int], dim: int, families: Collection[str]) -> frozenset[int]:
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
        turned: those whose units orthogonal maps may mix, with the kind of these.
    """

    groups: Mapping[str, Group]
    signed: frozenset[str] = frozenset()
    turned: Mapping[str, Kind] = field(default_factory=dict)

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
        return Groups(inner, self.signed, self.turned)

    def families(self, name: str) -> frozenset[str]:
        """The names of a group's families."""
        return frozenset(self.within(name).groups)


def agreement(pairs: Sequence[Source], assignments: Assignments) -> float:
    """Σ ⟨A, P B⟩."""
    return sum(pair.made(assignments).value for pair in pairs)


def dims_of(pair: Source, group: str) -> list[int]:
    """The dimensions along which a group's units lie."""
    return [dim for dim, name in enumerate(pair.groups) if name == group]
