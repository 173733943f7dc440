r"""Examples one by one: each is enclosed on intervals of its own, no smaller than it needs.

On an interval J an example's loss is at most a function that is convex in t (``losses``), and so nowhere above the
line through its two ends. An example whose bound is near its loss on J therefore needs no bounds on parts of J: there
the line stands for it. The mean over all examples is, on a part I of J, at most

    Σ_{k left on J} (line of k on J) + Σ_{k still there} (convex bound of k on I),

which is convex again, and no larger than at the larger end of I. Lines add up, so that an interval keeps one line for
all who left on any interval that it is a part of, by its values at the interval's ends. Who leaves is guessed from how
far the bounds lie above the losses of the enclosures' centres; a wrong guess costs tightness or time, never truth.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import cached_property

import torch
from jaxtyping import Float64, Int64
from torch import Tensor

from weightstring.proof.enclose.bounding import BATCH, Examining
from weightstring.proof.enclose.intervals import Intervals
from weightstring.proof.enclose.rounding import ELEMENTWISE, FLOOR
from weightstring.proof.enclose.values import Bounds, highest

SHARE = 0.4
"""Of the room between the target and the loss, what those who leave an interval may take."""

TOO_MUCH = 0.7
"""Of that room, what all of them may take together; from there on they return."""

AT_MOST = 0.5
"""Of the looseness of all who are left, what those who leave may take."""

STEP = 24
"""One of as many examples foresees what all of them will show."""

MANY = 3072
"""Examples from which on that is enough of them."""

Place = tuple[int, float, float]
"""An interval: segment, low, high."""


@dataclass(frozen=True, eq=False)
class Staying:
    """The examples that are enclosed on an interval.

    Args:
        rows: (n,) which.
        line: no less than what the others have in the mean, at both ends of the interval or at its middle too; (1,):
            the same everywhere.
        taken: about how far that lies above their losses.
    """

    rows: Int64[Tensor, " n"]
    line: Float64[Tensor, " nodes"]
    taken: float = 0.0


@dataclass(eq=False)
class Refining:
    """Upper bounds of the mean over intervals of a bisection, which examples leave as it goes on.

    Args:
        enclosing: the loss, enclosed.
    """

    enclosing: Examining
    _waiting: dict[Place, Staying] = field(default_factory=dict)
    _seen: dict[Place, tuple[Staying, Bounds]] = field(default_factory=dict)

    @property
    def at_once(self) -> int:
        """As many as an eighth of the memory holds the examples' bounds of."""
        each = 3 * 8 * max(1, len(self.enclosing.order))
        return max(1, min(BATCH, self.enclosing.max_bytes // (8 * each)))

    def __call__(self, intervals: Intervals) -> Float64[Tensor, " I"]:
        """Upper bounds; those of intervals that are no points are remembered until the next call."""
        places = _places(intervals)
        staying = [self._waiting.pop(place, self.everyone) for place in places]
        bounds = torch.empty(len(intervals), dtype=torch.float64, device=intervals.low.device)
        if any(low < high for _, low, high in places):
            self._seen.clear()
        for rows in {id(one.rows): one.rows for one in staying}.values():
            mine = [i for i, one in enumerate(staying) if one.rows is rows]
            at = 0
            for part, found in self.enclosing.examined(intervals.take(torch.tensor(mine)), rows):
                for k in range(len(part)):
                    i, one = mine[at + k], found.at(k)
                    bounds[i] = highest(_added(one.nodes[:, 0], staying[i].line))
                    if places[i][1] < places[i][2]:
                        self._seen[places[i]] = staying[i], one
                at += len(part)
        return bounds

    def foreseen(self, intervals: Intervals) -> Float64[Tensor, " I"]:
        """About how far bounds will lie above the loss, by some of the examples; 0 for few of them."""
        gaps = torch.zeros(len(intervals), dtype=torch.float64)
        staying = [self._of(place) for place in _places(intervals)]
        for rows in {id(one.rows): one.rows for one in staying}.values():
            if len(rows) >= MANY:
                mine = torch.tensor([i for i, one in enumerate(staying) if one.rows is rows])
                parts = self.enclosing.examined(intervals.take(mine), rows[::STEP])
                loose = torch.cat([found.loose.sum(1) for _, found in parts]).cpu()
                gaps[mine] = loose * (len(rows) / len(rows[::STEP])) + self.taken(intervals.take(mine))
        return gaps.nan_to_num(torch.inf)

    def taken(self, intervals: Intervals) -> Float64[Tensor, " I"]:
        """How far the bounds of intervals lie above the loss for good, because of those who left."""
        return torch.tensor([self._of(place).taken for place in _places(intervals)], dtype=torch.float64)

    def _of(self, place: Place) -> Staying:
        return self._seen[place][0] if place in self._seen else self._waiting.get(place, self.everyone)

    @cached_property
    def everyone(self) -> Staying:
        """All examples."""
        return Staying(self.enclosing.order, torch.zeros(1, dtype=torch.float64, device=self.enclosing.beads.device))

    def cut(self, intervals: Intervals, parts: Intervals, owners: Tensor, room: Float64[Tensor, " I"]) -> None:
        """Let examples leave intervals whose bounds were found, where they are cut into parts.

        Args:
            intervals: (I,).
            parts: (J,) of them.
            owners: (J,) which interval each is a part of.
            room: (I,) between the target and the loss; 0: whoever left returns.
        """
        places, pieces = _places(intervals), _places(parts)
        for i, place in enumerate(places):
            if place in self._seen:
                staying = self._after(*self._seen.pop(place), float(room[i]))
            else:
                staying = self._waiting.pop(place, self.everyone)
            _, low, high = place
            for k in (owners == i).nonzero().squeeze(1).tolist():
                share = (torch.tensor(pieces[k][1:], dtype=torch.float64) - low) / (high - low)
                line = _between(staying.line, share.to(staying.line.device))
                line += ELEMENTWISE * (staying.line.abs().max() + FLOOR)
                self._waiting[pieces[k]] = replace(staying, line=line)

    def _after(self, staying: Staying, bounds: Bounds, room: float) -> Staying:
        """Who stays on the parts of an interval, and the line of the others; all return where it lies too high."""
        loose = bounds.loose[0].clamp(min=0).nan_to_num(torch.inf, posinf=torch.inf)
        order = loose.argsort()
        total = loose[order].cumsum(0)
        if staying.taken > TOO_MUCH * room:
            return self.everyone
        allowed = min(SHARE * (TOO_MUCH * room - staying.taken), AT_MOST * float(total[-1]))
        count = int(torch.searchsorted(total, allowed, right=True)) if float(total[-1]) < torch.inf else 0
        count = min(count, len(order) - 1)
        if count < 1:
            return staying
        going = torch.zeros(len(order), dtype=torch.bool, device=order.device).index_fill_(0, order[:count], True)
        line = _added(staying.line, bounds.summed(bounds.each[..., going])[:, 0])
        return Staying(staying.rows[~going], line, staying.taken + float(total[count - 1]))


def _places(intervals: Intervals) -> list[Place]:
    return list(zip(intervals.segments.tolist(), intervals.low.tolist(), intervals.high.tolist(), strict=True))


def _between(line: Tensor, share: Float64[Tensor, " 2"]) -> Tensor:
    """A line's, or a parabola's, values at the ends of a part, and at its middle."""
    if len(line) == 1:
        return line
    if len(line) == 2:
        return torch.lerp(line[:1], line[1:], share)
    at = 2 * torch.stack([share[0], share.mean(), share[1]]) - 1
    slope, top = (line[2] - line[0]) / 2, (line[0] + line[2]) / 2 - line[1]
    return line[1] + at * (slope + at * top)


def _added(one: Tensor, other: Tensor) -> Tensor:
    return one + other + ELEMENTWISE * (one.abs() + other.abs())
