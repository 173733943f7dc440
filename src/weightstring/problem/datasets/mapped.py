"""Examples whose tensors are mapped from files, all or some of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from weightstring.arrays import BLOCK_BYTES
from weightstring.problem.datasets.data import Examples, cuts
from weightstring.problem.datasets.facts import Facts, Survey, remembered
from weightstring.problem.datasets.filemaps import FileMap, Mapped, place_of
from weightstring.problem.datasets.stored import Rows
from weightstring.problem.digests.digest import tensor_digest
from weightstring.problem.precision import Dtypes, precision_of

STREAMED_BYTES = 2**26
"""Bytes of a mapped tensor from which it stays in its file."""


@dataclass(frozen=True, eq=False)
class MappedRows(Rows):
    """Examples one example per row, in columns: the module's arguments, and the targets last.

    Args:
        columns: each mapped from a file, or in memory where it was given so.
        keys: the arguments' names for ``net(**x)``; None for ``net(*x)``.
    """

    columns: tuple[Mapped | Tensor, ...]
    keys: tuple[str, ...] | None

    def __len__(self) -> int:
        return len(self.columns[-1])

    def read(self, rows: slice | Tensor, dtypes: Dtypes) -> Examples:
        """Some examples; the files are found to be as they were."""
        wanted = zip(self.columns, dtypes.of(len(self.columns)), strict=True)
        *leaves, targets = (_read(column, rows, dtype) for column, dtype in wanted)
        return Examples(tuple(leaves), targets, self.keys)

    def targets(self, rows: slice | Tensor, dtypes: Dtypes) -> Tensor:
        """Their targets alone."""
        return _read(self.columns[-1], rows, dtypes.of(1)[0])

    def facts(self, name: str, dtypes: Dtypes) -> Facts:
        """What one pass over all finds out, or found out in an earlier session.

        Raises:
            InvalidData: numbers that are none.
        """

        def find() -> Facts:
            survey, one = Survey(len(self), name), self.read(slice(0, 1), dtypes).nbytes
            for part in self.parts(cuts(len(self), max(1, BLOCK_BYTES // max(1, one))), dtypes):
                survey.see(part)
            return survey.facts()

        files = [column.file for column in self.columns if isinstance(column, Mapped)]
        key = [self.keys, dtypes, *(_told(column) for column in self.columns)]
        return remembered(key, max(max(file.state[3:]) for file in files), find)


def _read(column: Mapped | Tensor, rows: slice | Tensor, dtype: torch.dtype | None) -> Tensor:
    if isinstance(column, Mapped):
        return column.read(rows, dtype)
    return column[rows].to(precision_of(column.dtype, dtype))


def _told(column: Mapped | Tensor) -> tuple[object, ...]:
    """What a column's numbers depend on."""
    if isinstance(column, Tensor):
        return ("in memory", tensor_digest(column))
    return (column.file.path, column.file.state, column.offset, column.dtype, column.shape, column.strides)


def mapped_rows(given: Sequence[Tensor | np.ndarray], examples: Examples, least: int) -> MappedRows | None:
    """Examples read from the files that their tensors are mapped from; None where they are in memory.

    Args:
        given: the module's arguments and the targets, as the user gave them.
        examples: the same as tensors.
        least: bytes from which a mapped tensor stays in its file.
    """
    files: dict[str, FileMap] = {}
    columns: list[Mapped | Tensor] = []
    for array, tensor in zip(given, (*examples.leaves, examples.targets), strict=True):
        place = place_of(array) if tensor.nbytes >= max(1, least) else None
        if place is None or place.offset % tensor.itemsize:
            columns.append(tensor)
            continue
        file = files.setdefault(place.path, FileMap(place.path))
        columns.append(Mapped(file, place.offset, tensor.dtype, tuple(tensor.shape), tensor.stride()))
    if not files:
        return None
    # Those in memory are copied: later changes of the user's cannot change the loss.
    own = (column.detach().clone() if isinstance(column, Tensor) else column for column in columns)
    return MappedRows(tuple(own), examples.keys)
