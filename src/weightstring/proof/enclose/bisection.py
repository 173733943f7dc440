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

from weightstring.proof.enclose.bounding import Bounding
from weightstring.proof.enclose.intervals import Intervals, joined
from weightstring.proof.enclose.rounding import UPWARDS
from weightstring.proof.enclose.samples import Sampled

HALVINGS = 3
"""Times that an interval is halved at once, at most."""

ROUNDED = 2**0.5
"""By how much a part's bound may be foreseen too high: a halving brings down more than it need."""

FORESEEN = 1 / 24
"""What it costs to foresee a bound, in bounds."""

STAGES = 8.0
"""By how much a bound may be foreseen too high where many examples will leave then, and few need half the width."""

FINE = 2.0**-12
"""Width in t below which bounds are found rather than foreseen."""


NARROWEST = 2.0**-40
"""Width in t below which nothing is cut: rounding is all that is left."""

STALLED = 3
"""Halvings without progress after which the bound at a single point tells whether the target can be reached."""

SHORTEST = 1e-6
"""Seconds that clocks tell apart, about."""

GIVEN_UP = 12
"""Halvings without progress after which an interval keeps its bound."""

PROGRESS = 0.01
"""What a halving must take from a bound's excess over the target to count."""


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
    bound: Bounding,
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
    # Where a clock may end it, whole intervals are bounded first: then there is a bound of everything at any time.
    course = _Bisection(bound, sampled, threshold, tolerance, whole, math.isinf(budget.seconds))
    while len(course.waiting):
        left = budget.seconds - (time.perf_counter() - started)
        spent = left < course.price or course.computed + course.owed >= budget.intervals
        if spent and course.computed and not course.end():
            break
        course.advance(left)
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
        plans: whether intervals are cut unbounded where their bounds will be too high.
        known: of each the bound of the interval that it was cut from.
        stalled: how many halvings of it took nothing from the bound.
        done: intervals that are not cut further, with their bounds.
        computed: how many bounds were computed.
        at_points: the largest bound at a single point.
        left: how many of those that wait are to be bounded before it ends.
        price: seconds that an interval took last; infinite before there was one.
    """

    bound: Bounding
    sampled: Sampled
    threshold: float | None
    tolerance: float
    waiting: Intervals
    plans: bool
    known: Tensor = field(init=False)
    stalled: Tensor = field(init=False)
    done: list[tuple[Intervals, Tensor]] = field(default_factory=list)
    computed: float = 0.0
    at_points: float = -math.inf
    left: int = 0
    price: float = math.inf

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
    def owed(self) -> int:
        """Intervals that may be there after the next cut without a bound, each of which needs one before the end."""
        return 2**HALVINGS * int(self.known.isinf().sum()) if self.plans else 0

    @property
    def largest(self) -> float:
        """The largest bound so far."""
        bounds = [*(bounds for _, bounds in self.done), self.known]
        return max((float(part.max()) for part in bounds if len(part)), default=math.inf)

    def advance(self, seconds: float = math.inf) -> None:
        """Bound the first intervals, as many as there is time for, and cut those whose bounds are over the target."""
        started = time.perf_counter()
        count = min(self.bound.at_once, self.left or len(self.waiting))
        if seconds < math.inf:
            count = min(count, max(1, int(seconds / self.price)))
        self._bound(count)
        self.price = max(time.perf_counter() - started, SHORTEST) / count

    def _bound(self, count: int) -> None:
        self.left = max(0, self.left - count)
        batch, self.waiting = self.waiting.take(slice(0, count)), self.waiting.take(slice(count, None))
        before, self.known = self.known[:count], self.known[count:]
        stalled, self.stalled = self.stalled[:count], self.stalled[count:]
        if self.plans:
            gap = self._foreseen(batch)
            self._cut(batch, gap, before, stalled, gap > 0, STAGES)
            batch, before, stalled = batch.take(gap <= 0), before[gap <= 0], stalled[gap <= 0]
        if not len(batch):
            return
        # A bound of a part cannot be worse than that of the whole.
        bounds = torch.minimum(self._bounds(batch), before)
        stuck = torch.where(_fell(bounds, before, self.target), 0.0, stalled)
        narrow = (batch.high - batch.low).cpu() <= NARROWEST
        keep = self._reached(batch, bounds, narrow, stuck) | narrow | (stuck >= GIVEN_UP)
        self.done.append((batch.take(keep), bounds[keep]))
        self._cut(batch, bounds - self.sampled.near(batch), bounds, stuck + 1, ~keep, ROUNDED)

    def end(self) -> bool:
        """Plan no more; whether intervals are left of which no bound is known: they come next, once each."""
        if self.plans:
            self.plans, unknown = False, self.known.isinf()
            order = (~unknown).int().argsort(stable=True)
            self.waiting = self.waiting.take(order)
            self.known, self.stalled, self.left = self.known[order], self.stalled[order], int(unknown.sum())
        return self.left > 0

    def _foreseen(self, batch: Intervals) -> Tensor:
        """How far bounds will lie above the loss, where that is too far and a part is worth its price, else 0."""
        gap = self.bound.foreseen(batch)
        self.computed += FORESEEN * len(batch)
        far = (gap > STAGES * self._room(batch, self.bound.taken(batch))) & ((batch.high - batch.low).cpu() > FINE)
        if bool(far.any()):
            self.sampled.middles(batch.take(far))
        return gap.where(far, 0.0)

    def _room(self, intervals: Intervals, taken: Tensor) -> Tensor:
        """What lies between the target and the loss on intervals, less what is taken of it."""
        room = (self.target - self.sampled.near(intervals)).clamp(min=1e-3 * abs(self.target) + 1e-300)
        return torch.maximum(room - taken, 0.1 * room)

    def _cut(
        self, batch: Intervals, gap: Tensor, bounds: Tensor, stalled: Tensor, which: Tensor, allowed: float
    ) -> None:
        """Cut intervals into parts as wide as they can be, as a bound's gap falls with the square of the width.

        Args:
            batch: (I,).
            gap: (I,) of their bounds.
            bounds: (I,) what is known of their parts.
            stalled: (I,) likewise, after one halving.
            which: (I,) of them to cut.
            allowed: by how much a part's bound may be foreseen too high.
        """
        if not bool(which.any()):
            return
        batch, gap, bounds, stalled = batch.take(which), gap[which], bounds[which], stalled[which]
        taken, width = self.bound.taken(batch), (batch.high - batch.low).cpu()
        found = []
        parts, owners = batch.split(2), torch.arange(len(batch)).repeat_interleave(2)
        for _ in range(HALVINGS - 1):
            share = ((parts.high - parts.low).cpu() / width[owners]) ** 2
            wide = (gap - taken)[owners] * share > allowed * self._room(parts, taken[owners])
            found.append((parts.take(~wide), owners[~wide]))
            parts, owners = parts.take(wide).split(2), owners[wide].repeat_interleave(2)
        found.append((parts, owners))
        parts, owners = joined([one for one, _ in found]), torch.cat([own for _, own in found])
        order = owners.argsort(stable=True)
        parts, owners = parts.take(order), owners[order]
        # Where the last cut brought nothing, it may be because too many left.
        room = self._room(batch, torch.zeros_like(taken)).where(stalled < 2, 0.0)
        self.bound.cut(batch, parts, owners, room)
        halvings = torch.log2(width[owners] / (parts.high - parts.low).cpu())
        self.waiting = joined([self.waiting, parts])
        self.known = torch.cat([self.known, bounds[owners]])
        self.stalled = torch.cat([self.stalled, stalled[owners] + halvings - 1])

    def _reached(self, batch: Intervals, bounds: Tensor, narrow: Tensor, stuck: Tensor) -> Tensor:
        """Which bounds are at most the target, after looking whether the target itself can be reached."""
        low = bounds <= self.target
        if not bool((low | narrow).all()):
            self.sampled.middles(batch.take(~low & ~narrow))
            low = bounds <= self.target
        if bool((doubtful := (stuck >= STALLED) & ~low & ~narrow).any()):
            middles = batch.take(doubtful).middles()
            self.at_points = max(self.at_points, float(self._bounds(middles).max()))
            low = bounds <= self.target
        return low

    def _bounds(self, intervals: Intervals) -> Tensor:
        bounds = self.bound(intervals).cpu()
        bounds = bounds + UPWARDS * bounds.abs()
        self.computed += len(intervals)
        return bounds.where(bounds.isfinite(), math.inf)

    def partition(self) -> Partition:
        """All intervals in order; those that wait have the bounds of what they were cut from."""
        everything = [*self.done, (self.waiting, self.known)]
        intervals, bounds = joined([part for part, _ in everything]), torch.cat([bounds for _, bounds in everything])
        order = (intervals.segments + intervals.low).argsort()
        ordered, highest = intervals.take(order), self.sampled.highest
        return Partition(
            ordered, bounds[order.cpu()], highest, self.target, math.ceil(self.computed), self.sampled.tops
        )


def _fell(bounds: Tensor, before: Tensor, target: float) -> Tensor:
    """Where cutting took its share of the excess over the target; all that is finite has fallen from infinity."""
    excess = (before - target).where(before.isfinite(), 0.0)
    return torch.where(before.isfinite(), bounds <= before - PROGRESS * excess, bounds.isfinite())
