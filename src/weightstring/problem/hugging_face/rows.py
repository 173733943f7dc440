"""Rows of a tokenised dataset as padded batches."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Any, Literal

import torch
from torch import Tensor
from torch.nn.functional import pad

from weightstring.errors import InvalidData
from weightstring.problem.datasets.batches import batch_digest
from weightstring.problem.hugging_face.signature import AS_LABELS, IDS, MASK, Accepted, checked
from weightstring.problem.initialise import seeded
from weightstring.problem.inspection.own_loss import IGNORED, LABELS
from weightstring.text import first_line

Side = Literal["left", "right"]

Row = Mapping[str, Any]
"""One example: lists, arrays or tensors by name."""


@dataclass(frozen=True)
class Padding:
    """What is put where a row is shorter than others of its batch.

    Args:
        token: the id of padding; no loss may depend on it.
        side: where it is put.
    """

    token: int = 0
    side: Side = "right"

    def filling(self, name: str) -> int | None:
        """What fills a column; None: that cannot be known."""
        if name == LABELS:
            return IGNORED
        if name == IDS:
            return self.token
        return 0 if name.endswith(("mask", "token_type_ids", "position_ids")) else None

    def padded(self, name: str, rows: Sequence[Tensor], side: Side | None = None) -> Tensor:
        """Rows of one column as a tensor.

        Raises:
            InvalidData: rows of different lengths that nothing is known to fill.

        >>> Padding(side="left").padded("labels", [torch.tensor([1, 2]), torch.tensor([3])])
        tensor([[   1,    2],
                [-100,    3]])
        """
        if len({row.shape for row in rows}) == 1:
            return torch.stack(list(rows))
        filling = self.filling(name)
        if filling is None or any(row.ndim != 1 for row in rows):
            shapes = " and ".join(str(tuple(row.shape)) for row in rows[:2])
            raise InvalidData(f"column {name!r} has rows of {shapes}: pass collator=, which says how they become one")
        width, left = max(map(len, rows)), (side or self.side) == "left"
        lacking = [width - len(row) for row in rows]
        return torch.stack(
            [pad(row, (n, 0) if left else (0, n), value=filling) for row, n in zip(rows, lacking, strict=True)]
        )


@dataclass(frozen=True, eq=False)
class Collate:
    """Makes one batch of rows, or of what a loader's own function makes of its samples.

    Args:
        accepted: what the model takes.
        labels: the column of labels.
        padding: how rows of several lengths become one tensor, where no collator says it.
        collator: the caller's own, of rows.
        seed: with which a collator that draws is seeded, beside its rows; None: it must not draw.
        dtype: of floating inputs; None: as they are.
        rows: whether rows are given; otherwise what ``collator`` returns is a batch already.
    """

    accepted: Accepted
    labels: str
    padding: Padding
    collator: Callable[[Any], Any] | None = None
    seed: int | None = None
    dtype: torch.dtype | None = None
    rows: bool = True

    def __call__(self, rows: Any) -> dict[str, Tensor]:
        """The batch.

        Raises:
            InvalidData: rows without labels or without what the model takes, or a batch that no model is given.
        """
        if not self.rows:
            batch = rows if self.collator is None else self._collated(rows)
        else:
            wanted = [self._wanted(row) for row in rows]
            batch = self._padded(wanted) if self.collator is None else self._collated(wanted)
        return checked(batch, self.accepted, self.labels, self.dtype)

    def _collated(self, rows: Any) -> Any:
        assert self.collator is not None
        if self.seed is None:
            return self.collator(rows)
        salted = sha256(f"{self.seed} {batch_digest(rows)}".encode()).digest()
        with seeded(int.from_bytes(salted[:7]), torch.device("cpu")):
            return self.collator(rows)

    def _wanted(self, row: object) -> dict[str, Any]:
        """The columns of a row that the model takes."""
        if not isinstance(row, Mapping):
            raise InvalidData(f"a row is a {type(row).__name__}: rows of a dataset must be dicts from names to values")
        kept = self.accepted.columns(row, self.labels)
        if kept.keys() <= {*AS_LABELS, self.labels} - {IDS}:
            raise InvalidData(
                f"no column of {', '.join(map(repr, row))} is one that {self.accepted.model} takes "
                f"({', '.join(self.accepted.names[:4])}, …): tokenise the dataset first, dataset.map(tokenizer)"
            )
        return kept

    def _padded(self, rows: Sequence[Row]) -> dict[str, Tensor]:
        columns: dict[str, list[Tensor]] = {}
        for name in rows[0]:
            try:
                columns[name] = [torch.as_tensor(row[name]) for row in rows]
            except Exception as error:  # a missing column, ragged lists, images
                raise InvalidData(
                    f"column {name!r} does not become a tensor ({first_line(error)}): pass collator="
                ) from error
        ids = columns.get(IDS)
        if ids is not None and MASK not in columns and len({len(row) for row in ids}) > 1:
            if MASK not in self.accepted.names:
                raise InvalidData(
                    f"rows of {IDS!r} have different lengths, and {self.accepted.model} takes no {MASK!r}: pass rows "
                    "of one length"
                )
            columns[MASK] = [torch.ones_like(row) for row in ids]
        labels = (LABELS, self.labels) if self.labels != IDS else (LABELS,)
        return {
            name: self.padding.padded(
                LABELS if name in labels else name,
                column,
                "right" if self.accepted.decodes and name in labels else None,
            )
            for name, column in columns.items()
        }
