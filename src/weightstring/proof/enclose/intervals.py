"""Intervals of a string's segments, and what the weights do on them."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import torch
from jaxtyping import Float64, Int64
from torch import Tensor

from weightstring.proof.enclose.enclosure import NODES, Enclosure, per_interval
from weightstring.proof.enclose.rounding import ELEMENTWISE, FLOOR


@dataclass(frozen=True, eq=False)
class Intervals:
    """I intervals, each [low, high] in t of a segment; the numbers are dyadic, so that their mid is exact.

    Args:
        segments: (I,) which segment, that is, which bead is its first.
        low: (I,) where it begins.
        high: (I,) where it ends.
    """

    segments: Int64[Tensor, " I"]
    low: Float64[Tensor, " I"]
    high: Float64[Tensor, " I"]

    def __len__(self) -> int:
        return len(self.segments)

    def take(self, which: Tensor | slice) -> Intervals:
        """Some of them."""
        which = which.to(self.low.device) if isinstance(which, Tensor) else which
        return Intervals(self.segments[which], self.low[which], self.high[which])

    def to(self, device: torch.device) -> Intervals:
        """The same on a device; themselves where they are there."""
        if self.low.device == device:
            return self
        return Intervals(self.segments.to(device), self.low.to(device), self.high.to(device))

    def split(self, pieces: int) -> Intervals:
        """Each cut into equal pieces, a power of two, which stay side by side."""
        steps = torch.arange(pieces, dtype=torch.float64, device=self.low.device) / pieces
        width = (self.high - self.low).unsqueeze(1)
        low = (self.low.unsqueeze(1) + width * steps).flatten()
        high = (self.low.unsqueeze(1) + width * (steps + 1 / pieces)).flatten()
        return Intervals(self.segments.repeat_interleave(pieces), low, high)

    def middles(self) -> Intervals:
        """The point in the middle of each."""
        middle = (self.low + self.high) / 2
        return Intervals(self.segments, middle, middle)

    def positions(self, degree: int) -> Float64[Tensor, "nodes I"]:
        """The positions t of the nodes."""
        return torch.stack([(self.low * (1 - node) + self.high * (1 + node)) / 2 for node in NODES[degree]])

    @cached_property
    def alike(self) -> bool:
        """Whether all lie on one segment."""
        return bool(len(self)) and bool((self.segments == self.segments[0]).all())

    @cached_property
    def radius(self) -> Float64[Tensor, " I"]:
        """r, half the width in t."""
        return (self.high - self.low) / 2


def joined(parts: list[Intervals]) -> Intervals:
    """Several sets of intervals in one."""
    return Intervals(*(torch.cat([getattr(part, name) for part in parts]) for name in ("segments", "low", "high")))


@dataclass(frozen=True, eq=False)
class Weights:
    """One parameter along the string: an exact affine function of t on each segment.

    Args:
        beads: (K, ...) its values at the beads in play, float64.
    """

    beads: Tensor

    def at(self, intervals: Intervals, t: Float64[Tensor, " I"]) -> Tensor:
        """(I, ...) the weights at t of each interval; rounding is below 4u·:meth:`magnitude`, but for underflow."""
        first, last = self._ends(intervals)
        return torch.lerp(first, last, per_interval(t, first))

    def _ends(self, intervals: Intervals) -> tuple[Tensor, Tensor]:
        """(I or 1, ...) both ends of each interval's segment, without copies where it is the same for all."""
        if intervals.alike:
            segment = int(intervals.segments[0])
            return self.beads[segment : segment + 1], self.beads[segment + 1 : segment + 2]
        return self.beads[intervals.segments], self.beads[intervals.segments + 1]

    def nodes(self, intervals: Intervals, degree: int) -> tuple[Tensor, ...]:
        """(I, ...) at each node."""
        return tuple(self.at(intervals, t) for t in intervals.positions(degree))

    def slope(self, intervals: Intervals) -> Tensor:
        """(I, ...) the coefficient of σ: r times the difference of the segment's ends."""
        first, last = self._ends(intervals)
        return (last - first) * per_interval(intervals.radius, first)

    def magnitude(self, intervals: Intervals) -> Tensor:
        """(I, ...) |first| + |last|, no less than |weights| anywhere on the segment."""
        return self.beads[intervals.segments].abs() + self.beads[intervals.segments + 1].abs()

    def enclosed(self, intervals: Intervals, degree: int) -> Enclosure:
        """As an enclosure of one sample, (I, 1, ...), for products with activations."""
        nodes = tuple(node.unsqueeze(1) for node in self.nodes(intervals, degree))
        size = self.magnitude(intervals).reshape(len(intervals), -1).amax(1) + FLOOR
        return Enclosure(nodes, torch.zeros_like(nodes[0]), size).widened(ELEMENTWISE * size)
