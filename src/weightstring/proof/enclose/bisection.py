"""Adaptive bisection of a whole string: which intervals have to be how small for their bounds to reach a target."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import torch
from jaxtyping import Float64, Int64
from torch import Tensor

from weightstring.errors import Unsupported
from weightstring.proof.enclose.intervals import Intervals, joined

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

FIRST_SAMPLES = 8
"""Steps of the first grid on each segment."""

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
        tops: of each segment the largest sample met between its beads: t and value.
    """

    intervals: Intervals
    bounds: Float64[Tensor, " I"]
    highest: float
    target: float
    computed: int
    tops: Mapping[int, tuple[float, float]]


@dataclass(eq=False)
class Sampled:
    """The loss along the string at the positions looked at so far, segment + t.

    Args:
        measure: the loss at positions t (T,) of a segment.
        segments: which of them are looked at, in order.
        known: values that were sampled before, by t, for each segment of the string; none are forgotten.
    """

    measure: Callable[[int, Tensor], Tensor]
    segments: Sequence[int]
    known: Sequence[Mapping[float, float]] = ()
    places: Tensor = field(init=False)
    values: Tensor = field(init=False)

    def __post_init__(self) -> None:
        self.places = torch.empty(0, dtype=torch.float64)
        self.values = torch.empty(0, dtype=torch.float64)
        ts = torch.linspace(0, 1, FIRST_SAMPLES + 1, dtype=torch.float64)
        for segment in self.segments:
            # Each bead once: its place as the end of one segment is that of the beginning of the next.
            self._look(segment, ts[:-1] if segment + 1 in self.segments else ts)
        for segment in self.segments if self.known else ():
            self._recall(segment, self.known[segment])

    @property
    def highest(self) -> float:
        """The largest sample."""
        return float(self.values.max())

    @property
    def tops(self) -> dict[int, tuple[float, float]]:
        """Of each segment the largest sample between its beads: t and value."""
        found: dict[int, tuple[float, float]] = {}
        for place, value in zip(self.places.tolist(), self.values.tolist(), strict=True):
            segment, t = int(place), place % 1
            if t and value > found.get(segment, (0.0, -math.inf))[1]:
                found[segment] = t, value
        return found

    def above(self, intervals: Intervals, bounds: Tensor) -> Float64[Tensor, " S"]:
        """By how much each sample exceeds the bound of the interval in which it lies; the intervals are in order."""
        return self.values - bounds[self.owners(intervals)]

    def owners(self, intervals: Intervals) -> Int64[Tensor, " S"]:
        """Which of the intervals, in order, each sample lies in."""
        return torch.searchsorted((intervals.segments + intervals.low).cpu(), self.places, right=True) - 1

    def middles(self, intervals: Intervals) -> None:
        """Look at the middle of each interval."""
        at = ((intervals.low + intervals.high) / 2).cpu()
        segments = intervals.segments.cpu()
        for segment in sorted(set(segments.tolist())):
            ts = at[segments == segment]
            self._look(segment, ts[~torch.isin(ts + segment, self.places)])

    def _look(self, segment: int, ts: Tensor) -> None:
        if len(ts):
            self._add(segment, ts, self.measure(segment, ts).cpu())

    def _recall(self, segment: int, known: Mapping[float, float]) -> None:
        """Take in what was sampled before; of two values of one place the larger."""
        ts = torch.tensor(list(known), dtype=torch.float64)
        values = torch.tensor(list(known.values()), dtype=torch.float64)
        again = torch.isin(ts + segment, self.places)
        at = torch.searchsorted(self.places, ts[again] + segment)
        self.values[at] = torch.maximum(self.values[at], values[again])
        self._add(segment, ts[~again], values[~again])

    def _add(self, segment: int, ts: Tensor, found: Tensor) -> None:
        for t, value in zip(ts[~found.isfinite()].tolist(), found[~found.isfinite()].tolist(), strict=True):
            raise Unsupported(f"the loss is {value} at t = {t:.6g} of segment {segment}: nothing bounds it")
        places = torch.cat([self.places, ts + segment])
        order = places.argsort()
        self.places, self.values = places[order], torch.cat([self.values, found])[order]

    def near(self, intervals: Intervals) -> Float64[Tensor, " I"]:
        """About the largest value on each interval: of its ends, between samples, and its middle."""
        low, high = (intervals.segments + intervals.low).cpu(), (intervals.segments + intervals.high).cpu()
        return torch.stack([self._between(low), self._between((low + high) / 2), self._between(high)]).amax(0)

    def _between(self, places: Tensor) -> Tensor:
        right = torch.searchsorted(self.places, places).clamp(1, len(self.places) - 1)
        x0, x1 = self.places[right - 1], self.places[right]
        share = ((places - x0) / (x1 - x0)).clamp(0, 1)
        return torch.lerp(self.values[right - 1], self.values[right], share)


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
    done: list[tuple[Intervals, Tensor]] = []
    waiting, known = whole, torch.full((len(whole),), math.inf, dtype=torch.float64)
    stalled = torch.zeros(len(whole))
    computed, at_points = 0, -math.inf

    def target() -> float:
        if threshold is not None and max(sampled.highest, at_points) <= threshold:
            return threshold
        wanted = sampled.highest + tolerance * abs(sampled.highest)
        return wanted if at_points <= wanted else at_points + tolerance * abs(at_points)

    while len(waiting):
        if computed and (time.perf_counter() - started >= budget.seconds or computed >= budget.intervals):
            break
        batch, rest = waiting.take(slice(0, BATCH)), waiting.take(slice(BATCH, None))
        # A bound of a part cannot be worse than that of the whole.
        found = bound(batch).cpu()
        bounds = torch.minimum(found.where(found.isfinite(), math.inf), known[:BATCH])
        stuck = torch.where(_fell(bounds, known[:BATCH], target()), 0.0, stalled[:BATCH])
        known, stalled = known[BATCH:], stalled[BATCH:]
        computed += len(batch)
        low = bounds <= target()
        narrow = (batch.high - batch.low).cpu() <= NARROWEST
        if not bool((low | narrow).all()):
            open_ones = batch.take((~low & ~narrow).to(batch.low.device))
            sampled.middles(open_ones)
            low = bounds <= target()
        if bool((doubtful := (stuck >= STALLED) & ~low & ~narrow).any()):
            middles = batch.take(doubtful.to(batch.low.device)).middles()
            found = bound(middles).cpu()
            at_points = max(at_points, float(found.where(found.isfinite(), math.inf).max()))
            computed += len(middles)
            low = bounds <= target()
        keep = low | narrow | (stuck >= GIVEN_UP)
        done.append((batch.take(keep.to(batch.low.device)), bounds[keep]))
        parts = [rest]
        for pieces, which in _cuts(batch, bounds, ~keep, sampled, target()):
            parts.append(batch.take(which.to(batch.low.device)).split(pieces))
            known = torch.cat([known, bounds[which].repeat_interleave(pieces)])
            stalled = torch.cat([stalled, (stuck[which] + math.log2(pieces)).repeat_interleave(pieces)])
        waiting = joined(parts)
        on_round(sum(len(part) for part, _ in done), len(waiting), _largest(done, known))
    done.append((waiting, known))
    intervals = joined([part for part, _ in done])
    bounds = torch.cat([found for _, found in done])
    order = (intervals.segments + intervals.low).argsort()
    return Partition(intervals.take(order), bounds[order.cpu()], sampled.highest, target(), computed, sampled.tops)


