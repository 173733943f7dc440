"""Drive strategies: propose, run, write down, absorb. Nothing algorithmic happens here."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Generic

from weightstring.descent import Check
from weightstring.failures import users_part
from weightstring.path import Reason
from weightstring.search.running.batched import Executor, Limited
from weightstring.search.running.search import Event, RunningSearch, Search, SearchRequest
from weightstring.search.stopping import StopRule
from weightstring.search.strategy import State, Strategy
from weightstring.search.string import Query
from weightstring.store import Journal, RoundRecord


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
    on_rounds: Callable[[int, Sequence[RoundRecord]], None] = lambda number, rounds: None,
) -> list[Search[State]]:
    """Run any number of searches side by side: each goes on as soon as its own round is done.

    Rounds found in a journal are absorbed again instead of run. A round is written whole, and only
    then absorbed: one that is interrupted leaves no trace and is run again when the search is resumed.

    Args:
        requests: the searches.
        executor: what runs their jobs.
        on_event: told how far they are.
        on_rounds: told the number of a search and its rounds, whenever one more of them is over.

    Raises:
        InvalidRun: a journal is not that of its search.
    """
    return _Driver(requests, executor, on_event, on_rounds).searched()


class _Driver(Generic[State]):
    """The searches under way, by number, and those that are over."""

    def __init__(
        self,
        requests: Sequence[SearchRequest[State]],
        executor: Executor,
        on_event: Callable[[Event], None],
        on_rounds: Callable[[int, Sequence[RoundRecord]], None],
    ) -> None:
        self._executor = executor
        self._limited = executor if isinstance(executor, Limited) else None
        self._on_event, self._on_rounds = on_event, on_rounds
        self._count = len(requests)
        # The clock is asked for very often; mostly nobody wants to know.
        self._timed = any(request.stop.timed for request in requests)
        self._running = {i: RunningSearch(request) for i, request in enumerate(requests)}
        self._over: dict[int, Search[State]] = {}

    def searched(self) -> list[Search[State]]:
        """Every search, once all are over."""
        try:
            for i in range(self._count):
                self._propose(i)
            while self._running:
                self._go_on()
        except KeyboardInterrupt:
            for i in list(self._running):
                self._give_up(i, "interrupted")
        return [self._over[i] for i in range(self._count)]

    def _go_on(self) -> None:
        """Collect results; absorb and propose for the searches whose round is done."""
        try:
            with users_part(lambda: _at_work(self._executor, self._running)):
                collected = self._executor.collect(self._tick)
        except _OutOfTime:
            for i in [i for i, search in self._running.items() if search.out_of_time]:
                self._give_up(i, "time")
            return
        for (i, name), result in collected:
            self._running[i].results[name] = result
        for i in dict.fromkeys(i for (i, _), _ in collected):
            search = self._running[i]
            if search.absorb():
                self._propose(i)
                self._on_rounds(i, search.rounds)
        for i, steps in self._limited.spent().items() if self._limited else ():
            if i in self._running:
                self._give_up(i, "steps", steps)

    def _propose(self, i: int) -> None:
        """Submit a search's next round, or end it."""
        search = self._running[i]
        if (verdict := search.propose()) is not None:
            self._over[i] = verdict
            del self._running[i]
            return
        if self._limited:
            self._limited.allow(i, search.steps_left, search.descending)
        for job in search.jobs:
            self._executor.submit((i, job.name), job)

    def _give_up(self, i: int, reason: Reason, steps: int = 0) -> None:
        self._executor.cancel([(i, job.name) for job in self._running[i].jobs])
        self._over[i] = self._running.pop(i).give_up(reason, steps)

    def _tick(self, descents: Check | None) -> None:
        first = next(iter(self._running.values()))
        self._on_event(first.event(descents, self._count, len(self._over)))
        if self._timed and any(search.out_of_time for search in self._running.values()):
            raise _OutOfTime


def _at_work(executor: Executor, searches: Mapping[int, RunningSearch[Any]]) -> str:
    """Which jobs are being run, in words."""
    rounds = sorted({search.round for search in searches.values()})
    which = f"round {rounds[0] + 1}" if len(rounds) == 1 else f"rounds {rounds[0] + 1} to {rounds[-1] + 1}"
    return f"{getattr(executor, 'at_work', 'a job')} of {which}"
