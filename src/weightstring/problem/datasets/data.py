"""Data sets read once into memory, in a fixed order, and refused if they are not fixed.

A loss is a function of θ only if every pass sees the same examples: data that change from one
pass to the next (random augmentation, a sampler that draws at random) have no place here.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, TypeAlias, TypeVar

import torch
from torch import Tensor

from weightstring.arrays import in_blocks
from weightstring.devices import sent
from weightstring.errors import Unsupported
from weightstring.problem.digests.digest import tensor_digest, text_digest
from weightstring.problem.precision import precision_of
from weightstring.randomness import generator, some_of

READ_BATCH = 1024
"""Examples of a Dataset read at a time where they are read for the first time; without influence on what is read."""

Inputs: TypeAlias = Tensor | tuple[Tensor, ...] | Mapping[str, Tensor]
"""What a module is called with: ``net(x)``, ``net(*x)`` or ``net(**x)``."""


AnySet = TypeVar("AnySet", bound="DataSet")
AnyExamples = TypeVar("AnyExamples", bound="Examples")


def joined(parts: Sequence[Any]) -> Any:
    """The inputs of consecutive parts of a set as those of one.

    >>> joined([torch.tensor([1.0]), torch.tensor([2.0])])
    tensor([1., 2.])
    """
    first = parts[0]
    if isinstance(first, Tensor):
        return torch.cat([part for part in parts if isinstance(part, Tensor)])
    if isinstance(first, Mapping):
        return {name: torch.cat([part[name] for part in parts if isinstance(part, Mapping)]) for name in first}
    return tuple(torch.cat(column) for column in zip(*parts, strict=True))


class DataSet(ABC):
    """A fixed sequence of units that a loss is measured on: what is counted, drawn, shuffled and cut into parts.

    Units are examples (:class:`Examples`) or whole batches (:class:`~weightstring.problem.datasets.batches.Batches`).
    No part of a set is changed after it was made.
    """

    together: ClassVar[bool]
    """Whether several units go through the module in one pass; otherwise each goes by itself, and parts add up."""
    units: ClassVar[str] = "examples"
    """What they are called."""
    targets: Tensor
    """What a criterion compares with (N, ...)."""

    @abstractmethod
    def __len__(self) -> int:
        """How many units it has."""

    @property
    @abstractmethod
    def inputs(self) -> Any:
        """What the module is called with, in whatever form."""

    @property
    @abstractmethod
    def tensors(self) -> Iterable[Tensor]:
        """All tensors that a pass is given but the targets, in order."""

    @abstractmethod
    def take(self: AnySet, rows: slice | Tensor) -> AnySet:
        """The units in the given rows; a slice gives views."""

    @abstractmethod
    def only(self: AnySet, place: slice) -> AnySet:
        """The units in a slice, by themselves: the others are not kept in memory."""

    @abstractmethod
    def to(self: AnySet, device: torch.device, dtype: torch.dtype | None) -> AnySet:
        """The same elsewhere, in this precision (None: as it is); what is there already is not copied."""

    @abstractmethod
    def cloned(self: AnySet) -> AnySet:
        """The same with inputs that a pass may write to."""

    @abstractmethod
    def spread(self, most: int) -> Tensor:
        """Rows of a few units, at most ``most``, that show what the set holds."""

    def targets_of(self, rows: Tensor) -> Tensor:
        """The targets of some units."""
        return self.targets[rows]

    @property
    def target_parts(self) -> Iterable[Tensor]:
        """All targets in order, in as many parts as memory asks for."""
        return (self.targets,)

    def extremes(self) -> list[Tensor]:
        """Rows (1,) with the least and the largest integers of each tensor."""
        found = []
        for tensor in (*self.tensors, self.targets):
            if tensor.dtype in (torch.int32, torch.int64) and tensor.numel():
                of_each = tensor.reshape(len(self), -1)
                found += [of_each.amin(dim=1).argmin()[None], of_each.amax(dim=1).argmax()[None]]
        return found

    in_memory: ClassVar[bool] = True
    """Whether it is in memory."""

    def held(self: AnySet) -> AnySet:
        """The same in memory."""
        return self

    @abstractmethod
    def digest(self) -> str:
        """SHA-256 of everything in it."""

    @abstractmethod
    def form(self) -> str:
        """Shapes and dtypes of the inputs, for messages."""

    def chunks(self: AnySet, size: int) -> Iterator[AnySet]:
        """Consecutive parts of at most ``size`` units, as equal as can be, in order.

        Equal parts leave no remainder of a single example, with which BatchNorm has no variance.
        """
        return (self.take(place) for place in cuts(len(self), size))


@dataclass(frozen=True, eq=False)
class Examples(DataSet):
    """A data set in memory: inputs and targets with one example per row.

    Args:
        leaves: the module's arguments, each (N, ...).
        targets: (N, ...).
        keys: the arguments' names for ``net(**x)``; None for ``net(*x)``.

    >>> examples = Examples((torch.arange(10.0).view(5, 2),), torch.arange(5))
    >>> len(examples), [len(part) for part in examples.chunks(2)]
    (5, [1, 2, 2])
    """

    leaves: tuple[Tensor, ...]
    targets: Tensor
    keys: tuple[str, ...] | None = None
    together: ClassVar[bool] = True

    def __len__(self) -> int:
        return self.targets.shape[0]

    @property
    def nbytes(self) -> int:
        """Bytes of its numbers."""
        return sum(tensor.nbytes for tensor in (*self.leaves, self.targets))

    @property
    def inputs(self) -> Inputs:
        """What the module is called with: a tensor, or a tuple or dict of them."""
        if self.keys is not None:
            return dict(zip(self.keys, self.leaves, strict=True))
        return self.leaves[0] if len(self.leaves) == 1 else self.leaves

    @property
    def tensors(self) -> tuple[Tensor, ...]:
        """The leaves."""
        return self.leaves

    @property
    def arguments(self) -> tuple[tuple[Tensor, ...], dict[str, Tensor]]:
        """What the module is called with, by position and by name."""
        return (self.leaves, {}) if self.keys is None else ((), dict(zip(self.keys, self.leaves, strict=True)))

    def with_leaves(self: AnyExamples, leaves: Sequence[Tensor]) -> AnyExamples:
        """The same with other leaves."""
        return replace(self, leaves=tuple(leaves))

    def take(self, rows: slice | Tensor) -> Examples:
        """The examples in the given rows; a slice gives views."""
        if isinstance(rows, Tensor):
            rows = sent(rows, self.targets.device)
        return Examples(tuple(leaf[rows] for leaf in self.leaves), self.targets[rows], self.keys)

    def only(self, place: slice) -> Examples:
        """The examples in a slice, copied."""
        part = self.take(place).cloned()
        return replace(part, targets=part.targets.clone())

    def to(
        self, device: torch.device, dtype: torch.dtype | None, targets: torch.dtype | None = None, copy: bool = False
    ) -> Examples:
        """The same elsewhere, inputs and targets (None: as these) in their dtypes; copied only if needed or asked."""

        def move(tensor: Tensor, dtype: torch.dtype | None) -> Tensor:
            given = precision_of(tensor.dtype, dtype)
            if copy:  # in one go, in the order of rows
                return tensor.detach().to(device, given, copy=True, memory_format=torch.contiguous_format)
            return tensor.detach().to(device).to(given)

        leaves = tuple(move(leaf, dtype) for leaf in self.leaves)
        return Examples(leaves, move(self.targets, targets or dtype), self.keys)

    def cloned(self) -> Examples:
        """The same with copies of the leaves."""
        return Examples(tuple(leaf.clone() for leaf in self.leaves), self.targets, self.keys)

    def spread(self, most: int) -> Tensor:
        """Rows of at most ``most`` examples, spread over the targets and sorted by them."""
        return evenly(torch.cat([mean_of_each(block) for block in in_blocks(self.targets)]), most)

    def digest(self) -> str:
        """SHA-256 of everything in it."""
        tensors = (*self.leaves, self.targets)
        return text_digest(repr(self.keys), *(tensor_digest(tensor) for tensor in tensors))

    def form(self) -> str:
        """Shapes and dtypes of the inputs, for messages.

        >>> Examples((torch.zeros(4, 2),), torch.zeros(4)).form()
        '(4, 2) float32'
        """
        names = self.keys or ("",) * len(self.leaves)
        return ", ".join(
            f"{name}{'=' if name else ''}{form(leaf)}" for name, leaf in zip(names, self.leaves, strict=True)
        )


def cuts(count: int, size: int) -> Iterator[slice]:
    """Where consecutive parts of at most ``size`` of ``count`` units are, as equal as can be.

    >>> list(cuts(5, 2))
    [slice(0, 1, None), slice(1, 3, None), slice(3, 5, None)]
    """
    parts = -(-count // size)
    return (slice(part * count // parts, (part + 1) * count // parts) for part in range(parts))


def mean_of_each(targets: Tensor) -> Tensor:
    """The mean of each target (N,), in float64."""
    return targets.reshape(len(targets), -1).double().mean(dim=1)


def evenly(values: Tensor, most: int) -> Tensor:
    """At most ``most`` places of values (N,), at even distances in their order, the least and the largest among them.

    >>> evenly(torch.tensor([3.0, 1.0, 2.0, 5.0]), 2)
    tensor([1, 3])
    """
    order = values.argsort(stable=True)
    count = min(most, len(order))
    # The first and the last are among them: the largest class, and what is ignored by a negative number.
    return order[torch.linspace(0, len(order) - 1, count, dtype=torch.float64, device=order.device).round().long()]


def stacked(data: DataSet, what: str) -> Examples:
    """The examples of a set that has one example per row, in memory.

    Raises:
        Unsupported: its units are batches; ``what`` says what needs examples.
        InvalidSetting: they do not fit into memory.
    """
    held = data.held()
    if isinstance(held, Examples):
        return held
    raise Unsupported(f"{what} reads single examples, (inputs, targets), which batches of any form do not have")


def form(tensor: Tensor) -> str:
    """A tensor's shape and dtype, for messages."""
    return f"{tuple(tensor.shape)} {str(tensor.dtype).removeprefix('torch.')}"


def sample(examples: AnySet, count: int) -> AnySet:
    """At most ``count`` units, drawn without replacement; always the same ones.

    >>> len(sample(Examples((torch.zeros(9, 1),), torch.zeros(9)), 4))
    4
    """
    if len(examples) <= count:
        return examples.held()
    rows = some_of(len(examples), count, generator(0, "sample of the examples"))
    return examples.take(rows.sort().values)
