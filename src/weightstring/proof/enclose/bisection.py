"""Adaptive bisection of a whole string: how small each interval must be for its bound to reach a target."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

import torch
from jaxtyping import Float64
from torch import Tensor

from weightstring.proof.enclose.intervals import Intervals, joined
from weightstring.proof.enclose.samples import Sampled

MAX_PIECES = 8
"""Parts that an interval is cut into at once, at most."""

NARROWEST = 2.0**-40
"""Width in t below which nothing is cut: rounding is all that is left."""

STALLED = 3
"""Halvings without progress after which the bound at a single point tells whether the target can be reached."""

GIVEN_UP = 12
"""Halvings without progress after which an interval keeps its bound."""

PROGRESS = 0.01
"""What a halving must take from a bound's excess over the target to count."""


BATCH = 16
"""Intervals whose bounds are computed at once."""


class Budget(NamedTuple):
    """When to stop: seconds, and intervals whose bounds were computed."""

    seconds: float = math.inf
    intervals: float = math.inf


@dataclass(frozen=True, eq=False)
class Partition:
    """A string cut into intervals, each with an upper bound of the loss on it.

    Args:
        intervals: they cover every segment, in order.
        bounds: (I,) one each.
        highest: the largest sample met.
        target: what the bounds were to reach.
        computed: intervals whose bounds were computed.
        tops: for each segment t and value of the largest sample between its beads.
    """

    intervals: Intervals
    bounds: Float64[Tensor, " I"]
    highest: float
    target: float
    computed: int
    tops: Mapping[int, tuple[float, float]]


def bisect(
    bound: Callable[[Intervals], Tensor],
    sampled: Sampled,
    whole: Intervals,
    threshold: float | None,
    tolerance: float,
    budget: Budget = Budget(),  # noqa: B008 - immutable
    on_round: Callable[[int, int, float], None] = lambda done, waiting, largest: None,
) -> Partition:
    """Cut intervals until each one's bound is at most the target, or the budget ends.

    The target is the threshold. Without one, or where a sample lies above it, it is the largest sample times
    (1 + tolerance). All intervals share it, so that what lies low stays whole. Where bounds do not fall any more, the
    bound at a single point is computed; one above the target shows that it cannot be reached, and takes its place.

    Args:
        bound: upper bounds (I,) of intervals.
        sampled: the loss as far as it is known.
        whole: the segments.
        threshold: what the bounds should reach.
        tolerance: relative, of the largest sample.
        budget: when to stop; what is not computed then keeps the bound of the interval that it was cut from.
        on_round: told how many intervals are done, how many wait, and the largest bound.
    """
    started = time.perf_counter()
    course = _Bisection(bound, sampled, threshold, tolerance, whole)
    while len(course.waiting):
        spent = time.perf_counter() - started >= budget.seconds or course.computed >= budget.intervals
        if course.computed and spent:
            break
        course.halve_some()
        on_round(sum(len(part) for part, _ in course.done), len(course.waiting), course.largest)
    return course.partition()


