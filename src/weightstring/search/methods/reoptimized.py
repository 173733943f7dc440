"""Descend by another optimizer than the recipe's: where that creeps, or circles about what it looks for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from weightstring.path import Evidence, Reason
from weightstring.search.chain import Chain
from weightstring.search.jobs import Descend, Job, Result
from weightstring.search.methods.greedy import Greedy
from weightstring.search.strategy import Strategy, Task


@dataclass(frozen=True)
class Reoptimized:
    """A strategy whose beads descend by the recipe's alternative, see :attr:`weightstring.Recipe.alternative`.

    Args:
        strategy: the strategy.

    >>> Reoptimized(Greedy(alpha=0.9)).strategy.alpha
    0.9
    """

    strategy: Strategy[Any] = field(default_factory=Greedy)

    def start(self, task: Task) -> Any:
        """That of the strategy, as is all that follows but for the jobs."""
        return self.strategy.start(task)

    def propose(self, state: Any) -> tuple[Job, ...]:
        """The strategy's jobs, those that descend by another optimizer."""
        jobs = self.strategy.propose(state)
        return tuple(replace(job, manner="alternative") if isinstance(job, Descend) else job for job in jobs)

    def absorb(self, state: Any, results: Mapping[str, Result]) -> Any:
        """The strategy's."""
        return self.strategy.absorb(state, results)

    def failure(self, state: Any) -> Reason | None:
        """The strategy's."""
        return self.strategy.failure(state)

    def level(self, state: Any) -> float:
        """The strategy's."""
        return self.strategy.level(state)

    def chain(self, state: Any) -> Chain:
        """The strategy's."""
        return self.strategy.chain(state)

    def best(self, state: Any) -> Chain:
        """The strategy's."""
        return self.strategy.best(state)

    def evidence(self, state: Any) -> Evidence:
        """The strategy's."""
        return self.strategy.evidence(state)
