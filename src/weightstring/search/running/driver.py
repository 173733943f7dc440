"""Drive a strategy: propose, run, write down, absorb. Nothing algorithmic happens here."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Generic

import msgspec

from weightstring.descent import Check
from weightstring.failures import users_part
from weightstring.path import Connected, Outcome, Reason, Unresolved, no_worse
from weightstring.search.chain import Chain, held_to, is_string
from weightstring.search.jobs import Job, JobResult, read_round, round_of
from weightstring.search.rounds import absorbed, due, failure
from weightstring.search.running.batched import Executor, Limited
from weightstring.search.running.history import replayed, summary
from weightstring.search.stopping import Progress, StopRule
from weightstring.search.strategy import State, Strategy
from weightstring.search.string import Query
from weightstring.store import Journal, Round, RoundRecord


@dataclass(frozen=True)
class Event:
    """What a progress display is told: the round under way and how much of it is done.

    Args:
        round: its number, from 0.
        jobs: its jobs.
        done: how many of them are done.
        beads: beads on the string before it, ends counted.
        open: segments over the threshold before it.
        descents: how far the descents are; None while segments are measured.
        searches: how many searches are under way side by side; the rest is of the first of them.
        finished: how many are over.
    """

    round: int
    jobs: int
    done: int
    beads: int
    open: int
    descents: Check | None
    searches: int = 1
    finished: int = 0


@dataclass(frozen=True)
class Search(Generic[State]):
    """A search that is over: its last state, its verdict, and its history round by round.

    ``unpruned`` is the first string under the threshold that it had, the last one where it had none;
    ``length_before`` the length of the string before it was shortened, where it was.
    """

    state: State
    chain: Chain
    outcome: Outcome
    rounds: tuple[RoundRecord, ...]
    unpruned: Chain
    length_before: float | None = None


@dataclass(frozen=True)
class Asked(Generic[State]):
    """A search to be run.

    Args:
        strategy: how.
        query: what for.
        stop: when to stop without a string.
        journal: where its rounds are written, and those of an earlier session found.
    """

    strategy: Strategy[State]
    query: Query
    stop: StopRule
    journal: Journal


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
    (search,) = run_all([Asked(strategy, query, stop, journal)], executor, on_event=on_event)
    return search


def run_all(
    asked: Sequence[Asked[State]], executor: Executor, *, on_event: Callable[[Event], None] = lambda event: None
) -> list[Search[State]]:
    """Run any number of searches side by side: each goes on as soon as its own round is done.

    Rounds found in a journal are absorbed again instead of run. A round is written whole, and only
    then absorbed: one that is interrupted leaves no trace and is run again when the search is resumed.

    Raises:
        InvalidRun: a journal is not that of its search.
    """
    under_way = {i: _UnderWay(a) for i, a in enumerate(asked)}
    over: dict[int, Search[State]] = {}
    # The clock is asked for very often; mostly nobody wants to know.
    timed = any(a.stop.timed for a in asked)

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
        on_event(first.event(descents, len(asked), len(over)))
        if timed and any(search.out_of_time for search in under_way.values()):
            raise _OutOfTime

    def give_up(i: int, reason: Reason, steps: int = 0) -> None:
        executor.cancel([(i, job.name) for job in under_way[i].jobs])
        over[i] = under_way.pop(i).give_up(reason, steps)

    try:
        for i in range(len(asked)):
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
    return [over[i] for i in range(len(asked))]


def _at_work(executor: Executor, under_way: Mapping[int, _UnderWay[Any]]) -> str:
    """Which jobs are being run, in words."""
    rounds = sorted({search.round for search in under_way.values()})
    which = f"round {rounds[0] + 1}" if len(rounds) == 1 else f"rounds {rounds[0] + 1} to {rounds[-1] + 1}"
    return f"{getattr(executor, 'at_work', 'a job')} of {which}"


class _UnderWay(Generic[State]):
    """One search: its state, and the round of jobs that is being run for it."""

    def __init__(self, asked: Asked[State]) -> None:
        self._asked = asked
        self._rounds: list[RoundRecord] = []
        with users_part(lambda: "the strategy before round 1"):
            self._state = asked.strategy.start(asked.query)
        self._started = time.monotonic()
        self._progress = Progress()
        self._unpruned: Chain | None = None
        self.jobs: tuple[Job, ...] = ()
        self.results: dict[str, JobResult] = {}
        for old in asked.journal.replay():
            self._state = replayed(asked.strategy, self._state, old, self._rounds)
            self._keep_unpruned()

    @property
    def round(self) -> int:
        """The number of the round under way, from 0."""
        return len(self._rounds)

    @property
    def _chain(self) -> Chain:
        return self._state.string.chain

    def propose(self) -> Search[State] | None:
        """Begin the next round; or the verdict, where there is none."""
        with users_part(lambda: f"the strategy or stop rule before round {self.round + 1}"):
            return self._propose()

    def _propose(self) -> Search[State] | None:
        strategy, state = self._asked.strategy, self._state
        self.jobs, self.results = (), {}
        if reason := failure(strategy, state):
            return self._propose() if self._next_attempt(reason) else self._stopped(reason)
        jobs = due(strategy, state)
        if not jobs:
            return self._over(self._chain, Connected())
        self._progress = _progress(self._chain, jobs, self._rounds)
        if reason := self._asked.stop.reason(self._progress):
            return self._stopped(reason)
        self.jobs, self._started = jobs, time.monotonic()
        return None

    def _next_attempt(self, reason: Reason) -> bool:
        """Go over to what the strategy tries next, if it does: written down like a round."""
        strategy = self._asked.strategy
        following = strategy.after(self._state, reason)
        if following is None:
            return False
        self._asked.journal.append(Round((), (), None, 0.0, ended=reason))
        self._state = following
        self._rounds.append(msgspec.structs.replace(summary(strategy, following, [], 0.0), ended=reason))
        return True

    def absorb(self) -> bool:
        """Write the round down and absorb it, if all its results are there."""
        if len(self.results) < len(self.jobs):
            return False
        results = [self.results[job.name] for job in self.jobs]
        seconds = self._seconds
        finished = round_of(self.jobs, results, seconds)
        kept = finished._replace(thetas=self._asked.journal.append(finished))
        results = read_round(self.jobs, kept, self.round, self._asked.query.ends[0].theta.device)
        named = {job.name: result for job, result in zip(self.jobs, results, strict=True)}
        with users_part(lambda: f"the strategy after round {self.round + 1}"):
            self._state = absorbed(self._asked.strategy, self._state, named)
            self._rounds.append(summary(self._asked.strategy, self._state, results, seconds))
            self._keep_unpruned()
        return True

    def give_up(self, reason: Reason, steps: int = 0) -> Search[State]:
        """End the search amid a round, which is lost; its time and steps were spent, and limits cover all sessions."""
        lost = self._seconds if self.jobs else 0.0
        self._asked.journal.append(Round((), (), None, lost, steps))
        self._rounds.append(msgspec.structs.replace(summary(self._asked.strategy, self._state, [], lost), steps=steps))
        return self._stopped(reason)

    def _stopped(self, reason: Reason) -> Search[State]:
        """Out of time on a string that is closed, with only beads to drop: that is connected all the same."""
        string, threshold = self._state.string, self._asked.query.threshold
        # What is held to less than the threshold may be a string all the same.
        chain = held_to(string.shown, threshold) if string.level < threshold else string.shown
        connected = self._closed(chain) and reason != "interrupted"
        return self._over(chain, Connected() if connected else Unresolved(reason, string.evidence))

    def _over(self, chain: Chain, outcome: Outcome) -> Search[State]:
        before = self._state.string.length_before
        return Search(self._state, chain, outcome, tuple(self._rounds), self._unpruned or chain, before)

    def _keep_unpruned(self) -> None:
        """Keep the first string under the threshold: what is dropped or moved afterwards is no longer on the next."""
        if self._unpruned is None and self._closed(self._chain):
            self._unpruned = self._chain

    def _closed(self, chain: Chain) -> bool:
        # A strategy on its way down holds its string to more than the threshold.
        return is_string(chain) and all(no_worse(link.height, self._asked.query.threshold) for link in chain)

    @property
    def steps_left(self) -> int | None:
        """Gradient steps that the round under way may take."""
        return self._asked.stop.steps_left(self._progress)

    @property
    def descending(self) -> int:
        """Jobs of the round under way that take steps."""
        return self._progress.pending

    @property
    def _seconds(self) -> float:
        """Spent on the round so far."""
        return max(0.0, time.monotonic() - self._started)

    @property
    def out_of_time(self) -> bool:
        """Whether a budget of seconds is spent."""
        now = replace(self._progress, seconds=self._progress.seconds + self._seconds)
        return self._asked.stop.reason(now) == "time"

    def event(self, descents: Check | None, searches: int, finished: int) -> Event:
        """How far it is."""
        still_open = sum(link.open for link in self._chain)
        done = len(self.results) + (descents.finished if descents and not self.results else 0)
        return Event(
            len(self._rounds),
            len(self.jobs),
            min(done, len(self.jobs)),
            len(self._chain) + 1,
            still_open,
            descents,
            searches,
            finished,
        )


def _progress(chain: Chain, jobs: Sequence[Job], rounds: Sequence[RoundRecord]) -> Progress:
    beads = len(chain) + 1
    return Progress(
        beads=beads,
        pending=sum(job.descends for job in jobs),
        adding=sum(job.adds(beads) for job in jobs),
        steps=sum(r.steps for r in rounds),
        seconds=sum(r.seconds for r in rounds),
    )
