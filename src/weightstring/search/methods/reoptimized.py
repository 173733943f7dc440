"""Descend by another optimizer than the recipe's: where that creeps, or circles about what it looks for."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

from weightstring.path import Reason
from weightstring.search.composite import Composite, Stage
from weightstring.search.jobs import Descend, Job
from weightstring.search.methods.greedy import Greedy
from weightstring.search.strategy import Strategy
from weightstring.search.string import Query


@dataclass(frozen=True)
class Reoptimized(Composite[Stage]):
    """A strategy whose beads descend by the recipe's alternative, see :attr:`weightstring.Recipe.alternative`.

    Args:
        strategy: the strategy.

    >>> Reoptimized(Greedy(alpha=0.9)).strategy.alpha
    0.9
    """

    strategy: Strategy[Any] = field(default_factory=Greedy)

    def start(self, query: Query) -> Stage:
        """The strategy begins."""
        return Stage(query, self.strategy, self.strategy.start(query))

    def following(self, stage: Stage, reason: Reason | None) -> None:
        """Nothing."""

    def propose(self, stage: Stage) -> tuple[Job, ...]:
        """The strategy's jobs, those that descend by another optimizer."""
        jobs = super().propose(stage)
        return tuple(replace(job, manner="alternative") if isinstance(job, Descend) else job for job in jobs)
