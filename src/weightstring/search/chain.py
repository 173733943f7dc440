"""A string under construction: links between neighbouring beads, in order along the path."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import pairwise

import msgspec

from weightstring.arrays import Theta
from weightstring.path import Segment, no_worse
from weightstring.search.jobs import JobResult, Looks, Measure, Measured


@dataclass(frozen=True)
class Bead:
    """A model on the string, its height, and the place in the search where it was made.

    Args:
        name: its place in the search.
        theta: the model (P,).
        value: its height.
        told: what else is known of it, by quantity.
    """

    name: str
    theta: Theta
    value: float
    told: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Link:
    """The segment between two neighbouring beads.

    Args:
        left: the bead nearer the first end.
        right: the other one.
        depth: how many insertions lie between it and the first segment.
        measured: what its loss curve showed; None before it was measured.
        attempts: descents from it that failed.
        before: largest samples of the segments that were split until it was left, the first of them first.
    """

    left: Bead
    right: Bead
    depth: int = 0
    measured: Measured | None = None
    attempts: int = 0
    before: tuple[float, ...] = ()

    @property
    def name(self) -> str:
        """Its place in the search."""
        return f"{self.left.name}-{self.right.name}"

    @property
    def descent_name(self) -> str:
        """The place of the next descent from it."""
        return f"{self.name}/{self.attempts}"

    @cached_property
    def segment(self) -> Segment:
        """The segment itself."""
        return Segment(self.left.theta, self.right.theta)

    @property
    def open(self) -> bool:
        """Measured, and over the threshold."""
        return self.measured is not None and not self.measured.accepted

    @property
    def height(self) -> float:
        """Its largest sample; -inf before it was measured."""
        return self.measured.top.value if self.measured else -math.inf

    @property
    def heights(self) -> dict[float, float]:
        """The heights known on it, by t: its ends and the peaks that were measured."""
        peaks = dict(self.measured.peaks) if self.measured else {}
        return {**peaks, 0.0: self.left.value, 1.0: self.right.value}

    @property
    def told(self) -> dict[float, Mapping[str, float]]:
        """All quantities known on it, by t."""
        inner = self.measured.told.rows if self.measured and self.measured.told else {}
        ends = {0.0: self.left.told, 1.0: self.right.told}
        return {**inner, **{t: told for t, told in ends.items() if told}}

    def split(self, bead: Bead) -> tuple[Link, Link]:
        """The two links that a bead makes of it."""
        before = (*self.before, self.height)
        halves = ((self.left, bead), (bead, self.right))
        first, second = (Link(left, right, self.depth + 1, before=before) for left, right in halves)
        return first, second

    def stalled(self, threshold: float, depths: int, fall: float) -> bool:
        """Whether over ``depths`` splits its excess over the threshold has fallen by less than the share ``fall``."""
        if not self.open or len(self.before) < depths:
            return False
        then, now = self.before[-depths] - threshold, self.height - threshold
        return math.isfinite(then) and now > (1 - fall) * then

    def measure(self, threshold: float, intervals: int | None = None, looks: Looks = "closely") -> Measure:
        """The job that measures it; on a grid of so many intervals and nowhere else, where that is asked for."""
        return Measure(self.name, self.segment, (self.left.value, self.right.value), threshold, intervals, looks)


Chain = tuple[Link, ...]


def beads_of(chain: Sequence[Link]) -> tuple[Bead, ...]:
    """The beads along a chain, its ends included."""
    return (chain[0].left, *(link.right for link in chain))


def is_string(chain: Sequence[Link]) -> bool:
    """Whether every link has been measured and accepted."""
    return all(link.measured is not None and link.measured.accepted for link in chain)


def maximum(chain: Sequence[Link]) -> float:
    """The largest sample on a chain, its beads included: Γ̃ (4); infinite as long as a link is not measured."""
    return max(
        (max(link.height, link.left.value, link.right.value) if link.measured else math.inf for link in chain),
        default=math.inf,
    )


def length(chain: Sequence[Link]) -> float:
    """The length of a chain."""
    return math.fsum(link.segment.length for link in chain)


def with_measured(chain: Chain, results: Mapping[str, JobResult]) -> Chain:
    """The chain with those of its links that were measured, for the first time or more closely than before."""
    return tuple(
        replace(link, measured=result)
        if (link.measured is None or link.measured.rough) and isinstance(result := results.get(link.name), Measured)
        else link
        for link in chain
    )


def with_beads(chain: Chain, beads: Sequence[Bead]) -> Chain:
    """The chain through these beads; links whose ends are the same keep what is known of them."""
    return tuple(
        link if link.left is left and link.right is right else Link(left, right, link.depth, before=link.before)
        for link, (left, right) in zip(chain, pairwise(beads), strict=True)
    )


def held_to(chain: Sequence[Link], level: float) -> Chain:
    """The links judged by another level: their maxima are known."""
    return tuple(
        replace(
            link, measured=msgspec.structs.replace(link.measured, accepted=no_worse(link.measured.top.value, level))
        )
        if link.measured is not None
        else link
        for link in chain
    )


def afresh(chain: Sequence[Link], level: float) -> Chain:
    """The chain as a first string, held to a level: nothing has failed on it yet.

    Inner beads are named anew, so that no bead that is yet to come gets a name that is taken.
    """
    first, *inner, last = beads_of(chain)
    beads = [first, *(replace(bead, name=f"first{k}") for k, bead in enumerate(inner)), last]
    return tuple(
        Link(left, right, link.depth, link.measured)
        for link, (left, right) in zip(held_to(chain, level), pairwise(beads), strict=True)
    )


def detour(left: Link, right: Link) -> float:
    """How much longer the way over the bead between two links is than the straight one."""
    straight = Segment(left.left.theta, right.right.theta).length
    return left.segment.length + right.segment.length - straight
