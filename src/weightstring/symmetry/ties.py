"""Tying axes: what operations say about which of them are permuted, or rescaled, together.

Operations tie cells (:meth:`Ties.same`, :meth:`Ties.inverse`), fix them (:meth:`Ties.freeze`), or need them finer: a
view splits a cell into a product (:meth:`Ties.regroup`), a slice or a concatenation makes it a sum of parts
(:meth:`Ties.sliced`, :meth:`Ties.joined`). It is unification of the terms of :mod:`weightstring.symmetry.axes`, with an
exponent for each tie.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from weightstring.symmetry.axes import (
    Axis,
    Cell,
    Label,
    Ref,
    allowed,
    as_cell,
    bounds_of,
    factors,
    find,
    finer,
    flipped,
    size_of,
)
from weightstring.symmetry.families import Families, told_apart


class Ties(Families):
    """What is known about which cells belong together.

    Args:
        rescaling: whether scales are tied; permutations otherwise.
        mixing: whether linear maps are: as scales, M where units are produced and its inverse transpose where they are
            consumed; what is its own inverse is orthogonal.
    """

    def __init__(self, rescaling: bool = False, mixing: bool = False) -> None:
        self.rescaling = rescaling or mixing
        self.mixing = mixing
        self.vectors: list[Label] = []
        self.unit: list[tuple[Label, Axis]] = []
        """Trainable vectors that multiply an axis number by number, with that axis: 1, else no linear map passes."""

    def fresh(self, size: int) -> Axis:
        """An axis about which nothing is known."""
        return ((Cell(size), 1),)

    def fixed(self, size: int) -> Axis:
        """An axis that no symmetry moves."""
        return ((Cell(size, fixed=True, positive=False, negative=False), 1),)

    def parameter(self, shape: Sequence[int]) -> Label:
        """A trainable parameter, in which each axis may depend on those before it until something says otherwise."""
        axes: list[Axis] = []
        for size in shape:
            cell = Cell(size, outers={outer for axis in axes for outer, _ in axis})
            axes.append(((cell, 1),))
        label = Label(tuple(axes))
        if len(axes) == 1:
            self.vectors.append(label)
        return label

    # Tying

    def same(self, one: Axis, other: Axis) -> None:
        """Tie two axes of one length: permuted alike, scaled alike."""
        self._tie(one, other, 1)

    def inverse(self, one: Axis, other: Axis) -> None:
        """Tie two axes that are contracted with each other: permuted alike, scaled inversely."""
        self._tie(one, other, -1)

    def freeze(self, axis: Axis) -> None:
        """Fix an axis."""
        for cell, _ in factors(axis):
            cell.fixed, cell.positive, cell.negative = True, False, False
            for part in finer(cell):
                self.freeze(part)

    def restrict(self, axis: Axis, positive: bool = False, negative: bool = False) -> None:
        """Allow an axis only positive factors, only signs, or no rescaling."""
        if self.mixing and not (positive and negative):
            positive = negative = False
        for cell, _ in factors(axis):
            cell.positive &= positive
            cell.negative &= negative
            for part in finer(cell):
                self.restrict(part, cell.positive, cell.negative)

    def bind(self, axis: Axis, orthogonal: bool = False, centred: bool = False, apart: bool = False) -> None:
        """Ask linear maps of an axis to keep lengths, the mean, or each number to itself."""
        for cell, _ in factors(axis):
            cell.orthogonal |= orthogonal
            cell.centred |= centred
            cell.apart |= apart
            for part in finer(cell):
                self.bind(part, cell.orthogonal, cell.centred, cell.apart)

    def _own_inverse(self, cell: Cell) -> None:
        """What is its own inverse: signs, and of linear maps the orthogonal ones."""
        if self.mixing:
            self.bind(((cell, 1),), orthogonal=True)
        else:
            self.restrict(((cell, 1),), negative=True)

    def _tie(self, one: Axis, other: Axis, exponent: int) -> None:
        ahead, behind = factors(one), factors(other)
        while ahead and behind:
            (x, _), (y, _) = ahead[0], behind[0]
            if x.size == y.size:
                self._merge(ahead[0], behind[0], exponent)
                ahead, behind = ahead[1:], behind[1:]
            elif x.size % y.size == 0:
                ahead = (*self._halves(ahead[0], y.size), *ahead[1:])
            elif y.size % x.size == 0:
                behind = (*self._halves(behind[0], x.size), *behind[1:])
            else:
                self.freeze(ahead)
                self.freeze(behind)
                return
            ahead, behind = factors(ahead), factors(behind)  # what was done may have made others finer

    def _merge(self, one: Ref, other: Ref, exponent: int) -> None:
        (x, from_x), (y, from_y) = find(*one), find(*other)
        exponent *= from_x * from_y
        if x is y:
            if exponent == -1:
                self._own_inverse(x)
            return
        if x.fixed or y.fixed:
            # Two fixed axes need not be the same one: what depends on the index of the one may not on the other's.
            self.freeze(((x, 1), (y, 1)))
            return
        if x.parts is not None and y.parts is not None:
            self._align(x, y, exponent)
        if y.parts is None and x.parts is not None:
            x, y = y, x
        members, x.members = x.members, {}
        x.parent, x.exponent = y, exponent
        y.outers |= x.outers
        y.members, inverted = told_apart(y, y.members, 1)
        members, too = told_apart(y, members, exponent)
        for part, (outer, member) in members.items():
            self.admit(y, part, outer, member)
        if inverted or too:
            self._own_inverse(y)
        self.restrict(((y, 1),), x.positive, x.negative)
        self.bind(((y, 1),), x.orthogonal, x.centred, x.apart)

    def _align(self, x: Cell, y: Cell, exponent: int) -> None:
        """Cut two sums at each other's bounds and tie their parts."""
        self._refine(x, bounds_of(y))
        self._refine(y, bounds_of(x))
        if bounds_of(x) != bounds_of(y):  # parts that could not be cut
            self.freeze(((x, 1), (y, 1)))
            x.parts = y.parts = None
            return
        for one, other in zip(x.parts or (), y.parts or (), strict=True):
            if one[0].size == 1:  # an index, which members go by
                self._merge(one, other, exponent)
            self._tie((one,), (other,), exponent)

    # Products

    def split(self, axis: Axis, outer: int) -> tuple[Axis, Axis]:
        """An axis as the product of one of length ``outer`` and the rest."""
        first, second = self.regroup([axis], [outer, size_of(axis) // outer])
        return first, second

    def regroup(self, axes: Sequence[Axis], sizes: Sequence[int]) -> list[Axis]:
        """The axes of a view: the same coordinates in the same order, in other dimensions."""
        ahead = factors(tuple(ref for axis in axes for ref in axis))
        regrouped: list[Axis] = []
        for size in sizes:
            taken: list[Ref] = []
            while size > 1:
                width = ahead[0][0].size if ahead else 0
                if width and size % width == 0:
                    taken.append(ahead[0])
                    ahead, size = ahead[1:], size // width
                elif width % size == 0 and width:
                    ahead = factors((*self._halves(ahead[0], size), *ahead[1:]))
                else:
                    for axis in axes:
                        self.freeze(axis)
                    return [self.fixed(size) for size in sizes]
            regrouped.append(tuple(taken))
        return regrouped

    def _halves(self, ref: Ref, outer: int) -> Axis:
        """A cell as a product of ``outer`` and the rest."""
        cell, exponent = find(*ref)
        slow, fast = cell.like(outer), cell.like(cell.size // outer)
        fast.outers.add(slow)
        if cell.parts is not None:
            self._distribute(cell, slow, fast)
        for part, (above, member) in cell.members.items():
            ahead, behind = self.split(member, outer)
            self.admit(slow, part, above, ahead)
            self.admit(fast, part, above, behind)
        cell.parts, cell.members = None, {}
        cell.product = ((slow, 1), (fast, 1))
        return flipped(cell.product, exponent)

    def _distribute(self, cell: Cell, slow: Cell, fast: Cell) -> None:
        """Give the factors of a sum the sum's parts."""
        bounds = bounds_of(cell)
        if any(bound % fast.size for bound in bounds):
            self.freeze(((cell, 1), (slow, 1), (fast, 1)))
            return
        self._refine(slow, [bound // fast.size for bound in bounds])
        for part, share in zip(cell.parts or (), slow.parts or (), strict=True):
            ahead, behind = self.split((part,), share[0].size)
            self._tie((share,), ahead, 1)
            self.admit(fast, share[0], slow, behind)

    # Sums

    def joined(self, axes: Sequence[Axis]) -> Axis:
        """The axis of a concatenation."""
        if len(axes) == 1:
            return axes[0]
        parts = tuple(map(as_cell, axes))
        return ((Cell(sum(cell.size for cell, _ in parts), parts=parts), 1),)

    def run(self, label: Label, dim: int, start: int, stop: int) -> Label:
        """A tensor with indices ``start`` to ``stop`` of one dimension."""
        bounds = sorted({0, start, stop, size_of(label.axes[dim])})
        index = bounds.index(start)
        return self.sliced(label, dim, bounds, range(index, index + 1))[0]

    def sliced(self, label: Label, dim: int, bounds: Sequence[int], wanted: range | None = None) -> list[Label]:
        """The labels of the (wanted) pieces of a tensor cut along a dimension at ``bounds``, its ends among them."""
        axis = factors(label.axes[dim])
        widths = [after - before for before, after in pairwise(bounds)]
        wanted = wanted or range(len(widths))
        if len(widths) == 1:
            return [label]
        inner = size_of(axis[1:])
        if not axis or any(bound % inner for bound in bounds):
            self.freeze(axis)
            return [label.replace(dim, self.fixed(widths[index])) for index in wanted]
        outer, exponent = axis[0]
        whole = label.replace(dim, axis[1:])
        labels = []
        pieces = self._pieces(outer, [bound // inner for bound in bounds])
        for piece in (pieces[index] for index in wanted):
            rest = self.at(whole, outer, piece)
            front = flipped(self.joined([(part,) for part in piece]), exponent)
            labels.append(rest.replace(dim, (*front, *rest.axes[dim])))
        return labels

    def family(self, axes: Sequence[Axis]) -> tuple[Axis, Axis]:
        """Tensors side by side along a new dimension: what another axis is by index of it, and that dimension.

        The new dimension is empty where nothing depends on it.
        """
        if len(axes) == 1:
            return (), axes[0]
        if all(factors(axis) == factors(axes[0]) for axis in axes):
            return (), axes[0]
        parts = tuple((Cell(1), 1) for _ in axes)
        outer = Cell(len(axes), parts=parts)
        inner = Cell(size_of(axes[0]), outers={outer})
        for (part, _), axis in zip(parts, axes, strict=True):
            inner.members[part] = (outer, axis)
        self.restrict(((inner, 1),), *(all(flags) for flags in zip(*map(allowed, axes), strict=True)))
        return ((outer, 1),), ((inner, 1),)

    def _pieces(self, cell: Cell, bounds: Sequence[int]) -> list[list[Ref]]:
        """The parts of a cell between each two bounds."""
        self._refine(cell, bounds)
        pieces: list[list[Ref]] = [[] for _ in bounds[1:]]
        for start, part in zip(bounds_of(cell), cell.parts or (), strict=False):
            pieces[sum(bound <= start for bound in bounds[1:])].append(part)
        return pieces

    def _refine(self, cell: Cell, bounds: Sequence[int]) -> None:
        """Cut a cell that is no product at least at these bounds, in its parts where they can be cut."""
        if cell.parts is None:
            cuts = sorted({0, *bounds, cell.size})
            cell.parts = tuple((cell.like(after - before), 1) for before, after in pairwise(cuts))
            for key, (outer, member) in cell.members.items():
                pieces = self.sliced(Label((member,)), 0, cuts)
                for (part, _), piece in zip(cell.parts, pieces, strict=True):
                    self.admit(part, key, outer, piece.axes[0])
            cell.members = {}
            return
        parts: list[Ref] = []
        for start, whole in zip(bounds_of(cell), cell.parts, strict=False):
            inside = [bound - start for bound in bounds if start < bound < start + whole[0].size]
            cut = self.sliced(Label(((whole,),)), 0, sorted({0, *inside, whole[0].size}))
            parts += [whole] if not inside else [as_cell(cut_piece.axes[0]) for cut_piece in cut]
        cell.parts = tuple(parts)
