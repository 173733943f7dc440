"""Batches of any form as users have them, and refused if they are not fixed."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import islice, zip_longest

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from weightstring.errors import InvalidData, InvalidSetting
from weightstring.problem.batches import Batches, batch_digest, mapped
from weightstring.problem.outputs import tensors_of
from weightstring.problem.precision import in_precision
from weightstring.problem.sources import CONVERT, told, whole_in_order
from weightstring.problem.streaming import UNCHANGING


def read_batches(source: object, name: str, dtype: torch.dtype | None, device: torch.device) -> Batches:
    """Read batches of any form into memory: copies on ``device``, floating tensors as ``dtype``.

    Anything but a list is read twice and must give the same both times. A DataLoader is read as by :func:`read`.

    Args:
        source: a list of batches, a DataLoader, or another iterable of batches that can be read twice.
        name: what messages call the set.
        dtype: floating dtype of tensors; None: as they are. Integers stay as they are.
        device: where the set is kept.

    Raises:
        InvalidData: no batches, one without tensors, or batches that change between the two passes.

    >>> read_batches([{"x": torch.ones(2)}, {"x": torch.ones(3)}], "train", torch.float32, torch.device("cpu")).form()
    "['x'] (2,) float32"
    """
    single = isinstance(source, Tensor | Mapping | str | tuple | Dataset)
    if single or not isinstance(source, Iterable) or type(source).__module__.startswith("datasets."):
        raise InvalidData(
            f"{name} is a {type(source).__name__}: pass a list of batches, or a DataLoader, whose collate_fn says what "
            "a batch is"
        )
    batches = whole_in_order(source) if isinstance(source, DataLoader) else source
    kept, digests = [], []
    with torch.random.fork_rng(devices=[]):
        for batch in told(batches, name):
            if not tensors_of(batch):
                raise InvalidData(f"{name}: a batch is a {type(batch).__name__} without tensors: {CONVERT}")
            digests.append(batch_digest(batch))
            kept.append(mapped(batch, lambda tensor: in_precision(tensor.detach().to(device, copy=True), dtype)))
        if not kept:
            raise InvalidData(f"{name} has no batches: pass at least one")
        if not isinstance(source, list):
            again = (batch_digest(batch) for batch in told(batches, name))
            if not all(one == other for one, other in zip_longest(digests, again)):
                raise InvalidData(f"{name} changes from one pass to the next: {UNCHANGING}")
    return Batches(kept, tuple(digests), tuple(range(len(kept))), device, dtype)


@dataclass(frozen=True)
class Epoch:
    """The first batches of a stream, at each pass from its beginning; see :func:`epoch`."""

    loader: Iterable[object]
    batches: int

    def __iter__(self) -> Iterator[object]:
        """The batches.

        Raises:
            InvalidData: there are fewer.
        """
        count = 0
        for batch in islice(self.loader, self.batches):
            count += 1
            yield batch
        if count < self.batches:
            raise InvalidData(f"epoch(batches={self.batches}) of a stream that ends after {count} batches")


def epoch(loader: Iterable[object], batches: int) -> Epoch:
    """Declare how many batches of a stream are its data: those of an ``IterableDataset`` without end.

    Every pass takes the stream from its beginning, and must find the same batches there.

    Args:
        loader: a DataLoader, or what else can be iterated anew.
        batches: how many of its first batches.

    Raises:
        InvalidSetting: not a positive number.

    >>> from itertools import count
    >>> class Naturals:
    ...     def __iter__(self):
    ...         return count()
    >>> list(epoch(Naturals(), batches=3))
    [0, 1, 2]
    """
    if not isinstance(batches, int) or batches < 1:
        raise InvalidSetting(f"epoch(batches={batches!r}): give a number of batches of at least 1")
    return Epoch(loader, batches)
