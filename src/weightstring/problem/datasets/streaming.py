"""Which data stay on disk: those mapped from files, and those declared so by :func:`streamed`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, IterableDataset, RandomSampler, SequentialSampler

from weightstring.errors import InvalidData, InvalidSetting
from weightstring.problem.datasets.data import Examples
from weightstring.problem.datasets.facts import Facts
from weightstring.problem.datasets.indexed import IndexedRows
from weightstring.problem.datasets.mapped import STREAMED_BYTES, MappedRows, mapped_rows
from weightstring.problem.datasets.stored import Stored
from weightstring.problem.digests.digest import declared_digest
from weightstring.problem.precision import Dtypes

UNCHANGING = (
    "remove random augmentation from the dataset, a sampler that draws at random, or a generator that is empty on its "
    "second pass; tensors and lists of batches do not change"
)
"""What to do about data that change from one pass to the next."""


@dataclass(frozen=True, eq=False)
class Streamed:
    """A data set that stays where it is; see :func:`streamed`."""

    source: object
    digest: str | None


def streamed(source: object, *, digest: str | None = None) -> Streamed:
    """Declare that a data set is not to be read into memory: it is larger, or reading it takes no time.

    Measurements read it from beginning to end in blocks, by the loader's workers where it has any; minibatches are read
    row by row. Tensors that are mapped from files of 64 MiB and more need no such word.

    Args:
        source: (inputs, targets) that are mapped from files (``numpy.memmap``, ``torch.load(mmap=True)``,
            safetensors), a map-style Dataset, or a DataLoader of one.
        digest: a name of this very content, such as a version; in place of one that a pass over all data computes,
            which also finds what is no number. Runs are resumed with data of the same name.

    Raises:
        InvalidSetting: a digest that is no text.

    >>> from torch.utils.data import TensorDataset
    >>> streamed(TensorDataset(torch.ones(3, 2), torch.ones(3))).digest is None
    True
    """
    if digest is not None and (not isinstance(digest, str) or not digest):
        raise InvalidSetting(f"digest={digest!r:.80}: give a text that names this content, or leave it out")
    return Streamed(source, digest)


Split = Callable[[object], Examples]
"""Makes examples of a batch (inputs, targets)."""


def stored_set(source: object, split: Split, name: str, dtypes: Dtypes, device: torch.device) -> Stored | None:
    """A data set that stays on disk; None for one to be read into memory.

    Args:
        source: as the user gave it.
        split: makes examples of a batch.
        name: what messages call the set.
        dtypes: of floating numbers.
        device: where they are computed with.

    Raises:
        InvalidData: it is malformed, empty, holds what is no number, changes, or cannot be streamed.
    """
    declared = isinstance(source, Streamed)
    given = source.source if isinstance(source, Streamed) else source
    rows: MappedRows | IndexedRows | None
    if is_pair(given):
        rows = mapped_rows(_arrays(given), split(given), 0 if declared else STREAMED_BYTES) if _worth(given) else None
        if rows is None and declared:
            raise InvalidData(f"{name}: streamed() was given tensors that are in memory: pass them as they are")
    else:
        rows = _indexed(given, split, name) if declared else None
    if rows is None:
        return None
    if not len(rows):
        raise InvalidData(f"{name} has no examples: pass at least one (inputs, targets) example")
    if isinstance(source, Streamed) and source.digest is not None:
        facts = Facts(declared_digest(source.digest), (0, len(rows) - 1), ())
    else:
        facts = rows.facts(name, dtypes)
        if isinstance(rows, IndexedRows) and rows.facts(name, dtypes).digest != facts.digest:
            raise InvalidData(f"{name} changes from one pass to the next: {UNCHANGING}")
    return Stored(rows, facts, device, dtypes)


def is_pair(source: object) -> bool:
    """Whether it is (inputs, targets), rather than batches of these."""
    return isinstance(source, tuple) or (
        isinstance(source, list) and len(source) == 2 and isinstance(source[1], Tensor | np.ndarray)
    )


def _arrays(pair: Any) -> list[Any]:
    inputs, targets = pair
    if isinstance(inputs, Mapping):
        return [*inputs.values(), targets]
    return [*inputs, targets] if isinstance(inputs, tuple | list) else [inputs, targets]


def _worth(pair: Any) -> bool:
    """Whether it has the form of (inputs, targets) at all; what has not is refused by whoever reads it."""
    return len(pair) == 2 and all(isinstance(array, Tensor | np.ndarray) for array in _arrays(pair))


def _indexed(source: object, split: Split, name: str) -> IndexedRows:
    loader = source if isinstance(source, DataLoader) else None
    dataset = source if loader is None else loader.dataset
    known = isinstance(dataset, Dataset) or (hasattr(dataset, "__getitem__") and hasattr(dataset, "__len__"))
    if not known or isinstance(dataset, IterableDataset | list | Mapping):
        raise InvalidData(
            f"{name}: streamed() takes mapped tensors, a Dataset with __getitem__ and __len__, or a DataLoader of one, "
            f"not a {type(dataset).__name__}: minibatches are drawn by their rows"
        )
    if loader is None:
        loader = DataLoader(dataset)  # type: ignore[arg-type]
    elif loader.batch_size is None and loader.batch_sampler is None:
        raise InvalidData(f"{name}: a DataLoader without batch_size makes no batches: give it one, or its dataset")
    with torch.random.fork_rng(devices=[]):
        indices = _indices(loader)
        if indices != _indices(loader):
            raise InvalidData(f"{name} changes from one pass to the next: {UNCHANGING}")
    loading: dict[str, Any] = {}
    if loader.num_workers:
        loading = {
            "num_workers": loader.num_workers,
            "worker_init_fn": loader.worker_init_fn,
            "prefetch_factor": loader.prefetch_factor,
            "multiprocessing_context": loader.multiprocessing_context,
        }
    return IndexedRows(loader.dataset, indices, loader.collate_fn, split, loading)


def _indices(loader: DataLoader[Any]) -> list[int] | None:
    """The samples that a loader reads, in order; None for all in the dataset's own, as of one that shuffles."""
    sampler = loader.sampler
    if loader.batch_size is None and loader.batch_sampler is not None:  # batches of the user's own making
        return [index for batch in loader.batch_sampler for index in batch]
    if isinstance(sampler, RandomSampler):
        all_of_them = not sampler.replacement and sampler.num_samples == len(sampler.data_source)
        return None if all_of_them else list(sampler)
    return None if isinstance(sampler, SequentialSampler) else list(sampler)
