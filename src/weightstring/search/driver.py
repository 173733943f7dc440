"""Drive a strategy: propose, run, write down, absorb. Nothing algorithmic happens here."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

import torch

from weightstring.arrays import finite_or_none
from weightstring.descent import Check, Descended
from weightstring.errors import InvalidRun
from weightstring.path import Connected, Outcome, Reason, Unresolved
from weightstring.search.chain import Chain, is_string
from weightstring.search.executor import Executor, Tick
from weightstring.search.jobs import Descend, Job, Measured, Result, from_record, to_record
from weightstring.search.stopping import Progress, StopRule
from weightstring.search.strategy import Strategy, Task
from weightstring.store import Journal, Round, RoundRecord

State = TypeVar("State")


@dataclass(frozen=True)
class Event:
    """What a progress display is told: the round under way and how much of it is done.

    Args:
        round: its number, from 0.
        jobs: its jobs.
        done: how many of them are done.
        beads: beads on the string before it, ends counted.
        open: segments over the threshold before it.
        descents: how far its descents are; None while segments are measured.
    """

    round: int
    jobs: int
    done: int
    beads: int
    open: int
    descents: Check | None


@dataclass(frozen=True)
class Search(Generic[State]):
    """A search that is over: its last state, its verdict, and its history round by round."""

    state: State
    chain: Chain
    outcome: Outcome
    rounds: tuple[RoundRecord, ...]


class _GiveUp(Exception):
    """Ends the round under way."""


def run(
    strategy: Strategy[State],
    task: Task,
    executor: Executor,
    *,
    stop: StopRule,
    journal: Journal,
    on_event: Callable[[Event], None] = lambda event: None,
) -> Search[State]:
    """Search until the strategy is done, gives up, or ``stop`` says so.

    Rounds found in the journal are absorbed again instead of run. A round is written whole, and only
    then absorbed: one that is interrupted leaves no trace and is run again when the search is resumed.

    Raises:
        InvalidRun: the journal is not that of this search.
    """
    state = strategy.start(task)
    rounds: list[RoundRecord] = []
    for old in journal.replay():
        state = _replay(strategy, state, old, rounds)
    while True:
        if failure := strategy.failure(state):
            return _stopped(strategy, state, failure, rounds)
        jobs = strategy.propose(state)
        if not jobs:
            return Search(state, strategy.chain(state), Connected(), tuple(rounds))
        if reason := stop.reason(_progress(strategy.chain(state), jobs, rounds, 0.0)):
            return _stopped(strategy, state, reason, rounds)
        started = time.monotonic()
        try:
            results = executor.run(jobs, _ticker(strategy.chain(state), jobs, rounds, stop, started, on_event))
        except (_GiveUp, KeyboardInterrupt) as ended:
            # The round is lost, but its time was spent: a budget covers all sessions of a run.
            lost = time.monotonic() - started
            journal.append(Round((), (), None, lost))
            rounds.append(_summary(strategy.chain(state), [], lost))
            return _stopped(strategy, state, "time" if isinstance(ended, _GiveUp) else "interrupted", rounds)
        seconds = time.monotonic() - started
        journal.append(_pack(jobs, results, seconds))
        state = strategy.absorb(state, {job.name: result for job, result in zip(jobs, results, strict=True)})
        rounds.append(_summary(strategy.chain(state), results, seconds))


def _stopped(strategy: Strategy[State], state: State, reason: Reason, rounds: Sequence[RoundRecord]) -> Search[State]:
    """Out of time on a string that is closed, with only beads to drop: that is connected all the same."""
    chain = strategy.chain(state)
    closed = is_string(chain) and reason != "interrupted"
    outcome = Connected() if closed else Unresolved(reason, strategy.evidence(state))
    return Search(state, chain, outcome, tuple(rounds))


def _replay(strategy: Strategy[State], state: State, old: Round, rounds: list[RoundRecord]) -> State:
    if not old.jobs:  # a round that was given up
        rounds.append(_summary(strategy.chain(state), [], old.seconds))
        return state
    jobs = strategy.propose(state)
    if tuple(job.name for job in jobs) != old.jobs or len(old.results) != len(jobs):
        raise InvalidRun(
            f"round {len(rounds)} of the journal is not of this search: it holds {len(old.jobs)} jobs "
            f"({', '.join(old.jobs[:3])}, ...) where {len(jobs)} are due; start afresh in another directory"
        )
    device = strategy.chain(state)[0].left.theta.device  # files know nothing of devices
    thetas = iter(old.thetas.to(device) if old.thetas is not None else ())
    results = []
    for job, record in zip(jobs, old.results, strict=True):
        result = from_record(record, next(thetas, None) if isinstance(job, Descend) else None)
        if isinstance(result, Descended) != isinstance(job, Descend):
            raise InvalidRun(f"round {len(rounds)} of the journal holds a result of another kind for {job.name}")
        results.append(result)
    state = strategy.absorb(state, {job.name: result for job, result in zip(jobs, results, strict=True)})
    rounds.append(_summary(strategy.chain(state), results, old.seconds))
    return state


def _pack(jobs: Sequence[Job], results: Sequence[Result], seconds: float) -> Round:
    packed = [to_record(result) for result in results]
    thetas = [theta for _, theta in packed if theta is not None]
    return Round(
        tuple(job.name for job in jobs),
        tuple(record for record, _ in packed),
        torch.stack(thetas) if thetas else None,
        seconds,
    )


def _progress(chain: Chain, jobs: Sequence[Job], rounds: Sequence[RoundRecord], seconds: float) -> Progress:
    return Progress(
        beads=len(chain) + 1,
        pending=sum(isinstance(job, Descend) for job in jobs),
        steps=sum(r.steps for r in rounds),
        seconds=seconds + sum(r.seconds for r in rounds),
    )


def _ticker(
    chain: Chain,
    jobs: Sequence[Job],
    rounds: Sequence[RoundRecord],
    stop: StopRule,
    started: float,
    on_event: Callable[[Event], None],
) -> Tick:
    """Tells the display how far the round is, and ends it when its time is up."""
    beads, still_open = len(chain) + 1, sum(link.open for link in chain)

    def tick(done: int, descents: Check | None) -> None:
        on_event(Event(len(rounds), len(jobs), done, beads, still_open, descents))
        if stop.reason(_progress(chain, jobs, rounds, time.monotonic() - started)) == "time":
            raise _GiveUp

    return tick


def _summary(chain: Chain, results: Sequence[Result], seconds: float) -> RoundRecord:
    descended = [r for r in results if isinstance(r, Descended)]
    measured = [r for r in results if isinstance(r, Measured)]
    return RoundRecord(
        depth=max(link.depth for link in chain),
        descents=len(descended),
        measured=len(measured),
        open=sum(link.open for link in chain),
        beads=len(chain) + 1,
        steps=sum(r.steps for r in descended),
        evaluations=sum(r.evaluations for r in results),
        max=finite_or_none(max((r.top.value for r in measured), default=math.inf)),
        seconds=seconds,
    )
