"""What may be permuted or rescaled: groups of units, and where each parameter has them.

A specification can be found (:mod:`weightstring.symmetry.finding`) or written by hand; both have the same form. Each
axis of a parameter is a *term*:

- ``None``: fixed; an ``int``: fixed, of that length;
- ``"name"``: the units of that group, in order (in a specification of scales ``"1/name"``: scaled inversely);
- a tuple: a product, outer to inner, as in ``view``; ``("channels", 49)``: flattened channels of 7 × 7;
- a list: parts one after the other, as of a concatenation.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, Literal, TypeAlias, TypeVar

from weightstring.errors import InvalidSetting
from weightstring.problem.flat import Layout
from weightstring.symmetry.blocks import Block, Factor

T = TypeVar("T")

Term: TypeAlias = int | str | tuple[Any, ...] | list[Any] | None
"""One axis of a parameter; what is in a tuple or list is a term too."""


Kind: TypeAlias = Literal["general", "orthogonal", "centred", "complex"]
"""Which linear maps of a group's units there are."""


@dataclass(frozen=True)
class Group:
    """Units that are interchangeable.

    Args:
        name: of the group.
        size: n, how many units.
        over: outer groups: each of their units has a permutation of its own.
        positive: whether units may be multiplied by positive factors.
        negative: whether their signs may change.
        fixed: whether they do not move, but are only what others are over.
        kind: which linear maps of them there are: all; those that keep lengths; these that keep the mean too; or
            products with complex numbers, whose real parts are the first half of the units.
    """

    name: str
    size: int
    over: tuple[str, ...] = ()
    positive: bool = True
    negative: bool = True
    fixed: bool = False
    kind: Kind = "general"


