"""Parameters cut into products of groups."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True)
class Factor:
    """One dimension of a block.

    Args:
        group: whose units lie along it; None: nothing that moves.
        axis: of the parameter, to which it belongs.
        exponent: 1 where the units are produced, −1 where they are consumed.
    """

    group: str | None
    axis: int
    exponent: int = 1


@dataclass(frozen=True)
class Block:
    """A part of a parameter that is a product of groups.

    Args:
        parameter: its name.
        cuts: how to get there from the parameter: ``(dim, sizes)`` unflattens, ``(dim, start, length)`` narrows.
        factors: what each dimension then is.
    """

    parameter: str
    cuts: tuple[tuple[int, tuple[int, ...]] | tuple[int, int, int], ...]
    factors: tuple[Factor, ...]

    def view(self, tensor: Tensor) -> Tensor:
        """The block of a parameter, a view."""
        for cut in self.cuts:
            tensor = tensor.narrow(*cut) if len(cut) == 3 else _unflattened(tensor, *cut)
        return tensor

    def dims(self, group: str) -> list[int]:
        """The dimensions along which the block has a group's units."""
        return [dim for dim, factor in enumerate(self.factors) if factor.group == group]

    def outer_dim(self, dim: int, outer: str) -> int | None:
        """The dimension whose index says which permutation a family has along ``dim``; None: there is not one.

        That of its own axis, as in a product; else the only one there is.
        """
        return outer_dim(
            [factor.group for factor in self.factors], [factor.axis for factor in self.factors], dim, outer
        )

    @property
    def groups(self) -> frozenset[str]:
        """The groups that the block has."""
        return frozenset(factor.group for factor in self.factors if factor.group is not None)


def _unflattened(tensor: Tensor, dim: int, sizes: tuple[int, ...]) -> Tensor:
    return tensor.view(*tensor.shape[:dim], *sizes, *tensor.shape[dim + 1 :])


def outer_dim(groups: Sequence[str | None], axes: Sequence[int], dim: int, outer: str) -> int | None:
    """Of dimensions with these groups and axes, that on whose index a family along ``dim`` depends: see Block."""
    all_of_it = [index for index, group in enumerate(groups) if group == outer]
    same_axis = [index for index in all_of_it if axes[index] == axes[dim]]
    before = [index for index in same_axis if index < dim]
    if same_axis:
        return before[-1] if before else same_axis[0]
    return all_of_it[0] if len(all_of_it) == 1 else None
