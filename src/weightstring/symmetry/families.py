"""Families: cells whose permutation depends on the index of an outer cell.

Where the outer cell is cut, the family has a member in each part, which is an axis of its own.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence

from weightstring.symmetry.axes import Axis, Cell, Label, Ref, factors, flipped, is_cell, outers_of, root, substituted


class Families(ABC):
    """What cells are by the index of others."""

    @abstractmethod
    def same(self, one: Axis, other: Axis) -> None:
        """Tie two axes of one length: permuted alike, scaled alike."""

    @abstractmethod
    def joined(self, axes: Sequence[Axis]) -> Axis:
        """The axis of a concatenation."""

    def at(self, label: Label, outer: Cell, piece: Sequence[Ref]) -> Label:
        """A tensor's other axes where the index of a cut cell lies in these parts of it."""
        known: dict[Cell, Axis] = {}
        for part, _ in piece:
            for cell in [cell for axis in label.axes for cell, _ in factors(axis) if outer in outers_of(cell)]:
                member = self.member(cell, root(part), outer, known)
                self.same(known.setdefault(cell, member), member)  # one name for what several parts are
        return Label(tuple(substituted(axis, known) for axis in label.axes))

    def push_down(self, cell: Cell) -> bool:
        """Replace a member in a part that has been cut since by those in its parts; whether there was one."""
        for key, (outer, member) in cell.members.items():
            if root(key).parts is not None:
                del cell.members[key]
                for part, _ in root(key).parts or ():
                    axis = self.members(member, root(part), root(key), {})
                    self.admit(cell, root(part), outer, axis)
                return True
        return False

    def member(self, cell: Cell, part: Cell, outer: Cell, known: Mapping[Cell, Axis]) -> Axis:
        """What a family's cell is in one part of its outer cell."""
        if cell.fixed:
            return ((cell, 1),)
        if cell.parts is not None:
            return self.joined([self.members((ref,), part, outer, known) for ref in cell.parts])
        for key, (_, member) in cell.members.items():
            if root(key) is root(part):
                return member
        fresh = cell.like(cell.size)
        others = [known.get(other, ((other, 1),)) for other in outers_of(cell) - {outer}]
        fresh.outers = {part, *(outer_cell for axis in others for outer_cell, _ in factors(axis))}
        cell.members[part] = (outer, ((fresh, 1),))
        return ((fresh, 1),)

    def members(self, axis: Axis, part: Cell, outer: Cell, known: Mapping[Cell, Axis]) -> Axis:
        """The same of each cell of an axis."""
        return tuple(
            ref for cell, exponent in factors(axis) for ref in flipped(self.member(cell, part, outer, known), exponent)
        )

    def admit(self, cell: Cell, part: Cell, outer: Cell, member: Axis) -> None:
        """Make an axis the member of a cell."""
        cell = root(cell)
        known = (
            cell.parts is not None or cell.product is not None or any(root(key) is root(part) for key in cell.members)
        )
        if known or cell.fixed:
            self.same(self.members(((cell, 1),), part, outer, {}), member)
        else:
            cell.members[part] = (outer, member)


def told_apart(
    cell: Cell, members: Mapping[Cell, tuple[Cell, Axis]], exponent: int
) -> tuple[dict[Cell, tuple[Cell, Axis]], bool]:
    """Members to the power of an exponent, without those that are the cell itself: there is nothing to tell apart.

    And whether one of these is the cell's inverse, which leaves it signs alone.
    """
    apart: dict[Cell, tuple[Cell, Axis]] = {}
    inverted = False
    for part, (outer, member) in members.items():
        axis = flipped(member, exponent)
        if is_cell(axis, cell):
            inverted |= factors(axis)[0][1] == -1
        else:
            apart[part] = outer, axis
    return apart, inverted
