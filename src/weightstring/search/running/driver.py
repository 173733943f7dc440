"""Drive strategies: propose, run, write down, absorb. Nothing algorithmic happens here."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from weightstring.descent import Check
from weightstring.failures import users_part
from weightstring.path import Reason
from weightstring.search.running.batched import Executor, Limited
from weightstring.search.running.search import Event, RunningSearch, Search, SearchRequest
from weightstring.search.stopping import StopRule
from weightstring.search.strategy import State, Strategy
from weightstring.search.string import Query
from weightstring.store import Journal


class _OutOfTime(BaseException):
    """No failure: ends the rounds under way of those searches whose time is up."""


def run(
    strategy: Strategy[State],
    query: Query,
    executor: Executor,
    *,
    stop: StopRule,
    journal: Journal,
    on_event: Callable[[Event], None] = lambda event: None,
) -> Search[State]:
    """Search until the strategy is done, gives up, or ``stop`` says so; see :func:`run_all`."""
    (search,) = run_all([SearchRequest(strategy, query, stop, journal)], executor, on_event=on_event)
    return search


def run_all(
    requests: Sequence[SearchRequest[State]],
    executor: Executor,
    *,
    on_event: Callable[[Event], None] = lambda event: None,
) -> list[Search[State]]:
    """Run any number of searches side by side: each goes on as soon as its own round is done.

    Rounds found in a journal are absorbed again instead of run. A round is written whole, and only
    then absorbed: one that is interrupted leaves no trace and is run again when the search is resumed.

    Raises:
        InvalidRun: a journal is not that of its search.
    """
    under_way = {i: RunningSearch(request) for i, request in enumerate(requests)}
    over: dict[int, Search[State]] = {}
    # The clock is asked for very often; mostly nobody wants to know.
    timed = any(request.stop.timed for request in requests)

    def propose(i: int) -> None:
        """Submit a search's next round, or end it."""
        verdict = under_way[i].propose()
        if verdict is None:
            if isinstance(executor, Limited):
                executor.allow(i, under_way[i].steps_left, under_way[i].descending)
            for job in under_way[i].jobs:
                executor.submit((i, job.name), job)
        else:
            over[i] = verdict
            del under_way[i]

    def tick(descents: Check | None) -> None:
        first = next(iter(under_way.values()))
        on_event(first.event(descents, len(requests), len(over)))
        if timed and any(search.out_of_time for search in under_way.values()):
            raise _OutOfTime

    def give_up(i: int, reason: Reason, steps: int = 0) -> None:
        executor.cancel([(i, job.name) for job in under_way[i].jobs])
        over[i] = under_way.pop(i).give_up(reason, steps)

    try:
        for i in range(len(requests)):
            propose(i)
        while under_way:
            try:
                with users_part(lambda: _at_work(executor, under_way)):
                    collected = executor.collect(tick)
            except _OutOfTime:
                for i in [i for i, search in under_way.items() if search.out_of_time]:
                    give_up(i, "time")
                continue
            for (i, name), result in collected:
                under_way[i].results[name] = result
            for i in dict.fromkeys(i for (i, _), _ in collected):
                if under_way[i].absorb():
                    propose(i)
            for i, steps in executor.spent().items() if isinstance(executor, Limited) else ():
                if i in under_way:
                    give_up(i, "steps", steps)
    except KeyboardInterrupt:
        for i in list(under_way):
            give_up(i, "interrupted")
    return [over[i] for i in range(len(requests))]


def _at_work(executor: Executor, under_way: Mapping[int, RunningSearch[Any]]) -> str:
    """Which jobs are being run, in words."""
    rounds = sorted({search.round for search in under_way.values()})
    which = f"round {rounds[0] + 1}" if len(rounds) == 1 else f"rounds {rounds[0] + 1} to {rounds[-1] + 1}"
    return f"{getattr(executor, 'at_work', 'a job')} of {which}"
