"""A data set whose units are whole batches, each of any form: what a collate function returns.

A batch is a tree of tuples, lists, dicts, named tuples, dataclasses and objects with tensors as attributes. Tensors are
moved and compared; whatever else is in it is handed on as it is.
"""

from __future__ import annotations

import pickle
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from weightstring.problem.datasets.data import DataSet, form
from weightstring.problem.digests.digest import DECLARED, declared_digest, tensor_digest, text_digest
from weightstring.problem.outputs import leaves_of, paths_of, rebuilt, tensors_of
from weightstring.problem.precision import in_precision

PLAIN = (bool, int, float, complex, str, bytes, type(None))
"""What is told by its text."""

SHOWN = 6
"""Tensors of a batch that a message names."""


def mapped(batch: object, function: Callable[[Tensor], Tensor]) -> object:
    """The batch with a function of each of its tensors: containers are new, so that a pass may pop what it likes.

    >>> mapped({"x": torch.ones(1), "names": ["a"]}, lambda tensor: tensor + 1)
    {'x': tensor([2.]), 'names': ['a']}
    """
    return rebuilt(batch, [function(leaf) if isinstance(leaf, Tensor) else leaf for leaf in leaves_of(batch)])


def batch_digest(batch: object) -> str:
    """SHA-256 of a batch: where each of its leaves is, and what it holds.

    >>> batch_digest({"x": torch.ones(1)}) == batch_digest({"y": torch.ones(1)})
    False
    """
    return text_digest(*(f"{path} {_leaf_digest(leaf)}" for path, leaf in paths_of(batch)))


def _leaf_digest(leaf: object) -> str:
    if isinstance(leaf, Tensor):
        return tensor_digest(leaf.to_dense() if leaf.layout is not torch.strided else leaf)
    if isinstance(leaf, np.ndarray) and leaf.dtype != object:
        return text_digest(f"{leaf.dtype} {leaf.shape}", leaf.tobytes().hex())
    if isinstance(leaf, PLAIN):
        return f"{type(leaf).__name__} {leaf!r}"
    try:
        return text_digest(pickle.dumps(leaf).hex())
    except Exception:  # what cannot be written down can only be told by its kind
        return type(leaf).__qualname__


@dataclass(frozen=True, eq=False)
class Batches(DataSet):
    """A fixed sequence of batches, each of which goes through the module by itself.

    Args:
        source: gives a batch by its place, the same at each time: a list, or what reads it anew.
        digests: of all batches of the source, as they were first read.
        places: those of the source that the set has, in order.
        device: where a batch is moved before it is used.
        dtype: of its floating numbers there; None: as they are.

    >>> units = [{"x": torch.ones(2, 1)}, {"x": torch.zeros(3, 1)}]
    >>> batches = Batches(units, ("a", "b"), (0, 1), torch.device("cpu"), torch.float64)
    >>> len(batches), batches.take(slice(1, 2)).form(), batches.inputs[0]["x"].dtype
    (2, "['x'] (3, 1) float32", torch.float64)
    """

    source: Sequence[object]
    digests: tuple[str, ...]
    places: tuple[int, ...]
    device: torch.device
    dtype: torch.dtype | None
    together: ClassVar[bool] = False
    units: ClassVar[str] = "batches"

    def __len__(self) -> int:
        return len(self.places)

    def __iter__(self) -> Iterator[object]:
        """The batches, one at a time, each in containers of its own."""
        for place in self.places:
            yield mapped(self.source[place], lambda x: in_precision(x.detach().to(self.device), self.dtype))

    @property
    def inputs(self) -> tuple[object, ...]:
        """The batches."""
        return tuple(self)

    @property
    def targets(self) -> Tensor:  # type: ignore[override]
        """None beside those that batches hold: (N, 0)."""
        return torch.empty(len(self), 0, device=self.device)

    @property
    def tensors(self) -> Iterator[Tensor]:
        """The tensors of all batches, in order."""
        return (tensor for batch in self for tensor in tensors_of(batch))

    def take(self, rows: slice | Tensor) -> Batches:
        """The batches in the given rows."""
        if isinstance(rows, slice):
            return replace(self, places=self.places[rows])
        return replace(self, places=tuple(self.places[row] for row in rows.tolist()))

    def only(self, place: slice) -> Batches:
        """The batches in a slice; of a list no other is kept."""
        part = self.take(place)
        if not isinstance(self.source, list):
            return part
        kept, digests = ([of[i] for i in part.places] for of in (self.source, self.digests))
        return replace(part, source=kept, digests=tuple(digests), places=tuple(range(len(kept))))

    def to(self, device: torch.device, dtype: torch.dtype | None) -> Batches:
        """The same, moved elsewhere when used."""
        return replace(self, device=device, dtype=dtype)

    def cloned(self) -> Batches:
        """The same batches, in memory, with tensors of their own."""
        copies = [mapped(batch, torch.clone) for batch in self]
        digests = tuple(self.digests[place] for place in self.places)
        return replace(self, source=copies, digests=digests, places=tuple(range(len(copies))))

    def spread(self, most: int) -> Tensor:
        """The first and the last, which is often of another size."""
        return torch.tensor([0, len(self) - 1][: min(most, len(self))], dtype=torch.int64)

    def digest(self) -> str:
        """SHA-256 of the batches as they were read, or of what the user declared, and then it begins with that word."""
        digests = [self.digests[place] for place in self.places]
        of = declared_digest if any(digest.startswith(DECLARED) for digest in digests) else text_digest
        return of(*digests)

    def form(self) -> str:
        """What the first batch holds, for messages."""
        return form_of_batch(self.source[self.places[0]])


def form_of_batch(batch: object) -> str:
    """Where a batch has tensors, their shapes and dtypes, for messages.

    >>> form_of_batch((torch.zeros(2, 3), ["a"]))
    '[0] (2, 3) float32'
    """
    shown = [f"{path} {form(leaf)}".lstrip() for path, leaf in paths_of(batch) if isinstance(leaf, Tensor)]
    more = f" and {len(shown) - SHOWN} more" if len(shown) > SHOWN else ""
    return ", ".join(shown[:SHOWN]) + more
