"""A search that begins where another may come to: see :mod:`weightstring.search.running.ahead`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from weightstring.path import Reason
from weightstring.search.jobs import Job, JobResult
from weightstring.search.strategy import State, Strategy
from weightstring.search.string import Query


@dataclass(frozen=True)
class Branch(Strategy[State]):
    """A strategy from a later state on, to the end of the attempt that begins there."""

    strategy: Strategy[State]
    state: State

    def start(self, query: Query) -> State:
        """The later state."""
        return self.state

    def propose(self, state: State) -> tuple[Job, ...]:
        """As the strategy."""
        return tuple(self.strategy.propose(state))

    def absorb(self, state: State, results: Mapping[str, JobResult]) -> State:
        """As the strategy."""
        return self.strategy.absorb(state, results)

    def measured(self, state: State) -> State:
        """As the strategy."""
        return self.strategy.measured(state)

    def give_up(self, state: State) -> Reason | None:
        """As the strategy."""
        return self.strategy.give_up(state)