def _fell(bounds: Tensor, before: Tensor, target: float) -> Tensor:
    """Where cutting took its share of the excess over the target; all that is finite has fallen from infinity."""
    excess = (before - target).where(before.isfinite(), 0.0)
    return torch.where(before.isfinite(), bounds <= before - PROGRESS * excess, bounds.isfinite())


def _largest(done: list[tuple[Intervals, Tensor]], known: Tensor) -> float:
    values = [*(found for _, found in done), known]
    return max((float(found.max()) for found in values if len(found)), default=math.inf)


def _cuts(batch: Intervals, bounds: Tensor, cut: Tensor, sampled: Sampled, target: float) -> list[tuple[int, Tensor]]:
    """Into how many pieces to cut which: what a bound exceeds the loss by falls with the square of the width."""
    near = sampled.near(batch)
    room = (target - near).clamp(min=1e-3 * abs(target) + 1e-300)
    ratio = ((bounds - near) / room).clamp(min=1.0, max=float(MAX_PIECES**2))
    pieces = torch.exp2(torch.ceil(torch.log2(ratio.sqrt()) - 0.25).clamp(min=1, max=math.log2(MAX_PIECES)))
    return [(int(n), cut & (pieces == n)) for n in sorted(set(pieces[cut].tolist()))]
