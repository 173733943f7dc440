"""Batches of any form as users have them, and refused if they are not fixed."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice, zip_longest
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, IterableDataset

from weightstring.errors import InvalidData, InvalidSetting
from weightstring.problem.datasets.batches import Batches, batch_digest, mapped
from weightstring.problem.datasets.sources import CONVERT, told, whole_in_order
from weightstring.problem.datasets.streaming import UNCHANGING, Streamed
from weightstring.problem.digests.digest import declared_digest
from weightstring.problem.outputs import tensors_of
from weightstring.problem.precision import in_precision


def read_batches(source: object, name: str, dtype: torch.dtype | None, device: torch.device) -> Batches:
    """Read batches of any form into memory: copies on ``device``, floating tensors as ``dtype``.

    Anything but a list is read twice and must give the same both times. A DataLoader is read as by :func:`read`; one
    that is :func:`streamed` is not kept, but read anew whenever a batch is needed.

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
    declared = source.digest if isinstance(source, Streamed) else None
    kept: Sequence[object] = []
    with torch.random.fork_rng(devices=[]):
        if isinstance(source, Streamed):
            batches: Iterable[object] = (kept := read_anew(source.source, name))
        else:
            batches = _listed(source, name)
        if declared is not None:
            digests = [declared_digest(declared, str(place)) for place in range(len(kept))]
        else:
            digests = list(_digests(batches, name, kept, device, dtype))
            if not isinstance(source, list):
                again = (batch_digest(batch) for batch in told(batches, name))
                if not all(one == other for one, other in zip_longest(digests, again)):
                    raise InvalidData(f"{name} changes from one pass to the next: {UNCHANGING}")
    if not digests:
        raise InvalidData(f"{name} has no batches: pass at least one")
    return Batches(kept, tuple(digests), tuple(range(len(kept))), device, dtype)


def _listed(source: object, name: str) -> Iterable[object]:
    """The batches, the same at each pass."""
    single = isinstance(source, Tensor | Mapping | str | tuple | Dataset)
    if single or not isinstance(source, Iterable) or type(source).__module__.startswith("datasets."):
        raise InvalidData(
            f"{name} is a {type(source).__name__}: pass a list of batches, or a DataLoader, whose collate_fn says what "
            "a batch is"
        )
    return whole_in_order(source) if isinstance(source, DataLoader) else source


def _digests(
    batches: Iterable[object], name: str, kept: Sequence[object], device: torch.device, dtype: torch.dtype | None
) -> Iterator[str]:
    """What each batch holds; copies are put into a list."""
    for batch in told(batches, name):
        if not tensors_of(batch):
            raise InvalidData(f"{name}: a batch is a {type(batch).__name__} without tensors: {CONVERT}")
        if any(tensor.is_nested for tensor in tensors_of(batch)):
            raise InvalidData(
                f"{name}: a batch holds a nested tensor, which torch compares with no other: pass its parts, or its "
                "values() and offsets(), and nest them in the loss"
            )
        yield batch_digest(batch)
        if isinstance(kept, list):
            kept.append(mapped(batch, lambda tensor: in_precision(tensor.detach().to(device, copy=True), dtype)))


@dataclass(frozen=True, eq=False)
class ReadAnew(Sequence[object]):
    """Batches that a DataLoader puts together, by their places, whenever they are needed.

    Args:
        loader: of a dataset whose samples have places.
        samples: places of each batch's samples; of a dataset of batches, of each batch.
    """

    loader: DataLoader[Any]
    samples: tuple[Any, ...]

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, place: Any) -> Any:
        """One batch."""
        dataset, places = self.loader.dataset, self.samples[place]
        with torch.random.fork_rng(devices=[]):
            if self.loader.batch_sampler is None:
                return self.loader.collate_fn(dataset[places])
            many = getattr(dataset, "__getitems__", None)
            return self.loader.collate_fn([dataset[i] for i in places] if many is None else many(places))


def read_anew(source: object, name: str) -> ReadAnew:
    """The batches of a DataLoader, none of which is kept.

    Raises:
        InvalidData: it is none, or its samples have no places.
    """
    if not isinstance(source, DataLoader) or isinstance(source.dataset, IterableDataset):
        kind = type(source.dataset if isinstance(source, DataLoader) else source).__name__
        raise InvalidData(
            f"{name}: streamed() takes a DataLoader of a Dataset with __getitem__ and __len__, not a {kind}: batches "
            "are read again by their places"
        )
    loader = whole_in_order(source)
    return ReadAnew(loader, tuple(loader.sampler if loader.batch_sampler is None else loader.batch_sampler))


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