@dataclass(frozen=True)
class Spec:
    """Groups, and where parameters have them.

    Args:
        groups: by name.
        axes: a term for each axis of each parameter, by name; parameters left out do not move.
        unit: vectors that must be 1 before orthogonal maps apply, such as the weights of norms.

    >>> spec = Spec({"hidden": Group("hidden", 3)}, {"0.weight": ("hidden", None), "2.weight": (None, "hidden")})
    >>> round(spec.log10_size, 2)
    0.78
    """

    groups: Mapping[str, Group]
    axes: Mapping[str, tuple[Term, ...]] = field(default_factory=dict)
    unit: tuple[str, ...] = ()

    def copies(self, group: str) -> tuple[int, ...]:
        """How many permutations a group has: the sizes of those that it is over."""
        return tuple(self.groups[outer].size for outer in self.groups[group].over)

    @property
    def log10_size(self) -> float:
        """The decimal logarithm of the number of permutations: Π n! over groups and their copies."""
        logs = (
            math.prod(self.copies(name)) * math.lgamma(group.size + 1)
            for name, group in self.groups.items()
            if not group.fixed
        )
        return math.fsum(logs) / math.log(10)

    def check(self) -> None:
        """Refuse groups that contradict each other.

        Raises:
            InvalidSetting: a group without units, under another name, or over itself, another that is over it, or one
                that does not exist; axes that are no tuple.
        """
        for name, group in self.groups.items():
            if group.name != name or not isinstance(group.size, int) or group.size < 1:
                raise InvalidSetting(f"symmetry: group {name!r} is {group}: give it that name and at least one unit")
            for outer in group.over:
                if outer not in self.groups:
                    raise InvalidSetting(f"symmetry: {name!r} is over {outer!r}, which does not exist")
                if outer == name or name in self.groups[outer].over:
                    raise InvalidSetting(f"symmetry: {name!r} and {outer!r} are over each other")
        for name, terms in self.axes.items():
            if not isinstance(terms, tuple):
                raise InvalidSetting(f"symmetry: axes of {name!r} are {terms!r}: give a tuple, a term for each axis")

    def blocks(self, layout: Layout) -> tuple[Block, ...]:
        """The parameters of a layout as products of groups, those without any left out.

        Raises:
            InvalidSetting: a parameter or group that does not exist, or terms that do not fit the parameter's shape.
        """
        entries = {name: entry for entry in layout.entries for name in entry.names}
        blocks: list[Block] = []
        for name, terms in self.axes.items():
            if name not in entries:
                raise InvalidSetting(
                    f"symmetry: there is no trainable parameter {name!r}; there are {', '.join(entries)}"
                )
            shape = entries[name].shape
            if len(terms) != len(shape):
                raise InvalidSetting(
                    f"symmetry: {name!r} has {len(shape)} axes, {tuple(shape)}, but {len(terms)} are named"
                )
            blocks += [replace(block, parameter=entries[name].name) for block in self.cut(name, terms, shape)]
        return tuple(blocks)

    def cut(self, name: str, terms: tuple[Term, ...], shape: Sequence[int]) -> list[Block]:
        """The blocks of one tensor, those without groups left out.

        Raises:
            InvalidSetting: see :meth:`blocks`.
        """
        axes = list(range(len(terms)))
        cut = self._cut(Block(name, (), ()), list(terms), list(shape), axes)
        blocks = [block for block in cut if block.groups]
        for block in blocks:
            for dim, factor in enumerate(block.factors):
                group = factor.group
                over = self.groups[group].over if group is not None else ()
                missing = [outer for outer in over if block.outer_dim(dim, outer) is None]
                if missing:
                    raise InvalidSetting(
                        f"symmetry: {group!r} is over {missing}, which {name!r} has not: "
                        "permutations that depend on an outer unit need it on every parameter"
                    )
        return blocks

    def _cut(self, block: Block, terms: list[Term], shape: list[int], axes: list[int]) -> list[Block]:
        """Blocks of a block whose dimensions still are terms."""
        name = block.parameter
        for dim, term in enumerate(terms):
            if isinstance(term, tuple):
                sizes = self._sizes(term, shape[dim], name)
                whole = replace(block, cuts=(*block.cuts, (dim, sizes)))
                within = [axes[dim]] * len(sizes)
                return self._cut(
                    whole, _in_place(terms, dim, term), _in_place(shape, dim, sizes), _in_place(axes, dim, within)
                )
            if isinstance(term, list):
                blocks: list[Block] = []
                start = 0
                for part, size in zip(term, self._sizes(term, shape[dim], name), strict=True):
                    cut = replace(block, cuts=(*block.cuts, (dim, start, size)))
                    blocks += self._cut(cut, _in_place(terms, dim, [part]), _in_place(shape, dim, [size]), axes)
                    start += size
                return blocks
            self._sizes((term,), shape[dim], name)
        return [replace(block, factors=tuple(map(_factor, terms, axes)))]

    def _sizes(self, terms: tuple[Term, ...] | list[Term], whole: int, name: str) -> tuple[int, ...]:
        """The lengths of terms; one ``None`` among them is what is left."""
        sizes = [self._size(term, name) for term in terms]
        total = math.prod if isinstance(terms, tuple) else sum
        if sizes.count(None) == 1:
            known = total(size for size in sizes if size is not None)
            rest = whole // max(known, 1) if isinstance(terms, tuple) else whole - known
            sizes[sizes.index(None)] = rest
        lengths = tuple(size for size in sizes if size is not None)
        if len(lengths) != len(sizes) or total(lengths) != whole:
            raise InvalidSetting(f"symmetry: an axis of {name!r} has length {whole}, but {terms!r} has {sizes}")
        return lengths

    def _size(self, term: Term, name: str) -> int | None:
        if term is None or (isinstance(term, int) and term > 0):
            return term
        if isinstance(term, str):
            group = term.removeprefix("1/")
            if group not in self.groups:
                raise InvalidSetting(
                    f"symmetry: {name!r} names the group {group!r}, which does not exist; there are "
                    f"{', '.join(self.groups) or 'none'}"
                )
            return self.groups[group].size
        if not isinstance(term, tuple | list):
            raise InvalidSetting(
                f"symmetry: {name!r} has the term {term!r}: give None, a length, a name, or a tuple or list"
            )
        sizes = [self._size(part, name) for part in term]
        known = [size for size in sizes if size is not None]
        if len(known) < len(sizes):
            return None
        return math.prod(known) if isinstance(term, tuple) else sum(known)


