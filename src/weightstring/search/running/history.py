"""What a search was, round by round: its states, rebuilt from a journal through ``absorb``."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

import msgspec

from weightstring.codec import finite_or_none
from weightstring.errors import InvalidRun
from weightstring.failures import users_part
from weightstring.search.chain import Chain, beads_of
from weightstring.search.jobs import JobResult, read_round
from weightstring.search.rounds import absorbed, due
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


def replayed(strategy: Strategy[State], state: State, old: Round, rounds: list[RoundRecord]) -> State:
    """The state after a round that a journal holds, absorbed again instead of run.

    Args:
        strategy: the search's own.
        state: that before the round.
        old: the round.
        rounds: the history so far, to which the round's summary is added.

    Raises:
        InvalidRun: the round is not one of this search.
    """
    with users_part(lambda: f"the strategy, taken through round {len(rounds) + 1} of the journal again"):
        return _replayed(strategy, state, old, rounds)


def _replayed(strategy: Strategy[State], state: State, old: Round, rounds: list[RoundRecord]) -> State:
    if old.ended is not None:  # an attempt ended
        following = strategy.after(state, old.ended)
        if following is None or old.jobs:
            raise InvalidRun(
                f"round {len(rounds)} of the journal is not of this search: no other attempt follows there; "
                "start afresh in another directory"
            )
        rounds.append(msgspec.structs.replace(summary(strategy, following, [], old.seconds), ended=old.ended))
        return following
    if not old.jobs:  # a round that was given up
        rounds.append(msgspec.structs.replace(summary(strategy, state, [], old.seconds), steps=old.steps))
        return state
    jobs = due(strategy, state)
    if tuple(job.name for job in jobs) != old.jobs or len(old.results) != len(jobs):
        raise InvalidRun(
            f"round {len(rounds)} of the journal is not of this search: it holds {len(old.jobs)} jobs "
            f"({', '.join(old.jobs[:3])}, ...) where {len(jobs)} are due; start afresh in another directory"
        )
    results = read_round(jobs, old, len(rounds), state.string.chain[0].left.theta.device)
    state = absorbed(strategy, state, {job.name: result for job, result in zip(jobs, results, strict=True)})
    rounds.append(summary(strategy, state, results, old.seconds))
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
    )


def _maximum(chain: Chain) -> float:
    return max(link.height for link in chain)
