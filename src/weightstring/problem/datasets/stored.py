"""Data sets that stay on disk: read block by block where all is wanted, row by row where a minibatch is."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import ClassVar

import torch
from torch import Tensor

from weightstring.arrays import BLOCK_BYTES
from weightstring.devices import sent
from weightstring.errors import InvalidSetting
from weightstring.memory import most_bytes
from weightstring.problem.datasets.data import DataSet, Examples, Inputs, cuts, evenly, mean_of_each
from weightstring.problem.datasets.facts import Facts
from weightstring.problem.precision import Dtypes
from weightstring.randomness import generator, some_of

LINE_BYTES = 64
"""Bytes of a line of memory."""

WHOLLY = 2**18
"""Examples up to which all targets are looked at for a spread; of more, a fixed part is, and the extremes of all."""

PART = 2**14
"""Examples of that part, and of what stands for a set where outputs are observed."""


class Rows(ABC):
    """Where the examples of a set are read from; nothing is kept in memory."""

    @abstractmethod
    def __len__(self) -> int:
        """How many there are."""

    @abstractmethod
    def read(self, rows: slice | Tensor, dtypes: Dtypes) -> Examples:
        """Consecutive examples, or those in some rows in rising order: on the CPU, floating numbers in their dtypes."""

    @abstractmethod
    def targets(self, rows: slice | Tensor, dtypes: Dtypes) -> Tensor:
        """The targets of these."""

    def parts(self, places: Iterable[slice], dtypes: Dtypes) -> Iterator[Examples]:
        """Consecutive examples, several times, as :meth:`read` gives them."""
        return (self.read(place, dtypes) for place in places)

    def only(self, place: slice) -> Rows:
        """Those in a slice."""
        return _Between(self, place.start, place.stop)


@dataclass(frozen=True, eq=False)
class _Between(Rows):
    """Consecutive rows of others."""

    rows: Rows
    start: int
    stop: int

    def __len__(self) -> int:
        return self.stop - self.start

    def read(self, rows: slice | Tensor, dtypes: Dtypes) -> Examples:
        return self.rows.read(self._moved(rows), dtypes)

    def targets(self, rows: slice | Tensor, dtypes: Dtypes) -> Tensor:
        return self.rows.targets(self._moved(rows), dtypes)

    def parts(self, places: Iterable[slice], dtypes: Dtypes) -> Iterator[Examples]:
        return self.rows.parts((slice(p.start + self.start, p.stop + self.start) for p in places), dtypes)

    def _moved(self, rows: slice | Tensor) -> slice | Tensor:
        if isinstance(rows, Tensor):
            return rows + self.start
        return slice(rows.start + self.start, rows.stop + self.start)


@dataclass(frozen=True, eq=False)
class Stored(DataSet):
    """Examples that are read when they are needed. Every number is what it would be in memory, bit for bit.

    Args:
        rows: where from.
        facts: what one pass over all has found out.
        device: where examples are moved to.
        dtypes: of floating numbers.
    """

    rows: Rows
    facts: Facts
    device: torch.device
    dtypes: Dtypes
    together: ClassVar[bool] = True
    in_memory: ClassVar[bool] = False

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def inputs(self) -> Inputs:
        """What the module is called with, in memory."""
        return self.held().inputs

    @property
    def tensors(self) -> tuple[Tensor, ...]:
        """The same, one by one."""
        return self.held().leaves

    @property
    def targets(self) -> Tensor:  # type: ignore[override]
        """All targets, in memory."""
        return self._moved(self.rows.targets(slice(0, len(self)), self.dtypes))

    @property
    def target_parts(self) -> Iterable[Tensor]:
        """All targets in order, a block at a time."""
        return _TargetParts(self)

    def targets_of(self, rows: Tensor) -> Tensor:
        """The targets in some rows."""
        rising, places = torch.unique(rows.cpu(), return_inverse=True)
        return self._moved(self.rows.targets(rising, self.dtypes)[places])

    def take(self, rows: slice | Tensor) -> Examples:  # type: ignore[override]
        """The examples in the given rows, in memory."""
        if isinstance(rows, slice):
            start, stop, step = rows.indices(len(self))
            if step == 1:
                return self._brought(self.rows.read(slice(start, max(start, stop)), self.dtypes), start)
            rows = torch.arange(start, stop, step)
        rising, places = torch.unique(rows.cpu(), return_inverse=True)
        return self._brought(self.rows.read(rising, self.dtypes).take(places))

    def chunks(self, size: int) -> Iterator[Examples]:  # type: ignore[override]
        """Consecutive parts of at most ``size`` examples, in memory, one at a time."""
        parts = self.rows.parts(cuts(len(self), size), self.dtypes)
        return (self._brought(part, place.start) for part, place in zip(parts, cuts(len(self), size), strict=True))

    def held(self) -> Examples:  # type: ignore[override]
        """All of it in memory.

        Raises:
            InvalidSetting: it does not fit.
        """
        one = self.rows.read(slice(0, 1), self.dtypes).nbytes
        if one * len(self) > most_bytes(self.device):
            raise InvalidSetting(
                f"all {len(self)} examples are wanted at once, which take {one * len(self) / 2**30:.3g} GiB of "
                f"{2 * most_bytes(self.device) / 2**30:.3g}: give fewer for this, such as an evaluate= set that fits "
                "into memory"
            )
        return self.take(slice(0, len(self)))

    def part(self) -> Examples:
        """A fixed part in memory."""
        rows = torch.sort(some_of(len(self), PART, generator(0, "part of what is stored"))).values
        return self.take(rows)

    def only(self, place: slice) -> Stored:
        """The examples in a slice, where they lie; of these only their number is known."""
        count = place.stop - place.start
        return replace(self, rows=self.rows.only(place), facts=Facts(self.facts.digest, (0, count - 1), ()))

    def to(self, device: torch.device, dtype: torch.dtype | None) -> Stored:
        """The same, moved elsewhere when read; what is known of it was found in the precision that it had before."""
        return replace(self, device=device, dtypes=Dtypes(dtype))

    def cloned(self) -> Examples:  # type: ignore[override]
        """All of it in memory, which is a copy."""
        return self.held()

    def spread(self, most: int) -> Tensor:
        """Rows of at most ``most`` examples, spread over the targets and sorted by them."""
        if len(self) <= WHOLLY:
            return evenly(torch.cat([mean_of_each(part) for part in self.target_parts]), most)
        some = some_of(len(self), min(most, PART), generator(0, "spread of what is stored"))
        rows = torch.unique(torch.cat([torch.tensor(self.facts.target_extremes), some]))
        chosen: Tensor = rows[evenly(mean_of_each(self.targets_of(rows)).cpu(), most)]
        return chosen

    def extremes(self) -> list[Tensor]:
        """Rows with the least and the largest integers of each tensor."""
        return [torch.tensor([row]) for row in self.facts.extremes]

    def digest(self) -> str:
        """SHA-256 of everything in it, as of the same examples in memory; or what the user declared."""
        return self.facts.digest

    def form(self) -> str:
        """Shapes and dtypes of the inputs, for messages."""
        first = self.rows.read(slice(0, 1), self.dtypes)
        return first.with_leaves([leaf.expand(len(self), *leaf.shape[1:]) for leaf in first.leaves]).form()

    def _brought(self, examples: Examples, start: int = 0) -> Examples:
        """Examples on the device, from row ``start`` on."""
        *leaves, targets = (self._moved(_lying(x, start)) for x in (*examples.leaves, examples.targets))
        return Examples(tuple(leaves), targets, examples.keys)

    def _moved(self, tensor: Tensor) -> Tensor:
        return sent(tensor, self.device)


def _lying(tensor: Tensor, start: int) -> Tensor:
    """Rows lying in memory as far from a line's beginning as they would in a whole set: products round by that."""
    offset = start * (tensor.nbytes // max(1, len(tensor))) % LINE_BYTES
    if not offset:
        return tensor
    lying = torch.empty(offset + tensor.nbytes, dtype=torch.uint8)[offset:].view(tensor.dtype).view(tensor.shape)
    return lying.copy_(tensor)


@dataclass(frozen=True)
class _TargetParts:
    """All targets of a set, read anew by whoever iterates over them."""

    examples: Stored

    def __iter__(self) -> Iterator[Tensor]:
        rows, dtypes, count = self.examples.rows, self.examples.dtypes, len(self.examples)
        one = rows.targets(slice(0, 1), dtypes)
        return (rows.targets(place, dtypes) for place in cuts(count, max(1, BLOCK_BYTES // max(1, one.nbytes))))
