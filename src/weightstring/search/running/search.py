"""One search: the round that is being run for it, its journal and its history."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Generic

from weightstring.descent import Check
from weightstring.errors import InvalidSetting
from weightstring.failures import users_part
from weightstring.path import Connected, Outcome, Reason, Unresolved, no_worse
from weightstring.search.chain import Chain, held_to, is_string
from weightstring.search.jobs import Job, JobResult, knowing, round_of
from weightstring.search.rounds import due, failure
from weightstring.search.running.history import advanced, replayed
from weightstring.search.stopping import Progress, StopRule
from weightstring.search.strategy import State, Strategy
from weightstring.search.string import Query
from weightstring.store import Journal, Round, RoundRecord
from weightstring.store.records import step_found


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
        level: the largest height of the lowest string measured so far; infinite before the first.
        steps: gradient steps that the rounds before it took, over all sessions, and
        seconds: their time.
    """

    round: int
    jobs: int
    done: int
    beads: int
    open: int
    descents: Check | None
    searches: int = 1
    finished: int = 0
    level: float = math.inf
    steps: int = 0
    seconds: float = 0.0


@dataclass(frozen=True)
class Search(Generic[State]):
    """A search that is over: its last state, its verdict, and its history round by round.

    ``unpruned`` is the first string under the threshold that it had, the last one where it had none;
    ``length_before`` the length of the string before it was shortened, where it was; ``lines`` the straight segment
    between its ends, as often as it was measured as the whole string.
    """

    state: State
    chain: Chain
    outcome: Outcome
    rounds: tuple[RoundRecord, ...]
    unpruned: Chain
    length_before: float | None = None
    lines: Chain = ()


@dataclass(frozen=True)
class SearchRequest(Generic[State]):
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


class RunningSearch(Generic[State]):
    """One search: its state, and the round of jobs that is being run for it."""

    def __init__(self, request: SearchRequest[State]) -> None:
        self._request = request
        self._rounds: list[RoundRecord] = []
        with users_part(lambda: "the strategy before round 1"):
            self._state = request.strategy.start(request.query)
        self._started = time.monotonic()
        self._progress, self._open, self._level = Progress(), 0, math.inf
        self._unpruned: Chain | None = None
        self._lines: Chain = ()
        self.jobs: tuple[Job, ...] = ()
        self.results: dict[str, JobResult] = {}
        for old in request.journal.replay():
            self._state = replayed(request.strategy, self._state, old, self._rounds)
            self._keep()

    @property
    def round(self) -> int:
        """The number of the round under way, from 0."""
        return len(self._rounds)

    @property
    def rounds(self) -> Sequence[RoundRecord]:
        """Those that are over, of earlier sessions too."""
        return self._rounds

    @property
    def _chain(self) -> Chain:
        return self._state.string.chain

    def propose(self) -> Search[State] | None:
        """Begin the next round; or the verdict, where there is none."""
        with users_part(lambda: f"the strategy or stop rule before round {self.round + 1}"):
            return self._propose()

    def _propose(self) -> Search[State] | None:
        strategy, state = self._request.strategy, self._state
        self.jobs, self.results = (), {}
        if reason := failure(strategy, state):
            return self._propose() if self._next_attempt(reason) else self._stopped(reason)
        jobs = due(strategy, state)
        if not jobs:
            return self._over(self._chain, Connected())
        _require_names(strategy, jobs)
        self._progress = _progress(self._chain, jobs, self._rounds)
        self._open = sum(link.open for link in self._chain)
        if all(link.measured for link in self._chain):
            self._level = min(self._level, max(link.height for link in self._chain))
        if reason := self._request.stop.reason(self._progress):
            return self._stopped(reason)
        step = step_found(self._rounds)
        self.jobs, self._started = tuple(knowing(job, step) for job in jobs), time.monotonic()
        return None

    def _next_attempt(self, reason: Reason) -> bool:
        """Go over to what the strategy tries next, if it does: written down like a round."""
        if self._request.strategy.after(self._state, reason) is None:
            return False
        self._write(Round((), (), None, 0.0, ended=reason))
        return True

    def absorb(self) -> bool:
        """Write the round down and absorb it, if all its results are there."""
        if len(self.results) < len(self.jobs):
            return False
        results = [self.results[job.name] for job in self.jobs]
        self._write(round_of(self.jobs, results, self._seconds), self.jobs)
        return True

    def give_up(self, reason: Reason, steps: int = 0) -> Search[State]:
        """End the search amid a round, which is lost; its time and steps were spent, and limits cover all sessions."""
        self._write(Round((), (), None, self._seconds if self.jobs else 0.0, steps))
        return self._stopped(reason)

    def _write(self, finished: Round, jobs: Sequence[Job] = ()) -> None:
        """Write a round down, and then take it from where it is kept."""
        kept = finished._replace(thetas=self._request.journal.append(finished))
        with users_part(lambda: f"the strategy after round {self.round + 1}"):
            self._state = advanced(self._request.strategy, self._state, kept, jobs, self._rounds)
        self._keep()

    def _stopped(self, reason: Reason) -> Search[State]:
        """Out of time on a string that is closed, with only beads to drop: that is connected all the same."""
        string, threshold = self._state.string, self._request.query.threshold
        # What is held to less than the threshold may be a string all the same.
        chain = held_to(string.shown, threshold) if string.level < threshold else string.shown
        connected = self._closed(chain) and reason != "interrupted"
        return self._over(chain, Connected() if connected else Unresolved(reason, string.evidence))

    def _over(self, chain: Chain, outcome: Outcome) -> Search[State]:
        before = self._state.string.length_before
        return Search(self._state, chain, outcome, tuple(self._rounds), self._unpruned or chain, before, self._lines)

    def _keep(self) -> None:
        """Keep what is no longer on the next string: the first one under the threshold, and the straight line."""
        chain = self._chain
        if self._unpruned is None and self._closed(chain):
            self._unpruned = chain
        whole = chain[0] if len(chain) == 1 else None
        if whole is not None and whole.measured not in (None, *(line.measured for line in self._lines)):
            self._lines = (*self._lines, whole)

    def _closed(self, chain: Chain) -> bool:
        # A strategy on its way down holds its string to more than the threshold.
        return is_string(chain) and all(no_worse(link.height, self._request.query.threshold) for link in chain)

    @property
    def steps_left(self) -> int | None:
        """Gradient steps that the round under way may take."""
        return self._request.stop.steps_left(self._progress)

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
        return self._request.stop.reason(now) == "time"

    def event(self, descents: Check | None, searches: int, finished: int) -> Event:
        """How far it is."""
        done = len(self.results) + (descents.finished if descents and not self.results else 0)
        return Event(
            len(self._rounds),
            len(self.jobs),
            min(done, len(self.jobs)),
            self._progress.beads,
            self._open,
            descents,
            searches,
            finished,
            self._level,
            self._progress.steps,
            self._progress.seconds,
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


def _require_names(strategy: Strategy[State], jobs: Sequence[Job]) -> None:
    names = [job.name for job in jobs]
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise InvalidSetting(
            f"{type(strategy).__name__}.propose: two jobs are named {twice!r:.80}, and a name has one result: "
            "name each by its place, such as link.descent_name"
        )
