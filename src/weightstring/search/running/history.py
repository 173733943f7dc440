"""What a search was, round by round: its states, rebuilt from a journal through ``absorb``."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

import msgspec

from weightstring.codec import finite_or_none
from weightstring.descent import Descended
from weightstring.errors import InvalidRun
from weightstring.failures import users_part
from weightstring.search.chain import Chain, beads_of
from weightstring.search.jobs import Job, JobResult, read_round
from weightstring.search.rounds import absorbed, due, failure
from weightstring.search.strategy import State, Strategy
from weightstring.search.string import Query
from weightstring.store import Round, RoundRecord


def strings(strategy: Strategy[Any], query: Query, rounds: Sequence[Round]) -> Iterator[Chain]:
    """The string before the first round of a journal, and after each.

    Args:
        strategy: the search's own.
        query: what it was to find.
        rounds: the journal's, in order.

    Raises:
        InvalidRun: a round is not one of this search.

    >>> import torch
    >>> from weightstring.search import Bead, Greedy, Query
    >>> ends = Bead("a", torch.zeros(2), 0.1), Bead("b", torch.ones(2), 0.2)
    >>> [len(chain) for chain in strings(Greedy(), Query(ends, 0.3, seed=0), ())]
    [1]
    """
    state, history = strategy.start(query), list[RoundRecord]()
    yield state.string.chain
    for one in rounds:
        state = replayed(strategy, state, one, history)
        yield state.string.chain


def replayed(strategy: Strategy[State], state: State, finished: Round, history: list[RoundRecord]) -> State:
    """The state after a round that a journal holds, absorbed again instead of run.

    Args:
        strategy: the search's own.
        state: that before the round.
        finished: the round.
        history: the rounds so far, to which this one's summary is added.

    Raises:
        InvalidRun: the round is not one of this search.
    """
    with users_part(lambda: f"the strategy, taken through round {len(history) + 1} of the journal again"):
        jobs = due(strategy, state) if finished.jobs and not failure(strategy, state) else ()
        if tuple(job.name for job in jobs) != finished.jobs or len(finished.results) != len(jobs):
            raise InvalidRun(
                f"round {len(history)} of the journal is not of this search: it holds {len(finished.jobs)} jobs "
                f"({', '.join(finished.jobs[:3])}, ...) where {len(jobs)} are due; start afresh in another directory"
            )
        return advanced(strategy, state, finished, jobs, history)


def advanced(
    strategy: Strategy[State], state: State, finished: Round, jobs: Sequence[Job], history: list[RoundRecord]
) -> State:
    """The state after a round of these jobs as the journal holds it, be it run now or in an earlier session.

    There are no jobs where the round was given up, or where an attempt ended; the rest is as for :func:`replayed`.
    """
    if finished.ended is not None:
        following = strategy.after(state, finished.ended)
        if following is None or jobs:
            raise InvalidRun(
                f"round {len(history)} of the journal is not of this search: no other attempt follows there; "
                "start afresh in another directory"
            )
        state = following
    results = read_round(jobs, finished, len(history), state.string.chain[0].left.theta.device)
    if jobs:
        state = absorbed(strategy, state, {job.name: result for job, result in zip(jobs, results, strict=True)})
    lost = {} if jobs else {"steps": finished.steps, "ended": finished.ended}
    history.append(msgspec.structs.replace(summary(strategy, state, results, finished.seconds), **lost))
    return state


def summary(strategy: Strategy[State], state: State, results: Sequence[JobResult], seconds: float) -> RoundRecord:
    """What the history says of a round: the string after it, and what its jobs took."""
    string = state.string
    chain = string.chain
    measured = [result.largest for result in results if result.largest is not None]
    # The best string so far is not always the one at hand, nor the other way round, when that has just lost beads.
    held = [one for one in (chain, string.shown) if all(link.measured is not None for link in one)]
    lowest = min(held, key=_maximum, default=())
    return RoundRecord(
        depth=max(link.depth for link in chain),
        descents=len(results) - len(measured),
        measured=len(measured),
        open=sum(link.open for link in chain),
        level=finite_or_none(string.level),
        values=tuple(finite_or_none(bead.value) for bead in beads_of(chain)),
        highest=finite_or_none(_maximum(lowest)) if lowest else None,
        highest_depth=max((link.depth for link in lowest), default=None),
        beads=len(chain) + 1,
        steps=sum(result.steps for result in results),
        evaluations=sum(result.evaluations for result in results),
        max=finite_or_none(max(measured, default=math.inf)),
        seconds=seconds,
        attempt=strategy.attempt(state),
        step=next((each.step for each in results if isinstance(each, Descended) and each.status == "reached"), None),
    )


def _maximum(chain: Chain) -> float:
    return max(link.height for link in chain)
