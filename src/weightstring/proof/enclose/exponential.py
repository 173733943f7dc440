"""Bounds of e to a mean, such as perplexity: e to the mean's bounds, rounded up, as exp does not fall."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from jaxtyping import Float64
from torch import Tensor

from weightstring.proof.enclose.bounding import Bounding
from weightstring.proof.enclose.intervals import Intervals
from weightstring.proof.enclose.rounding import ELEMENTWISE, FLOOR


def raised(bounds: Float64[Tensor, ...]) -> Float64[Tensor, ...]:
    """No less than e to them."""
    return bounds.exp() * (1 + ELEMENTWISE) + FLOOR


@dataclass(frozen=True)
class Exponential:
    """Bounds of e to what others bound.

    Args:
        inner: bounds of the mean.
        near: about the largest value (I,) on each interval, by which what lies between bound and value is told.
    """

    inner: Bounding
    near: Callable[[Intervals], Tensor]

    @property
    def at_once(self) -> int:
        """As many as are bounded below."""
        return self.inner.at_once

    def __call__(self, intervals: Intervals) -> Float64[Tensor, " I"]:
        """(I,)."""
        return raised(self.inner(intervals))

    def foreseen(self, intervals: Intervals) -> Float64[Tensor, " I"]:
        """About how far bounds will lie above the value."""
        return self.near(intervals) * self.inner.foreseen(intervals).expm1()

    def taken(self, intervals: Intervals) -> Float64[Tensor, " I"]:
        """How far they will for good."""
        return self.near(intervals) * self.inner.taken(intervals).expm1()

    def cut(self, intervals: Intervals, parts: Intervals, owners: Tensor, room: Float64[Tensor, " I"]) -> None:
        """Learn that intervals are cut into parts, and the room there."""
        self.inner.cut(intervals, parts, owners, (room / self.near(intervals)).nan_to_num(0.0, 0.0, 0.0).log1p())
