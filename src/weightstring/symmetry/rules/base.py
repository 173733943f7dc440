"""What a rule is given: an operation, the labels of its arguments, and the means to tie them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from torch import Tensor

from weightstring.errors import Unsupported
from weightstring.registry import Registry
from weightstring.symmetry.axes import Axis, Label
from weightstring.symmetry.resolution import Mixed
from weightstring.symmetry.ties import Ties

Labels: TypeAlias = "Label | tuple[Labels, ...] | None"
"""The labels of what an operation returns: of one tensor or several; None: no tensor."""


@dataclass
class Call:
    """One operation.

    Args:
        op: its name, such as ``linear``.
        given: its arguments by name, labels in place of tensors.
        result: what it returns for the traced examples.
        where: the operation and the module that calls it, in words.
        ties: how to tie axes.
        mixed: operations across an axis so far.
        virtual: tensors that an operation computes within, such as products before they are summed.
        used: which of several results something uses.
        summed: the dimensions over which whatever uses the result sums it.
    """

    op: str
    given: Mapping[str, Any]
    result: Any
    where: str
    ties: Ties
    mixed: list[Mixed]
    virtual: list[Label]
    used: frozenset[Any] = frozenset()
    summed: frozenset[int] = frozenset()

    def __getitem__(self, name: str) -> Any:
        return self.given.get(name)

    def label(self, name: str) -> Label:
        """The label of a tensor argument.

        Raises:
            Unsupported: it is no tensor.
        """
        label = self.given.get(name)
        if not isinstance(label, Label):
            raise Unsupported(f"symmetry: {self.where} is called without a tensor {name!r}: {REMEDY}")
        return label

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of the one tensor that is returned."""
        assert isinstance(self.result, Tensor)
        return tuple(self.result.shape)

    def tensors(self) -> list[Label]:
        """All tensor arguments, those in lists among them."""
        return [label for value in self.given.values() for label in labels_in(value)]

    def mixes(self, label: Label, dims: Sequence[int]) -> None:
        """The operation computes across these dimensions of a tensor."""
        self.mixed.extend(Mixed(label.axes[dim], label) for dim in dims)

    def freeze(self, *axes: Axis) -> None:
        """Fix axes."""
        for axis in axes:
            self.ties.freeze(axis)

    def unscaled(self, *axes: Axis) -> None:
        """Let no rescaling of these axes pass through the operation."""
        for axis in axes:
            self.ties.restrict(axis)

    def fixed(self, shape: Sequence[int] | None = None) -> Label:
        """The label of a tensor in which nothing moves."""
        return Label(tuple(self.ties.fixed(size) for size in (self.shape if shape is None else shape)))

    def all_fixed(self) -> Labels:
        """The labels of all that is returned, in which nothing moves."""
        several = isinstance(self.result, tuple | list)
        values = self.result if several else [self.result]
        each = tuple(self.fixed(tuple(v.shape)) if isinstance(v, Tensor) else None for v in values)
        return each if several else each[0]


Rule: TypeAlias = Callable[[Call], Labels]

RULES: Registry[Rule] = Registry("symmetry rule", group="weightstring.symmetry_rules")
"""Rules by the name of torch's operator without its overload, such as ``linear``; of another library's operator with
the library's in front, ``library.operator``."""

PAGE = "docs/extending/symmetry-rule.md"

REMEDY = "write a ws.Symmetry by hand and give it as symmetry="


def labels_in(value: Any) -> list[Label]:
    """The labels in an argument."""
    if isinstance(value, Label):
        return [value]
    if isinstance(value, Mapping):
        return [label for part in value.values() for label in labels_in(part)]
    return [label for part in value for label in labels_in(part)] if isinstance(value, tuple | list) else []
