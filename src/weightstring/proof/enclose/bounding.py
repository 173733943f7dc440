"""What a bisection asks of bounds: to be told what is cut, and to foresee what it would be a waste to compute."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Protocol

import torch
from jaxtyping import Float64, Int64
from torch import Tensor

from weightstring.arrays import Thetas
from weightstring.proof.enclose.intervals import Intervals
from weightstring.proof.enclose.values import Bounds

BATCH = 16
"""Intervals whose bounds are computed at once, at most."""


class Examining(Protocol):
    """Bounds of each example by itself."""

    @property
    def order(self) -> Int64[Tensor, " N"]:
        """The examples, those that are bounded alike side by side."""

    @property
    def beads(self) -> Thetas:
        """(n, P) of the string."""

    @property
    def max_bytes(self) -> int:
        """What one pass may use."""

    def bounds(self, intervals: Intervals) -> Float64[Tensor, " I"]:
        """Of the mean over all of them."""

    def examined(self, intervals: Intervals, order: Int64[Tensor, " n"]) -> Iterator[tuple[Intervals, Bounds]]:
        """What some examples, in a part of :attr:`order`, have in the bounds: intervals that fit into memory."""


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
