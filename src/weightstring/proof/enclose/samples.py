"""The loss along a string at the places looked at so far."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import torch
from jaxtyping import Float64, Int64
from torch import Tensor

from weightstring.errors import Unsupported
from weightstring.proof.enclose.intervals import Intervals

FIRST_SAMPLES = 8
"""Steps of the first grid on each segment."""

NEAR = 1 / 32
"""Distance in t of a value that was sampled before, within which the first grid needs none of its own between beads."""


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
            unseen = ts[:-1] if segment + 1 in self.segments else ts
            self._look(segment, unseen[_apart(unseen, self.known[segment])] if self.known else unseen)
        for segment in self.segments if self.known else ():
            self._recall(segment, self.known[segment])

    @property
    def highest(self) -> float:
        """The largest sample."""
        return float(self.values.max())

    @property
    def top(self) -> tuple[int, float]:
        """Where it lies: segment and t."""
        place = float(self.places[self.values.argmax()])
        segment = min(int(place), max(self.segments))
        return segment, place - segment

    @property
    def tops(self) -> dict[int, tuple[float, float]]:
        """Of each segment the largest sample between its beads: t and value."""
        tops: dict[int, tuple[float, float]] = {}
        for place, value in zip(self.places.tolist(), self.values.tolist(), strict=True):
            segment, t = int(place), place % 1
            if t and value > tops.get(segment, (0.0, -math.inf))[1]:
                tops[segment] = t, value
        return tops

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

    def _add(self, segment: int, ts: Tensor, values: Tensor) -> None:
        for t, value in zip(ts[~values.isfinite()].tolist(), values[~values.isfinite()].tolist(), strict=True):
            raise Unsupported(f"the loss is {value} at t = {t:.6g} of segment {segment}: nothing bounds it")
        places = torch.cat([self.places, ts + segment])
        order = places.argsort()
        self.places, self.values = places[order], torch.cat([self.values, values])[order]

    def near(self, intervals: Intervals) -> Float64[Tensor, " I"]:
        """About the largest value on each interval: of its ends, between samples, and its middle."""
        low, high = (intervals.segments + intervals.low).cpu(), (intervals.segments + intervals.high).cpu()
        return torch.stack([self._between(low), self._between((low + high) / 2), self._between(high)]).amax(0)

    def _between(self, places: Tensor) -> Tensor:
        right = torch.searchsorted(self.places, places).clamp(1, len(self.places) - 1)
        x0, x1 = self.places[right - 1], self.places[right]
        share = ((places - x0) / (x1 - x0)).clamp(0, 1)
        return torch.lerp(self.values[right - 1], self.values[right], share)


def _apart(ts: Tensor, known: Mapping[float, float]) -> Tensor:
    """Which positions have no value known nearby; at the beads only their own counts."""
    nearest = (ts.unsqueeze(1) - torch.tensor([*known, math.inf], dtype=torch.float64)).abs().amin(1)
    return nearest > torch.where((ts == 0) | (ts == 1), 0.0, NEAR)
