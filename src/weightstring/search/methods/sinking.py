"""Search under lower and lower thresholds: for Γ itself (3), where nobody says how low a path shall stay.

The next threshold lies a step under the maximum of the best string. A search that succeeds makes the step longer, one
that fails makes it shorter; a failure at the shortest step is the end.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from typing import Any

from weightstring.errors import InvalidSetting
from weightstring.path import Reason
from weightstring.search.account import Account
from weightstring.search.chain import Chain, held_to, is_string, maximum
from weightstring.search.composite import Composite, Rest, Stage
from weightstring.search.jobs import Job
from weightstring.search.methods.greedy import Greedy
from weightstring.search.methods.persistent import Persistent, usual
from weightstring.search.strategy import Strategy, require_numbers
from weightstring.search.string import Query, String

LOWER = "a lower aim"
"""What is tried under each threshold beside plain greedy search: the cheapest of the usual attempts, and the best."""

LONGER = 4.0
"""By what a step grows, or shrinks."""


@dataclass(frozen=True)
class Sunk(Stage):
    """The best string so far, and the search under a lower threshold.

    Args:
        best: the string with the lowest maximum; None before it was measured.
        level: the threshold of the search under way.
        step: by which share of the best string's maximum that lies lower.
        maxima: of the best string, after each search.
        over: whether no other search follows.
    """

    best: Chain | None = None
    level: float = math.inf
    step: float = 0.0
    maxima: tuple[float, ...] = ()
    over: bool = False

    @property
    def lowest(self) -> Chain:
        """The string with the lowest maximum, that of the search under way included."""
        string = super().string
        if self.best is None or self.over:
            return string.chain if self.best is None else self.best
        other = held_to(string.shown, self.query.threshold)
        return other if maximum(other) < maximum(self.best) else self.best

    @property
    def string(self) -> String:
        """The string of the search under way, afterwards the best; the best to show, with its maximum by searches."""
        chain = self.best if self.over and self.best is not None else super().string.chain
        account = Account(self.maxima, opened=(1,) * len(self.maxima), retries=self.number)
        return String(self.query, chain, self.level, best=self.lowest, account=account)


@dataclass(frozen=True)
class Sinking(Composite[Sunk]):
    """Search under lower and lower thresholds, until none is found.

    Args:
        strategy: what searches under each; by default greedy search, and where that fails with a lower aim.
        tolerance: the shortest step, as a share of the best string's maximum. What lies under the threshold of the
            task by less than a tenth of that share of the first string's maximum counts as reached.

    Raises:
        InvalidSetting: the tolerance is out of range.

    >>> Sinking(tolerance=0.01).tolerance
    0.01
    """

    strategy: Strategy[Any] = field(default_factory=lambda: Persistent(Greedy(), {LOWER: usual(Greedy())[LOWER]}))
    tolerance: float = 0.005

    def __post_init__(self) -> None:
        require_numbers(self, ("tolerance",))
        if not 0 < self.tolerance < 1:
            raise InvalidSetting(f"Sinking(tolerance={self.tolerance}): give a share in (0, 1)")

    def start(self, query: Query) -> Sunk:
        """The straight segment is the first string, or that through the waypoints."""
        return self.onward(query, query.first)

    def onward(self, query: Query, chain: Chain) -> Sunk:
        """That string is the first."""
        level = query.threshold
        first = String(query, held_to(chain, level), level, prunes=False)
        return self.settled(Sunk(query, Rest(), first, level=level, step=self.tolerance))

    def propose(self, stage: Sunk) -> tuple[Job, ...]:
        """What the search under way proposes."""
        return () if stage.over else super().propose(stage)

    def following(self, stage: Sunk, reason: Reason | None) -> Sunk | None:
        """The next search: under a lower threshold after a success, under a higher one after a failure."""
        if stage.over:
            return None
        if stage.best is None:
            best = stage.string.chain
            return self._next(replace(stage, best=best, maxima=(maximum(best),)))
        if reason is None:
            found = held_to(stage.string.chain, stage.query.threshold)
            maxima = (*stage.maxima, maximum(found))
            return self._next(replace(stage, best=found, maxima=maxima, step=LONGER * stage.step))
        if (again := stage.strategy.after(stage.search, reason)) is not None:
            return replace(stage, search=again)
        best = stage.lowest  # What failed by a little may lie lower all the same.
        failed = replace(stage, best=best, maxima=(*stage.maxima, maximum(best)))
        if stage.step <= self.tolerance * (1 + 1e-9):
            return replace(failed, over=True)
        return self._next(replace(failed, step=max(self.tolerance, stage.step / LONGER)))

    def _next(self, stage: Sunk) -> Sunk:
        """The next search, unless the best string is as low as any can be."""
        assert stage.best is not None
        lowest, top = stage.query.threshold, stage.maxima[-1]
        near = 0.1 * self.tolerance * max(abs(stage.maxima[0]), stage.maxima[0] - lowest)
        if is_string(stage.best) or (math.isfinite(near) and top - lowest <= near):
            return replace(stage, over=True, level=lowest)
        step = stage.step * max(abs(top), top - lowest) if math.isfinite(top) else math.inf
        level = max(top - step, (top + lowest) / 2) if math.isfinite(top) else 2 * max(abs(lowest), 1.0)
        search = self.strategy.start(replace(stage.query, threshold=level))
        number = stage.number + 1
        return replace(stage, strategy=self.strategy, search=search, level=level, number=number, place=f"{number}/")

    def after(self, stage: Sunk, reason: Reason) -> None:
        """None: the attempts of its searches are not attempts of its own."""

    def attempt(self, stage: Sunk) -> None:
        """Nothing, see :meth:`after`."""

    def give_up(self, stage: Sunk) -> Reason | None:
        """``stalled`` once no lower string is found."""
        return "stalled" if stage.over and stage.best is not None and not is_string(stage.best) else None
