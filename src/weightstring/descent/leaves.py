"""Leaves of an optimizer that stand for rows of a matrix of models, and lose those rows one by one."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from weightstring.arrays import Moving, Thetas, together
from weightstring.descent.optimizers import Optimizers


@dataclass
class Leaves:
    """Rows that move, by the leaves that they share.

    Args:
        parts: each leaf with the rows that it stands for, which move at once.
    """

    parts: list[tuple[Tensor, list[int]]]

    @classmethod
    def of(cls, models: Thetas, moving: Sequence[int], phases: int, stacks: bool) -> Leaves:
        """One leaf for each phase of a step; where they do not stack, one for each row."""
        groups = [[row for row in moving if phase_of(row, phases) == phase] for phase in range(phases)]
        if not stacks:
            groups = [[row] for row in moving]
        made = []
        for group in filter(None, groups):
            rows = models[group] if stacks else models[group[0]].clone()
            made.append((rows.requires_grad_(), group))
        return cls(made)

    @property
    def tensors(self) -> list[Tensor]:
        """The leaves themselves."""
        return [leaf for leaf, _ in self.parts]

    def rows(self, turn: Sequence[int]) -> Moving:
        """The rows whose turn it is (k, P), as the optimizer left them."""
        return together([leaf.detach().view(len(rows), -1) for leaf, rows in self._moved(turn)])

    def shared(self, turn: Sequence[int], rows: Moving) -> Iterable[tuple[Tensor, Tensor]]:
        """The leaves whose turn it is, each with its own of these rows (k, P), in the leaf's shape."""
        moved = self._moved(turn)
        assert [row for _, own in moved for row in own] == list(turn)
        parts = [rows] if len(moved) == 1 else torch.split(rows, [len(own) for _, own in moved])
        return ((leaf, part.view_as(leaf)) for (leaf, _), part in zip(moved, parts, strict=True))

    def release(self, waiting: Collection[int], optimizers: Optimizers) -> None:
        """Let rows go, and leaves that have no other."""
        left: list[tuple[Tensor, list[int]]] = []
        for leaf, rows in self.parts:
            kept = [k for k, row in enumerate(rows) if row not in waiting]
            if len(kept) == len(rows):
                left.append((leaf, rows))
            elif kept:
                left.append((optimizers.keep(leaf, kept), [rows[k] for k in kept]))
            else:
                optimizers.remove(leaf)
        self.parts = left

    def _moved(self, turn: Sequence[int]) -> list[tuple[Tensor, list[int]]]:
        return [(leaf, rows) for leaf, rows in self.parts if rows[0] in turn]


def phase_of(row: int, phases: int) -> int:
    """In which part of a step a row moves: of two, the odd rows in the first.

    >>> [phase_of(row, 2) for row in range(4)]
    [1, 0, 1, 0]
    """
    return (row + phases - 1) % phases
