"""From tied axes to a specification: which families are families, and what the groups are called."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from weightstring.symmetry.axes import Axis, Cell, Label, Ref, factors, find, flipped, outers_of, root, size_of
from weightstring.symmetry.spec import Group, Kind, Spec, Term
from weightstring.symmetry.ties import Ties


@dataclass(frozen=True)
class Mixed:
    """An operation that computes across one axis of a tensor, such as softmax."""

    axis: Axis
    label: Label


def resolve(
    ties: Ties,
    parameters: Mapping[str, Label],
    tensors: Sequence[Label],
    mixed: Sequence[Mixed],
    others: Mapping[str, Label],
) -> tuple[Spec, dict[str, tuple[Term, ...]]]:
    """The groups of a network and where its parameters have them.

    Args:
        ties: by which the labels were made.
        parameters: labels of the trainable parameters, by name, in order.
        tensors: labels of all tensors, parameters among them.
        mixed: the operations across an axis.
        others: tensors whose axes are to be named too.

    Returns:
        The specification, and the axes of the others, by name.
    """
    while _tie_false_families(ties, list(parameters.values()), tensors, mixed):
        pass
    families = _families(tensors, mixed)
    free = _freedom(ties)
    if ties.rescaling:
        for cell, outers in families.items():
            if free(cell):
                for outer in outers:
                    ties.restrict(((outer, 1),))  # the inner one's scales, a family, do for both
    names = _named(parameters, families, free)
    for cell in names:  # of two that are each over the other, one stays
        for outer in families[cell] & names.keys():
            families[outer] -= {cell}
    for cell in names:
        families[cell] = _nested(families, [outer for outer in names if outer in families[cell]])
    groups = {
        name: Group(
            name,
            cell.size,
            tuple(own for outer, (own, _) in names.items() if outer in families[cell]),
            cell.positive,
            cell.negative,
            cell.fixed or not free(cell),
            _kind(cell),
        )
        for cell, (name, _) in names.items()
    }
    axes, named = (
        {name: tuple(_term(axis, names, ties.rescaling) for axis in label.axes) for name, label in labels.items()}
        for labels in (parameters, others)
    )
    return Spec(groups, axes), named


def _freedom(ties: Ties) -> Callable[[Cell], bool]:
    """Whether a cell may move in the way that is asked about."""
    if ties.mixing:
        return lambda cell: cell.positive and (_paired(cell) or not cell.apart)
    if ties.rescaling:
        return lambda cell: cell.positive or cell.negative
    return lambda cell: not cell.fixed


def _kind(cell: Cell) -> Kind:
    """Which linear maps of a cell there are."""
    if _paired(cell):
        return "complex"
    return "centred" if cell.centred else "orthogonal" if cell.orthogonal else "general"


def _paired(cell: Cell) -> bool:
    """Whether a cell is the real and imaginary parts of complex numbers: halves that are the same and apart."""
    halves = [find(*part) for part in cell.parts or ()]
    own = halves[0][0] if halves else cell
    return len(halves) == 2 and halves[0] == halves[1] and own.apart and own.positive and not own.orthogonal


def _atoms(label: Label) -> list[set[Cell]]:
    """All cells of each axis of a tensor, those of parts and members among them."""
    atoms: list[set[Cell]] = [set() for _ in label.axes]
    everything: set[Cell] = set()
    ahead = [(dim, cell) for dim, axis in enumerate(label.axes) for cell, _ in factors(axis)]
    waiting: list[tuple[int, Cell, Axis]] = []
    while ahead:
        dim, cell = ahead.pop()
        if cell in atoms[dim]:
            continue
        # A part of length 1 is no factor of anything, but an index all the same.
        parts = {root(part) for part, _ in cell.parts or ()}
        atoms[dim] |= {cell} | {part for part in parts if part.size == 1}
        everything |= {cell} | parts
        ahead += [(dim, piece) for part in cell.parts or () for piece, _ in factors((part,))]
        waiting += [(dim, root(part), member) for part, (_, member) in cell.members.items()]
        ready = [(dim, member) for dim, part, member in waiting if part in everything]
        waiting = [(dim, part, member) for dim, part, member in waiting if part not in everything]
        ahead += [(dim, piece) for dim, member in ready for piece, _ in factors(member)]
    return atoms


def _families(tensors: Iterable[Label], mixed: Iterable[Mixed]) -> dict[Cell, set[Cell]]:
    """For each cell the outer cells on whose index its permutation may depend.

    Everywhere that index must be known: the tensor has the outer cell on the same axis, or once on another.
    """
    families: dict[Cell, set[Cell]] = {}
    for label in tensors:
        atoms = _atoms(label)
        for atom in atoms:
            for cell in atom:
                allowed = families.setdefault(cell, outers_of(cell))
                families[cell] = {
                    outer for outer in allowed if outer in atom or sum(outer in other for other in atoms) == 1
                }
    for each in mixed:
        across = {cell for cell, _ in factors(each.axis)}
        for cell in set().union(*_atoms(each.label)) - across:
            families[cell] = families.get(cell, set()) - across
    return families


def _tie_false_families(
    ties: Ties, parameters: Sequence[Label], tensors: Sequence[Label], mixed: Sequence[Mixed]
) -> bool:
    """Tie the members of a cell that is no family after all to the cell, and those of parts that are the same."""
    families = _families(tensors, mixed)
    changed = False
    for cell, outers in families.items():
        if cell.parent is not None:
            continue
        if ties.push_down(cell):
            return True
        seen: dict[Cell, Axis] = {}
        same: list[tuple[Axis, Axis]] = []
        for part, (outer, member) in list(cell.members.items()):
            apart = any(_apart(label, cell, root(outer)) for label in parameters)
            if root(outer) not in outers or apart or cell.fixed:
                same.append((member, ((cell, 1),)))
            elif root(part) in seen:
                same.append((member, seen[root(part)]))
            else:
                seen[root(part)] = member
                continue
            del cell.members[part]
        for one, other in same:
            ties.same(one, other)
            changed = True
        if changed:
            return True
    return changed


def _apart(label: Label, cell: Cell, outer: Cell) -> bool:
    """Whether a parameter has a cell without the cut cell that it depends on before it on the same axis."""
    products = [product for axis in label.axes for product in _products(axis)]
    return any(cell in product and outer not in product[: product.index(cell)] for product in products)


def _products(axis: Axis) -> list[list[Cell]]:
    """The factors of an axis, of its parts, and of what its families are in parts of others."""
    cells = [cell for cell, _ in factors(axis)]
    finer: list[Axis] = [(part,) for cell in cells for part in cell.parts or ()]
    finer += [member for cell in cells for _, member in cell.members.values()]
    return [cells, *(product for axis in finer for product in _products(axis))]


def _nested(families: Mapping[Cell, set[Cell]], outers: Sequence[Cell]) -> set[Cell]:
    """Those outer cells of a family that are nested in each other.

    Units that depend on two independent indices at once could be matched only with both; they are permuted alike for
    all indices of the one, which leaves fewer permutations.
    """
    kept: list[Cell] = []
    for outer in reversed(outers):
        if all(outer in families[other] or other in families[outer] for other in kept):
            kept.append(outer)
    return set(kept)


Names: TypeAlias = dict[Cell, tuple[str, int]]
"""What each cell is called, and the exponent with which its scale first enters."""


def _named(parameters: Mapping[str, Label], families: Mapping[Cell, set[Cell]], free: Callable[[Cell], bool]) -> Names:
    """A name for each cell that may move, by the module that first produces it, and for the outer ones of families."""
    places = [
        (ref, name.rpartition(".")[0] or name, dim)
        for name, label in parameters.items()
        for dim, axis in enumerate(label.axes)
        for ref in _leaves(axis)
    ]
    moving = {cell for (cell, _), _, _ in places if free(cell) and cell.size > 1}
    moving |= {outer for cell in moving for outer in families[cell] if outer.size > 1 and outer.parts is None}
    modules: dict[Cell, str] = {}
    for (cell, _), module, _ in sorted(places, key=lambda place: place[2] > 0):  # what produces a unit names it
        modules.setdefault(cell, module)
    names: Names = {}
    taken: dict[str, int] = {}
    for (cell, exponent), _, _ in places:
        if cell in moving and cell not in names:
            module = modules[cell]
            taken[module] = taken.get(module, 0) + 1
            names[cell] = (module if taken[module] == 1 else f"{module}#{taken[module]}", exponent)
    return names


def _leaves(axis: Axis) -> Axis:
    """The cells of an axis that have neither parts nor members."""
    leaves: list[Ref] = []
    for cell, exponent in factors(axis):
        if cell.parts is not None and not _paired(cell):
            leaves += [leaf for part in cell.parts for leaf in _leaves(flipped((part,), exponent))]
        elif cell.members:
            members = (member for _, member in cell.members.values())
            leaves += [leaf for member in members for leaf in _leaves(flipped(member, exponent))]
        else:
            leaves.append((cell, exponent))
    return tuple(leaves)


def _term(axis: Axis, names: Names, inverted: bool) -> Term:
    """An axis in the form in which it can also be written by hand."""
    ahead = factors(axis)
    terms: list[Term] = []
    for index, (cell, exponent) in enumerate(ahead):
        if cell.parts is None or not any(_over(other, cell) for other, _ in ahead[index + 1 :]):
            terms.append(_leaf(cell, exponent, names, inverted))
            continue
        # A cut cell and a family over it: behind what is outside of both, one product for each part.
        rest = ahead[index + 1 :]
        each = [(*flipped((part,), exponent), *_of_part(rest, root(part[0]))) for part in _uncut(cell)]
        parts = [_term(own, names, inverted) or size_of(own) for own in each]
        terms.append(size_of(ahead[index:]) if all(isinstance(part, int) for part in parts) else parts)
        break
    merged: list[Term] = []
    for term in terms:
        last = merged[-1] if merged else None
        if isinstance(term, int) and isinstance(last, int):
            merged[-1] = last * term
        else:
            merged.append(term)
    if all(isinstance(term, int) for term in merged):
        return None
    return merged[0] if len(merged) == 1 else tuple(merged)


def _leaf(cell: Cell, exponent: int, names: Names, inverted: bool) -> Term:
    if cell.parts is not None and not _paired(cell):
        parts: list[Term] = [_term(flipped((part,), exponent), names, inverted) or part[0].size for part in cell.parts]
        return cell.size if all(isinstance(part, int) for part in parts) else parts
    if cell not in names:
        return cell.size
    name, first = names[cell]
    return f"1/{name}" if inverted and exponent != first else name


def _over(cell: Cell, outer: Cell) -> bool:
    """Whether a cell has members in the parts of another."""
    return any(root(part) is outer for part, _ in cell.members.values())


def _uncut(cell: Cell) -> list[Ref]:
    """The parts of a sum, those that have been cut themselves replaced by theirs."""
    refs: list[Ref] = []
    for part in cell.parts or ():
        own, exponent = find(*part)
        refs += [(inner, exponent * e) for inner, e in _uncut(own)] if own.parts is not None else [part]
    return refs


def _of_part(axis: Axis, part: Cell) -> Axis:
    """An axis where the index of a cut cell lies in one part."""
    refs: list[Ref] = []
    for cell, exponent in axis:
        member = next((member for key, (_, member) in cell.members.items() if root(key) is part), ((cell, 1),))
        refs += flipped(member, exponent)
    return tuple(refs)
