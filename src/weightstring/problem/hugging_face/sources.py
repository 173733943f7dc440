"""Data of models of ``transformers`` as users have them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, TypeAlias, cast

from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from weightstring.errors import InvalidData
from weightstring.problem.datasets.batch_sources import Epoch
from weightstring.problem.datasets.sources import whole_in_order
from weightstring.problem.datasets.streaming import Streamed
from weightstring.problem.hugging_face.rows import Collate

Rows: TypeAlias = Dataset[Any] | Sequence[Mapping[str, Any]] | Iterable[Mapping[str, Tensor]] | Streamed
"""Rows of a tokenised dataset, or batches: a DataLoader, or a list of dicts whose tensors have an axis of examples."""


def batched(source: object, collate: Collate, batch_size: int, name: str) -> Any:
    """A set of any form as batches.

    Raises:
        InvalidData: it is none of the forms that are known.
    """
    if isinstance(source, Streamed):
        return Streamed(batched(source.source, collate, batch_size, name), source.digest)
    if isinstance(source, DataLoader):
        loader = whole_in_order(source)
        again: DataLoader[Any] = DataLoader(
            loader.dataset,
            batch_sampler=loader.batch_sampler,
            num_workers=loader.num_workers,
            collate_fn=replace(collate, collator=loader.collate_fn, rows=False),
        )
        return again
    if isinstance(source, Epoch):
        return replace(source, loader=batched(source.loader, collate, batch_size, name))
    if isinstance(source, list) and source and all(map(_is_batch, source)):
        return [replace(collate, collator=None, rows=False)(batch) for batch in source]
    if (
        not hasattr(source, "__getitem__")
        or not hasattr(source, "__len__")
        or isinstance(source, str | Tensor | Mapping)
    ):
        raise InvalidData(
            f"{name} is a {type(source).__name__}: pass rows (a datasets.Dataset, a torch Dataset or list of dicts), "
            "or batches (a DataLoader or list of dicts of tensors)"
        )
    return DataLoader(cast("Dataset[Any]", source), batch_size=batch_size, collate_fn=collate)


def _is_batch(item: object) -> bool:
    """Whether a dict's tensors have an axis of examples: then labels, or whatever comes first, have that too."""
    if not isinstance(item, Mapping):
        return False
    ids = item.get("input_ids")
    if ids is not None:
        return isinstance(ids, Tensor) and ids.ndim > 1
    told_by = next((item[name] for name in ("labels", "label", "label_ids") if name in item), None)
    return isinstance(told_by, Tensor) and told_by.ndim > 0


def unwrapped(source: object) -> Iterable[object]:
    """The batches of a set, whether it is streamed or not."""
    return cast(Iterable[object], source.source if isinstance(source, Streamed) else source)
