"""Search under lower and lower thresholds: for Γ itself (3), where nobody says how low a path shall stay.

The next threshold lies a step under the maximum of the best string. A search that succeeds makes the step longer, one
that fails makes it shorter; a failure at the shortest step is the end.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from weightstring.arrays import finite_or_none
from weightstring.errors import InvalidSetting
from weightstring.path import Evidence, Reason
from weightstring.search.chain import Chain, Link, held_to, is_string, maximum
from weightstring.search.jobs import Job, Measured, Result, renamed
from weightstring.search.methods.greedy import Greedy
from weightstring.search.methods.persistent import Persistent, usual
from weightstring.search.strategy import Persists, Strategy, Task, require_numbers

LOWER = "a lower aim"
"""What is tried under each threshold beside plain greedy search: the cheapest of the usual attempts, and the best."""

LONGER = 4.0
"""By what a step grows, or shrinks."""


@dataclass(frozen=True)
class SinkingState:
    """The best string so far, and the search under a lower threshold.

    Args:
        task: what is asked; its threshold is the lowest there is.
        best: the string with the lowest maximum.
        search: the search under way; None before the first.
        level: its threshold.
        step: by which share of the best string's maximum that lies lower.
        number: searches so far; names their jobs.
        maxima: of the best string, after each search.
        over: whether the shortest step has failed.
    """

    task: Task
    best: Chain
    search: Any = None
    level: float = math.inf
    step: float = 0.0
    number: int = 0
    maxima: tuple[float, ...] = ()
    over: bool = False


@dataclass(frozen=True)
class Sinking:
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

    def start(self, task: Task) -> SinkingState:
        """The straight segment is the first string."""
        return SinkingState(task, (Link(*task.ends),), step=self.tolerance)

    def onward(self, task: Task, chain: Chain) -> SinkingState:
        """That string is the first."""
        state = SinkingState(task, held_to(chain, task.threshold), step=self.tolerance)
        measured = all(link.measured is not None for link in chain)
        return self._next(replace(state, maxima=(maximum(chain),))) if measured else state

    def propose(self, state: SinkingState) -> tuple[Job, ...]:
        """Measure the first string; afterwards what the search under way proposes, at places of its own."""
        if state.over:
            return ()
        if state.search is None:
            return tuple(link.measure(state.task.threshold) for link in state.best if link.measured is None)
        return tuple(renamed(job, f"{state.number}/{job.name}") for job in self.strategy.propose(state.search))

    def absorb(self, state: SinkingState, results: Mapping[str, Result]) -> SinkingState:
        """The search goes on; where it ends, the next one begins."""
        if state.search is None:
            links = []
            for link in state.best:
                result = results.get(link.name)
                links.append(replace(link, measured=result) if isinstance(result, Measured) else link)
            return self._next(replace(state, best=tuple(links), maxima=(maximum(links),)))
        named = {name.removeprefix(f"{state.number}/"): result for name, result in results.items()}
        return self._settled(replace(state, search=self.strategy.absorb(state.search, named)))

    def _settled(self, state: SinkingState) -> SinkingState:
        """The state, once no search that is over is left."""
        while not state.over and state.search is not None:
            if reason := self.strategy.failure(state.search):
                again = self.strategy.after(state.search, reason) if isinstance(self.strategy, Persists) else None
                state = replace(state, search=again) if again is not None else self._failed(state)
            elif not self.strategy.propose(state.search):
                found = held_to(self.strategy.chain(state.search), state.task.threshold)
                lower = replace(state, best=found, maxima=(*state.maxima, maximum(found)), step=LONGER * state.step)
                state = self._begun(lower)
            else:
                return state
        return state

    def _failed(self, state: SinkingState) -> SinkingState:
        """A shorter step; after the shortest it is over. What failed by a little may lie lower all the same."""
        best = self.best(state)
        state = replace(state, best=best, maxima=(*state.maxima, maximum(best)))
        if state.step <= self.tolerance * (1 + 1e-9):
            return replace(state, over=True)
        return self._begun(replace(state, step=max(self.tolerance, state.step / LONGER)))

    def _next(self, state: SinkingState) -> SinkingState:
        return self._settled(self._begun(state))

    def _begun(self, state: SinkingState) -> SinkingState:
        """The next search, unless the best string is as low as any can be."""
        lowest, top = state.task.threshold, state.maxima[-1]
        near = 0.1 * self.tolerance * max(abs(state.maxima[0]), state.maxima[0] - lowest)
        if is_string(state.best) or (math.isfinite(near) and top - lowest <= near):
            return replace(state, over=True, search=None)
        step = state.step * max(abs(top), top - lowest) if math.isfinite(top) else math.inf
        level = max(top - step, (top + lowest) / 2) if math.isfinite(top) else 2 * max(abs(lowest), 1.0)
        task = replace(state.task, threshold=level)
        return replace(state, search=self.strategy.start(task), level=level, number=state.number + 1)

    def failure(self, state: SinkingState) -> Reason | None:
        """``stalled`` once no lower string is found."""
        return "stalled" if state.over and not is_string(state.best) else None

    def level(self, state: SinkingState) -> float:
        """The threshold of the search under way."""
        return state.level if state.search is not None else state.task.threshold

    def chain(self, state: SinkingState) -> Chain:
        """The string of the search under way; afterwards the best."""
        return state.best if state.search is None or state.over else self.strategy.chain(state.search)

    def best(self, state: SinkingState) -> Chain:
        """The string with the lowest maximum, that of the search under way included."""
        if state.search is None or state.over:
            return state.best
        other = held_to(self.strategy.best(state.search), state.task.threshold)
        return other if maximum(other) < maximum(state.best) else state.best

    def evidence(self, state: SinkingState) -> Evidence:
        """The highest segment of the best string, and its maximum search by search."""
        chain = self.best(state)
        worst = max(range(len(chain)), key=lambda i: (not chain[i].measured, chain[i].height))
        return Evidence(
            segment=(worst, worst + 1),
            end_losses=(chain[worst].left.value, chain[worst].right.value),
            max_per_depth=tuple(map(finite_or_none, state.maxima)),
            open_per_depth=tuple(1 for _ in state.maxima),
            retries=state.number,
            lowest_loss=None,
        )
