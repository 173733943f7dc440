"""A round of any strategy: what the driver does by itself before it asks the strategy.

New links are measured, and open ones once more, closely, before a strategy gives up; a string that is closed loses its
superfluous beads. All else is the strategy's.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, cast

from weightstring.path import Reason
from weightstring.search import pruning
from weightstring.search.jobs import Job, JobResult, Measured
from weightstring.search.pruning import Pruning
from weightstring.search.strategy import State, Strategy
from weightstring.search.string import String


def failure(strategy: Strategy[State], state: State) -> Reason | None:
    """Why the strategy gives up here, if it does; it is not asked about a string that is closed."""
    if isinstance(state, String) and (state.closed or state.rough):
        return None
    return strategy.give_up(state)


def due(strategy: Strategy[State], state: State) -> tuple[Job, ...]:
    """The jobs of the next round, where the strategy has not given up; none: the search is over."""
    if isinstance(state, String):  # any other state belongs to a strategy made of others, whose rounds these are
        if state.closed:
            return pruning.propose(Pruning(state.chain, state.level, state.known))
        if unmeasured := state.unmeasured:
            return tuple(link.measure(state.level, state.intervals, state.looks) for link in unmeasured)
        if state.rough and strategy.give_up(state):
            return tuple(link.measure(state.level, state.intervals) for link in state.rough)
    return tuple(strategy.propose(state))


def absorbed(strategy: Strategy[State], state: State, results: Mapping[str, JobResult]) -> State:
    """The state after a round: one result for each of its jobs, by name."""
    if isinstance(state, String):
        string: Any = state
        if string.closed:
            thinner = pruning.absorb(Pruning(string.chain, string.level, string.known), results)
            return cast("State", replace(string, chain=thinner.chain, known=thinner.shortcuts))
        if string.unmeasured or any(isinstance(results.get(link.name), Measured) for link in string.rough):
            return strategy.measured(string.with_measured(results))
    return strategy.absorb(state, results)
