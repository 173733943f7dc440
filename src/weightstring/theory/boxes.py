"""Boxes that cover a region where the loss may be under a level, and which of them share a face."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float64, Int64

from weightstring.theory.intervals import Interval, coordinates

FINEST = 40
"""Halvings of a side of the root box, at most: corners stay whole numbers on this lattice."""


@dataclass(frozen=True, eq=False)
class Root:
    """The root box, and the lattice of 2^FINEST steps along each of its sides."""

    low: Float64[np.ndarray, " P"]
    high: Float64[np.ndarray, " P"]

    def coordinates(self, low: Int64[np.ndarray, "B P"], high: Int64[np.ndarray, "B P"]) -> list[Interval]:
        """Boxes of the lattice. A corner is computed in one way only: neighbours share it to the last bit."""
        return coordinates(self.place(low), self.place(high))

    def place(self, at: Int64[np.ndarray, "B P"]) -> Float64[np.ndarray, "B P"]:
        """Corners of the lattice in units of θ; those of the root box exactly."""
        share = at / 2.0**FINEST
        return np.where(at == 1 << FINEST, self.high, self.low + share * (self.high - self.low))

    def holding(self, boxes: Boxes, theta: Float64[np.ndarray, " P"]) -> Bool[np.ndarray, " B"]:
        """Which boxes a model lies in; on a face in both."""
        inside = (self.place(boxes.low) <= theta) & (theta <= self.place(boxes.high))
        return np.asarray(inside.all(1))


@dataclass(frozen=True, eq=False)
class Boxes:
    """The boxes that are kept, and which of them share a face.

    Args:
        low, high: corners on the lattice.
        whole: whether the loss is nowhere over the level.
        edges: pairs of neighbours.
    """

    low: Int64[np.ndarray, "B P"]
    high: Int64[np.ndarray, "B P"]
    whole: Bool[np.ndarray, " B"]
    edges: Int64[np.ndarray, "E 2"]

    @classmethod
    def first(cls, root: Root, bounds: Callable[[list[Interval]], Interval], level: float) -> Boxes:
        """The root box alone."""
        low = np.zeros((1, len(root.low)), dtype=np.int64)
        alone = cls(low, low + (1 << FINEST), np.zeros(1, dtype=bool), np.zeros((0, 2), dtype=np.int64))
        return alone.kept(root, bounds, level, np.ones(1, dtype=bool))

    def kept(
        self, root: Root, bounds: Callable[[list[Interval]], Interval], level: float, new: Bool[np.ndarray, " B"]
    ) -> Boxes:
        """Without the new boxes whose lower bound exceeds the level; those whose upper bound does not are whole."""
        bound = bounds(root.coordinates(self.low[new], self.high[new]))
        keep, whole = np.ones(len(new), dtype=bool), self.whole.copy()
        # Not "low <= level": a bound that is not a number says nothing, and keeps its box.
        keep[new] = ~(bound.low > level)
        whole[new] = bound.high <= level
        number = np.cumsum(keep) - 1
        edges = self.edges[keep[self.edges].all(1)]
        return Boxes(self.low[keep], self.high[keep], whole[keep], number[edges])

    def split(
        self, which: Bool[np.ndarray, " B"], root: Root, bounds: Callable[[list[Interval]], Interval], level: float
    ) -> Boxes:
        """Some halved, each across the axis that matters most to its bounds."""
        # An old box keeps its number, or its first half takes it; second halves are put behind.
        count, halved = len(which), np.flatnonzero(which)
        axis = _axis(self.low[halved], self.high[halved], root, bounds)
        rows = np.arange(len(halved))
        middle = (self.low[halved, axis] + self.high[halved, axis]) // 2
        low, high = np.concatenate([self.low, self.low[halved]]), np.concatenate([self.high, self.high[halved]])
        high[halved, axis] = middle
        low[count + rows, axis] = middle
        second = np.full(count, -1)
        second[halved] = count + rows
        touched = which[self.edges].any(1)
        edges = self.edges[touched]
        others = second[edges]
        candidates = np.concatenate(
            [edges, np.stack([others[:, 0], edges[:, 1]], 1), np.stack([edges[:, 0], others[:, 1]], 1), others]
        )
        candidates = candidates[(candidates >= 0).all(1)]
        siblings = np.stack([halved, count + rows], 1)
        meeting = candidates[_share_a_face(low, high, candidates)]
        new = np.concatenate([which, np.ones(len(halved), dtype=bool)])
        whole = np.concatenate([self.whole, np.zeros(len(halved), dtype=bool)])
        edges = np.concatenate([self.edges[~touched], meeting, siblings])
        return Boxes(low, high, whole, edges).kept(root, bounds, level, new)


def _axis(
    low: Int64[np.ndarray, "B P"],
    high: Int64[np.ndarray, "B P"],
    root: Root,
    bounds: Callable[[list[Interval]], Interval],
) -> Int64[np.ndarray, " B"]:
    """The axis without whose width the bounds would be closest; of equal ones that of the longest side."""
    width = high - low
    gaps = []
    for axis in range(low.shape[1]):
        flat_low, flat_high = low.copy(), high.copy()
        flat_low[:, axis] = flat_high[:, axis] = (low[:, axis] + high[:, axis]) // 2
        bound = bounds(root.coordinates(flat_low, flat_high))
        gaps.append(np.where(width[:, axis] > 1, bound.high - bound.low, np.inf))
    score = np.nan_to_num(np.stack(gaps, 1), nan=np.inf)
    least = score.min(1, keepdims=True)
    return np.asarray(np.where(score <= least * (1 + 1e-9), width, -1).argmax(1))


def _share_a_face(
    low: Int64[np.ndarray, "B P"], high: Int64[np.ndarray, "B P"], pairs: Int64[np.ndarray, "E 2"]
) -> Bool[np.ndarray, " E"]:
    one, other = pairs.T
    overlap = np.minimum(high[one], high[other]) - np.maximum(low[one], low[other])
    return np.asarray((overlap >= 0).all(1) & ((overlap == 0).sum(1) == 1))
