"""What an axis of a tensor is made of: terms of cells.

An axis is a product of *cells*, outer to inner, as in ``view(batch, heads, width)``. A cell is a run of coordinates
about which nothing finer is known yet; it may turn out to be a product itself, or a sum of parts one after the other.

How an inner cell is permuted may depend on the index of an outer one: the coordinates of one attention head are
permuted apart from those of another, and then heads as a whole. It is a *family* over the outer cell. Where that is cut
(queries, keys and values out of one product) each part has its own *member* of the family.

For rescaling each tie has an exponent: what is contracted with each other (a weight's columns and its inputs) scales
inversely. Permutations ignore exponents.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from itertools import accumulate
from math import prod
from typing import TypeAlias


@dataclass(eq=False)
class Cell:
    """A run of coordinates.

    Args:
        size: how many.
        fixed: whether no symmetry may move them.
        positive: whether positive factors may scale them.
        negative: whether the sign may.
        orthogonal: whether linear maps of it must keep lengths, and
        centred: the mean too, and
        apart: must leave each number to itself, as rotations of queries and keys ask.
        outers: the cells on whose index its permutation may depend, unless a tensor has it without them.
        product: the cells that it is the product of.
        parts: the cells that it is the concatenation of.
        members: for each part of a cut outer cell, that outer cell and what this one is there.
        parent: the cell it is tied to, and
        exponent: whether as itself (1) or inversely (−1).
    """

    size: int
    fixed: bool = False
    positive: bool = True
    negative: bool = True
    orthogonal: bool = False
    centred: bool = False
    apart: bool = False
    outers: set[Cell] = field(default_factory=set)
    product: Axis | None = None
    parts: tuple[Ref, ...] | None = None
    members: dict[Cell, tuple[Cell, Axis]] = field(default_factory=dict)
    parent: Cell | None = None
    exponent: int = 1

    def like(self, size: int) -> Cell:
        """A new cell as free as this one."""
        flags = self.fixed, self.positive, self.negative, self.orthogonal, self.centred, self.apart
        return Cell(size, *flags, set(self.outers))


Ref: TypeAlias = tuple[Cell, int]
"""A cell and the exponent with which its scale enters."""

Axis: TypeAlias = tuple[Ref, ...]
"""A product of cells, outer to inner; empty: an axis of length 1."""


@dataclass(frozen=True)
class Label:
    """The axes of one tensor."""

    axes: tuple[Axis, ...]

    def __len__(self) -> int:
        return len(self.axes)

    def replace(self, dim: int, *axes: Axis) -> Label:
        """The label with one axis replaced by others, or by none."""
        dim %= len(self)
        return Label((*self.axes[:dim], *axes, *self.axes[dim + 1 :]))


def find(cell: Cell, exponent: int = 1) -> Ref:
    """The cell that stands for all that are tied to it."""
    while cell.parent is not None:
        exponent *= cell.exponent
        cell = cell.parent
    return cell, exponent


def root(cell: Cell) -> Cell:
    """The same without its exponent."""
    return find(cell)[0]


def factors(axis: Axis) -> Axis:
    """An axis as a product of cells that are no products themselves, those of size 1 left out."""
    cells: list[Ref] = []
    for ref in axis:
        cell, exponent = find(*ref)
        if cell.product is not None:
            cells += factors(flipped(cell.product, exponent))
        elif cell.size > 1:
            cells.append((cell, exponent))
    return tuple(cells)


def flipped(axis: Axis, exponent: int) -> Axis:
    """The axis whose scales are those of ``axis`` to the power of ``exponent``."""
    return axis if exponent == 1 else tuple((cell, -power) for cell, power in axis)


def size_of(axis: Axis) -> int:
    """The length of an axis."""
    return prod(cell.size for cell, _ in axis)


def outers_of(cell: Cell) -> set[Cell]:
    """The cells on which a cell may depend, as far as only the cell itself tells."""
    return {root(outer) for outer in cell.outers} - {root(cell)}


def is_cell(axis: Axis, cell: Cell) -> bool:
    """Whether an axis is a cell and nothing else."""
    return [part for part, _ in factors(axis)] == [cell]


def finer(cell: Cell) -> list[Axis]:
    """The parts and members of a cell."""
    return [*((part,) for part in cell.parts or ()), *(member for _, member in cell.members.values())]


def as_cell(axis: Axis) -> Ref:
    """An axis as one cell."""
    cells = factors(axis)
    if len(cells) == 1:
        return cells[0]
    return axis[0] if len(axis) == 1 else (Cell(size_of(axis), product=axis), 1)


def allowed(axis: Axis) -> tuple[bool, bool]:
    """Whether positive factors may scale an axis, and whether signs."""
    cells = [cell for cell, _ in factors(axis)]
    return all(cell.positive for cell in cells), all(cell.negative for cell in cells)


def bounds_of(cell: Cell) -> list[int]:
    """Where the parts of a sum begin, and its length."""
    return [0, *accumulate(part.size for part, _ in cell.parts or ())]


def substituted(axis: Axis, known: Mapping[Cell, Axis]) -> Axis:
    """An axis with cells replaced by what is known of them."""
    return tuple(ref for cell, exponent in factors(axis) for ref in flipped(known.get(cell, ((cell, 1),)), exponent))


def renewed(label: Label) -> Label:
    """The label of the same tensor with freedoms of its own: its free cells are others, its fixed ones the same."""
    copies: dict[Cell, Cell] = {}

    def copied(axis: Axis) -> Axis:
        return tuple((of(cell), exponent) for cell, exponent in factors(axis)) if size_of(axis) else axis

    def of(cell: Cell) -> Cell:
        if cell.fixed:
            return cell
        if cell not in copies:
            parts = None if cell.parts is None else tuple((of(root(part)), power) for part, power in cell.parts)
            copies[cell] = replace(cell.like(cell.size), outers=set(), parts=parts, fixed=bool(cell.members))
        return copies[cell]

    return Label(tuple(map(copied, label.axes)))