@dataclass(eq=False)
class _Bisection:
    """A bisection under way.

    Args:
        bound: upper bounds (I,) of intervals.
        sampled: the loss as far as it is known.
        threshold: what the bounds should reach.
        tolerance: relative, of the largest sample.
        waiting: intervals whose own bounds are not computed yet.
        known: of each the bound of the interval that it was cut from.
        stalled: how many halvings of it took nothing from the bound.
        done: intervals that are not cut further, with their bounds.
        computed: how many bounds were computed.
        at_points: the largest bound at a single point.
    """

    bound: Callable[[Intervals], Tensor]
    sampled: Sampled
    threshold: float | None
    tolerance: float
    waiting: Intervals
    known: Tensor = field(init=False)
    stalled: Tensor = field(init=False)
    done: list[tuple[Intervals, Tensor]] = field(default_factory=list)
    computed: int = 0
    at_points: float = -math.inf

    def __post_init__(self) -> None:
        self.known = torch.full((len(self.waiting),), math.inf, dtype=torch.float64)
        self.stalled = torch.zeros(len(self.waiting))

    @property
    def target(self) -> float:
        """What the bounds are to reach."""
        if self.threshold is not None and max(self.sampled.highest, self.at_points) <= self.threshold:
            return self.threshold
        wanted = self.sampled.highest + self.tolerance * abs(self.sampled.highest)
        return wanted if self.at_points <= wanted else self.at_points + self.tolerance * abs(self.at_points)

    @property
    def largest(self) -> float:
        """The largest bound so far."""
        bounds = [*(bounds for _, bounds in self.done), self.known]
        return max((float(part.max()) for part in bounds if len(part)), default=math.inf)

    def halve_some(self) -> None:
        """Bound the first intervals, and cut those whose bounds are over the target."""
        batch, rest = self.waiting.take(slice(0, BATCH)), self.waiting.take(slice(BATCH, None))
        before, stalled = self.known[:BATCH], self.stalled[:BATCH]
        # A bound of a part cannot be worse than that of the whole.
        bounds = torch.minimum(self._bounds(batch), before)
        stuck = torch.where(_fell(bounds, before, self.target), 0.0, stalled)
        narrow = (batch.high - batch.low).cpu() <= NARROWEST
        keep = self._reached(batch, bounds, narrow, stuck) | narrow | (stuck >= GIVEN_UP)
        self.done.append((batch.take(keep.to(batch.low.device)), bounds[keep]))
        parts, self.known, self.stalled = [rest], self.known[BATCH:], self.stalled[BATCH:]
        for pieces, which in _cuts(batch, bounds, ~keep, self.sampled, self.target):
            parts.append(batch.take(which.to(batch.low.device)).split(pieces))
            self.known = torch.cat([self.known, bounds[which].repeat_interleave(pieces)])
            self.stalled = torch.cat([self.stalled, (stuck[which] + math.log2(pieces)).repeat_interleave(pieces)])
        self.waiting = joined(parts)

    def _reached(self, batch: Intervals, bounds: Tensor, narrow: Tensor, stuck: Tensor) -> Tensor:
        """Which bounds are at most the target, after looking whether the target itself can be reached."""
        low = bounds <= self.target
        if not bool((low | narrow).all()):
            self.sampled.middles(batch.take((~low & ~narrow).to(batch.low.device)))
            low = bounds <= self.target
        if bool((doubtful := (stuck >= STALLED) & ~low & ~narrow).any()):
            middles = batch.take(doubtful.to(batch.low.device)).middles()
            self.at_points = max(self.at_points, float(self._bounds(middles).max()))
            low = bounds <= self.target
        return low

    def _bounds(self, intervals: Intervals) -> Tensor:
        bounds = self.bound(intervals).cpu()
        self.computed += len(intervals)
        return bounds.where(bounds.isfinite(), math.inf)

    def partition(self) -> Partition:
        """All intervals in order; those that wait have the bounds of what they were cut from."""
        everything = [*self.done, (self.waiting, self.known)]
        intervals, bounds = joined([part for part, _ in everything]), torch.cat([bounds for _, bounds in everything])
        order = (intervals.segments + intervals.low).argsort()
        ordered, highest = intervals.take(order), self.sampled.highest
        return Partition(ordered, bounds[order.cpu()], highest, self.target, self.computed, self.sampled.tops)


def _fell(bounds: Tensor, before: Tensor, target: float) -> Tensor:
    """Where cutting took its share of the excess over the target; all that is finite has fallen from infinity."""
    excess = (before - target).where(before.isfinite(), 0.0)
    return torch.where(before.isfinite(), bounds <= before - PROGRESS * excess, bounds.isfinite())


def _cuts(batch: Intervals, bounds: Tensor, cut: Tensor, sampled: Sampled, target: float) -> list[tuple[int, Tensor]]:
    """Which intervals to cut into how many pieces: the excess of a bound falls with the square of the width."""
    near = sampled.near(batch)
    room = (target - near).clamp(min=1e-3 * abs(target) + 1e-300)
    ratio = ((bounds - near) / room).clamp(min=1.0, max=float(MAX_PIECES**2))
    pieces = torch.exp2(torch.ceil(torch.log2(ratio.sqrt()) - 0.25).clamp(min=1, max=math.log2(MAX_PIECES)))
    return [(int(n), cut & (pieces == n)) for n in sorted(set(pieces[cut].tolist()))]
