"""Examples of a Dataset that are read anew whenever they are needed."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from weightstring.problem.datasets.data import READ_BATCH, Examples, cuts
from weightstring.problem.datasets.facts import Facts, Survey
from weightstring.problem.datasets.stored import Rows
from weightstring.problem.precision import Dtypes

KEPT_BYTES = 2**28
"""Bytes of targets that are kept from the first pass; they would be had again only by reading all inputs anew."""


@dataclass(frozen=True, eq=False)
class IndexedRows(Rows):
    """Examples that a Dataset gives by their places, put together as its loader does.

    Args:
        dataset: gives a sample by its index, or a list of them (``__getitems__``).
        indices: of the samples, in order; None: all.
        collate: makes a batch of samples.
        split: makes examples of a batch.
        loading: the loader's workers and what they are started with.
    """

    dataset: Dataset[Any]
    indices: Sequence[int] | None
    collate: Callable[[list[Any]], object]
    split: Callable[[object], Examples]
    loading: dict[str, Any] = field(default_factory=dict)
    _targets: list[Tensor] = field(default_factory=list, repr=False)

    def __len__(self) -> int:
        return len(self.dataset) if self.indices is None else len(self.indices)  # type: ignore[arg-type]

    def read(self, rows: slice | Tensor, dtypes: Dtypes) -> Examples:
        """Some examples."""
        wanted = self._samples(rows)
        many = getattr(self.dataset, "__getitems__", None)
        with torch.random.fork_rng(devices=[]):
            samples = many(wanted) if many is not None else [self.dataset[i] for i in wanted]
            return self.split(self.collate(samples)).to(torch.device("cpu"), *dtypes)

    def targets(self, rows: slice | Tensor, dtypes: Dtypes) -> Tensor:
        """Their targets."""
        if self._targets:
            return self._targets[0][rows]
        return self.read(rows, dtypes).targets

    def parts(self, places: Iterable[slice], dtypes: Dtypes) -> Iterator[Examples]:
        """Consecutive examples, read ahead by the loader's workers where it has any."""
        batches = [self._samples(place) for place in places]
        loader = DataLoader(self.dataset, batch_sampler=batches, collate_fn=self.collate, **self.loading)
        with torch.random.fork_rng(devices=[]):  # a loader draws a seed for its workers
            waiting = iter(loader)
        return (self.split(batch).to(torch.device("cpu"), *dtypes) for batch in waiting)

    def _samples(self, rows: slice | Tensor) -> list[int]:
        places = range(rows.start, rows.stop) if isinstance(rows, slice) else rows.tolist()
        return list(places) if self.indices is None else [self.indices[place] for place in places]

    def facts(self, name: str, dtypes: Dtypes) -> Facts:
        """What one pass over all finds out.

        Raises:
            InvalidData: numbers that are none.
        """
        survey, kept, size = Survey(len(self), name), list[Tensor](), 0
        for part in self.parts(cuts(len(self), READ_BATCH), dtypes):
            survey.see(part)
            size += part.targets.nbytes
            kept.append(part.targets.clone())
            if size > KEPT_BYTES:
                kept.clear()
        self._targets[:] = [torch.cat(kept)] if size <= KEPT_BYTES else []
        return survey.facts()
