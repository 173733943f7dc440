"""Aim far below the threshold: a string under a lower one is a string under it too.

Beads that stop just under the threshold may stand at the rim of a plateau that lies just above it, such as that of a
ReLU network whose units are all dead for an example: the segments between them cross it, and no descent leads down
from there. Beads that lie far lower have left it behind.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from weightstring.errors import InvalidSetting
from weightstring.path import Evidence, Reason
from weightstring.search import pruning
from weightstring.search.chain import Chain, held_to
from weightstring.search.jobs import Job, Result
from weightstring.search.methods.greedy import Greedy
from weightstring.search.pruning import Pruning
from weightstring.search.strategy import Strategy, Task, require_numbers


@dataclass(frozen=True)
class LoweredState:
    """A search under a lower threshold, and its string while it loses the beads that the real one does not need."""

    task: Task
    search: Any
    pruned: Pruning | None = None


@dataclass(frozen=True)
class Lowered:
    """A strategy that searches under a lower threshold than is asked for: e + share · (L0 − e), e the higher end.

    Args:
        strategy: what searches there.
        share: in (0, 1).

    Raises:
        InvalidSetting: the share is out of range.

    >>> Lowered(Greedy(), share=0.1).strategy.alpha
    0.95
    """

    strategy: Strategy[Any] = field(default_factory=Greedy)
    share: float = 0.5

    def __post_init__(self) -> None:
        require_numbers(self, ("share",))
        if not 0 < self.share < 1:
            raise InvalidSetting(f"Lowered(share={self.share}): give a share of the excess over the ends in (0, 1)")

    def start(self, task: Task) -> LoweredState:
        """The search begins."""
        higher = max(end.value for end in task.ends)
        level = higher + self.share * (task.threshold - higher)
        return self._closed(LoweredState(task, self.strategy.start(replace(task, threshold=level))))

    def propose(self, state: LoweredState) -> tuple[Job, ...]:
        """What the search proposes; afterwards, which beads can go."""
        return self.strategy.propose(state.search) if state.pruned is None else pruning.propose(state.pruned)

    def absorb(self, state: LoweredState, results: Mapping[str, Result]) -> LoweredState:
        """The search goes on, or its string loses beads."""
        if state.pruned is not None:
            return replace(state, pruned=pruning.absorb(state.pruned, results))
        return self._closed(replace(state, search=self.strategy.absorb(state.search, results)))

    def _closed(self, state: LoweredState) -> LoweredState:
        """The string held to the real threshold, once it is found."""
        if self.strategy.failure(state.search) or self.strategy.propose(state.search):
            return state
        chain = held_to(self.strategy.chain(state.search), state.task.threshold)
        return replace(state, pruned=Pruning(chain, state.task.threshold, {}))

    def failure(self, state: LoweredState) -> Reason | None:
        """That of the search."""
        return self.strategy.failure(state.search) if state.pruned is None else None

    def level(self, state: LoweredState) -> float:
        """The lower threshold; afterwards the real one."""
        return self.strategy.level(state.search) if state.pruned is None else state.task.threshold

    def chain(self, state: LoweredState) -> Chain:
        """The string as it stands."""
        return self.strategy.chain(state.search) if state.pruned is None else state.pruned.chain

    def best(self, state: LoweredState) -> Chain:
        """The search's best string, held to the real threshold."""
        chain = self.strategy.best(state.search) if state.pruned is None else state.pruned.chain
        return held_to(chain, state.task.threshold)

    def evidence(self, state: LoweredState) -> Evidence:
        """That of the search."""
        return self.strategy.evidence(state.search)
