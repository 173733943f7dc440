"""What a bisection asks of bounds: to be told what is cut, and to foresee what it would be a waste to compute."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from weightstring.proof.enclose.intervals import Intervals

BATCH = 16
"""Intervals whose bounds are computed at once, at most."""


class Bounding(Protocol):
    """Upper bounds of intervals that remembers what it found of them until they are cut."""

    @property
    def at_once(self) -> int:
        """Intervals whose bounds it finds, and remembers, at once."""

    def __call__(self, intervals: Intervals) -> Tensor:
        """(I,)."""

    def foreseen(self, intervals: Intervals) -> Tensor:
        """(I,) about how far bounds will lie above the loss, at a small part of their price; 0 where it cannot tell."""

    def taken(self, intervals: Intervals) -> Tensor:
        """(I,) by how much bounds will lie above the loss on any part of an interval, however small."""

    def cut(self, intervals: Intervals, parts: Intervals, owners: Tensor, room: Tensor) -> None:
        """Learn that intervals are cut into parts, and the room (I,) there for looser bounds, 0 for none."""


@dataclass(frozen=True)
class Plain:
    """Bounds that each interval has by itself.

    Args:
        bound: upper bounds (I,).
    """

    bound: Callable[[Intervals], Tensor]
    at_once: int = BATCH

    def __call__(self, intervals: Intervals) -> Tensor:
        """(I,)."""
        return self.bound(intervals)

    def foreseen(self, intervals: Intervals) -> Tensor:
        """It cannot tell."""
        return torch.zeros(len(intervals), dtype=torch.float64)

    taken = foreseen

    def cut(self, intervals: Intervals, parts: Intervals, owners: Tensor, room: Tensor) -> None:
        """Nothing to learn."""