def _factor(term: Term, axis: int) -> Factor:
    if isinstance(term, str):
        return Factor(term.removeprefix("1/"), axis, -1 if term.startswith("1/") else 1)
    return Factor(None, axis)


def _in_place(values: Sequence[T], index: int, others: Sequence[T]) -> list[T]:
    return [*values[:index], *others, *values[index + 1 :]]


@dataclass(frozen=True, repr=False)
class Symmetry:
    """The symmetries of a network: what leaves its function unchanged.

    Args:
        layout: where each parameter lies in θ.
        permutations: units that may be exchanged.
        scales: units that may be multiplied by factors, in by c, out by 1/c.
        maps: units that linear maps M may mix, in by M, out by its inverse transpose.

    Raises:
        InvalidSetting: a specification names what does not exist, or does not fit a parameter's shape.

    Written by hand for a network of one hidden layer:

    >>> from torch import nn
    >>> hidden = {"hidden": Group("hidden", 3)}
    >>> layout = Layout.of(nn.Sequential(nn.Linear(2, 3), nn.ReLU(), nn.Linear(3, 1)))
    >>> axes = {"0.weight": ("hidden", None), "0.bias": ("hidden",), "2.weight": (None, "hidden")}
    >>> round(Symmetry(layout, Spec(hidden, axes)).log10_permutations, 2)
    0.78
    """

    layout: Layout
    permutations: Spec
    scales: Spec = field(default_factory=lambda: Spec({}))
    maps: Spec = field(default_factory=lambda: Spec({}))

    def __post_init__(self) -> None:
        for spec in (self.permutations, self.scales, self.maps):
            spec.check()
        _ = self.permuted, self.scaled, self.mapped  # which refuse what does not fit

    def __repr__(self) -> str:
        kinds = {"permuted": self.permutations, "scaled": self.scales, "mixed": self.maps}
        groups = ", ".join(f"{len(spec.groups)} {kind}" for kind, spec in kinds.items())
        return f"<Symmetry: groups of units: {groups}; 10^{self.log10_permutations:.4g} permutations>"

    @cached_property
    def permuted(self) -> tuple[Block, ...]:
        """The parts of θ that permutations move."""
        return self.permutations.blocks(self.layout)

    @cached_property
    def scaled(self) -> tuple[Block, ...]:
        """The parts of θ that factors scale."""
        return self.scales.blocks(self.layout)

    @cached_property
    def mapped(self) -> tuple[Block, ...]:
        """The parts of θ that linear maps mix."""
        return self.maps.blocks(self.layout)

    @property
    def log10_permutations(self) -> float:
        """The decimal logarithm of how many permutations there are."""
        return self.permutations.log10_size

    def with_axes(self, axes: Mapping[str, tuple[Term, ...]], groups: Mapping[str, Group] | None = None) -> Symmetry:
        """The same with other axes for some parameters, and further groups; groups without units then are dropped.

        Scales stay as they are: ``align(rescale=False)`` leaves them out. Linear maps are left out: what may not be
        permuted may not be mixed either.

        Raises:
            InvalidSetting: they do not fit.
        """
        current = self.permutations
        changed = Spec({**current.groups, **(groups or {})}, {**current.axes, **axes})
        there = {name for block in changed.blocks(self.layout) for name in block.groups}
        left = {name: group for name, group in changed.groups.items() if name in there}
        return replace(self, permutations=replace(changed, groups=left), maps=Spec({}))
