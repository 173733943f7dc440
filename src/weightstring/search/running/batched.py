"""What runs jobs, and the executor that runs them side by side in this process."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Protocol, get_args, runtime_checkable

from weightstring.descent import Check, Descents, Evolutions
from weightstring.descent.allowance import Allowances
from weightstring.path import MAX_PEAKS, Objective, Samples, accept, locate, reject
from weightstring.path.maximum import WHOLE, measure_at
from weightstring.path.screening import SCREENED
from weightstring.path.segment import grid
from weightstring.protocol import Manner, Recipe
from weightstring.search.jobs import Descend, Evolve, Job, Measure, Measured, Result

Key = tuple[int, str]
"""Names a job among those of several searches: which search, and its place there."""

Tick = Callable[[Check | None], None]
"""Called now and then with how far the descents are; it may raise, and nothing that is done is lost."""


@runtime_checkable
class Executor(Protocol):
    """Whatever can run jobs, which are independent of each other."""

    def submit(self, key: Key, job: Job) -> None:
        """Take in a job."""

    def collect(self, tick: Tick) -> list[tuple[Key, Result]]:
        """Work, or wait, for a while; the results that have come up since the last time, each once."""

    def cancel(self, keys: Collection[Key]) -> None:
        """Give jobs up: nothing will be collected for them."""


@runtime_checkable
class Limited(Protocol):
    """An executor that can hold a search to a number of gradient steps; any other finishes what it has begun."""

    def allow(self, search: int, steps: int | None, jobs: int) -> None:
        """Steps that a search's next jobs, so many of which descend, may take in all; None: any number."""

    def spent(self) -> Mapping[int, int]:
        """Searches whose steps are spent before their jobs are done, and how many were taken; each told once."""


MEASURE_AT = 8
"""Segments are measured when there is one to so many descents under way."""


class Batched:
    """Runs jobs side by side in this process: all descents in one batch, all evolutions, all segments in others.

    Args:
        bound: the quantity that the threshold binds, and through it the problem.
        seed: determines each descent's minibatches, together with its place.
        recipe: how beads descend.
        width: descents side by side.
    """

    def __init__(self, bound: Objective, seed: int, recipe: Recipe, width: int) -> None:
        self._bound = bound
        self.at_work = "no job"
        """What is being computed, in words."""
        self._check: Check | None = None
        self._allowed = Allowances()
        self._descents: dict[Manner, Descents] = {
            manner: Descents(
                bound.problem,
                bound,
                seed=seed,
                recipe=recipe.by(manner),
                width=width,
                screening=bound.screening,
                on_check=self._note,
                allowed=self._allowed,
            )
            for manner in get_args(Manner)
        }
        self._evolutions = Evolutions(
            bound.problem, bound, seed=seed, recipe=recipe, screening=bound.screening, allowed=self._allowed
        )
        self._descending: dict[tuple[Manner, int], Key] = {}
        self._evolving: dict[int, Key] = {}
        self._measuring: dict[Key, Measure] = {}
        self._ready: list[tuple[Key, Result]] = []

    def submit(self, key: Key, job: Job) -> None:
        """Take in a job."""
        if isinstance(job, Descend):
            number = self._descents[job.manner].add(job.start, key[0])
            self._descending[job.manner, number] = key
        elif isinstance(job, Evolve):
            self._evolving[self._evolutions.add(job.evolution, key[0])] = key
        else:
            self._measuring[key] = job

    def collect(self, tick: Tick) -> list[tuple[Key, Result]]:
        """Measure all segments there are, or descend until the next measurement.

        Of many searches some wait to be measured while others descend: a few wait for more, as measuring
        them together costs little more than one.
        """
        if len(self._measuring) * MEASURE_AT > self._running:
            keys, jobs = list(self._measuring), list(self._measuring.values())
            self.at_work = _names("the segments", keys)
            self._ready += zip(keys, measure(self._bound, jobs, lambda: tick(None)), strict=True)
            self._measuring.clear()
        else:
            self.at_work = _names("the descents", [*self._descending.values(), *self._evolving.values()])
            for other, descents in self._descents.items():
                finished = {} if descents.idle else descents.advance()
                self._ready += [(self._descending.pop((other, number)), result) for number, result in finished.items()]
            if not self._evolutions.idle:
                evolved = self._evolutions.advance()
                self._ready += [(self._evolving.pop(number), result) for number, result in evolved.items()]
            tick(self._check)
        ready, self._ready = self._ready, []
        return ready

    @property
    def _running(self) -> int:
        return sum(descents.running for descents in self._descents.values()) + self._evolutions.running

    def allow(self, search: int, steps: int | None, jobs: int) -> None:
        """Hold the next jobs of a search to so many steps, counted over all of them."""
        self._allowed.grant(search, steps)

    def spent(self) -> Mapping[int, int]:
        """Searches whose steps are spent."""
        spent, self._allowed.spent = self._allowed.spent, {}
        return {search: steps for search, steps in spent.items() if isinstance(search, int)}

    def cancel(self, keys: Collection[Key]) -> None:
        """Give jobs up."""
        self._measuring = {key: job for key, job in self._measuring.items() if key not in keys}
        given_up = {number for number, key in self._descending.items() if key in keys}
        for other, descents in self._descents.items():
            descents.cancel({number for which, number in given_up if which == other})
        self._descending = {number: key for number, key in self._descending.items() if number not in given_up}
        stopped = {number for number, key in self._evolving.items() if key in keys}
        self._evolutions.cancel(stopped)
        self._evolving = {number: key for number, key in self._evolving.items() if number not in stopped}
        self._ready = [entry for entry in self._ready if entry[0] not in keys]

    def _note(self, check: Check) -> None:
        self._check = check


def _names(kind: str, keys: Sequence[Key]) -> str:
    """The first jobs of several, by their names."""
    named = ", ".join(name for _, name in keys[:3])
    return f"{kind} {named}" + (f" and {len(keys) - 3} more" if len(keys) > 3 else "")


class Apart:
    """An executor of its own for each search, or for each job, which shares no batch with others.

    For problems of which a model's numbers are rounded otherwise beside other models: a search that is interrupted
    and goes on has other company than before, and what it finds must not depend on that. A round of its own has the
    same company each time it is run.

    Args:
        begin: makes an executor.
        jobs: whether each job is run by itself, as other processes do.
    """

    def __init__(self, begin: Callable[[], Executor], *, jobs: bool = False) -> None:
        self._begin = begin
        self._jobs = jobs
        self._own: dict[Key | int, Executor] = {}
        self.at_work = "no job"
        self._waiting: dict[Key | int, set[Key]] = {}
        self._shares: dict[int, int | None] = {}
        self._taken: dict[int, int] = {}

    def submit(self, key: Key, job: Job) -> None:
        """Take in a job."""
        place = self._place(key)
        if place not in self._own:
            self._own[place], self._waiting[place] = own, _ = self._begin(), set()
            if isinstance(own, Limited):
                own.allow(key[0], self._shares.get(key[0]), 1)
        self._waiting[place].add(key)
        self._own[place].submit(key, job)

    def collect(self, tick: Tick) -> list[tuple[Key, Result]]:
        """Work for the search that has waited longest."""
        place = next(iter(self._own))
        self._own[place] = own = self._own.pop(place)  # now the last
        try:
            found = own.collect(tick)
        finally:
            self.at_work = getattr(own, "at_work", self.at_work)
        self._waiting[place] -= {key for key, _ in found}
        for (search, _), result in found if self._jobs else ():
            self._taken[search] = self._taken.get(search, 0) + (0 if isinstance(result, Measured) else result.steps)
        self._end(place)
        return found

    def allow(self, search: int, steps: int | None, jobs: int) -> None:
        """Hold the next jobs of a search to so many steps, each to its share where each is run by itself."""
        self._taken[search] = 0
        self._shares[search] = steps if steps is None or not self._jobs else steps // max(1, jobs)

    def spent(self) -> Mapping[int, int]:
        """Searches whose steps are spent."""
        spent: dict[int, int] = {}
        for own in self._own.values():
            for search, steps in own.spent().items() if isinstance(own, Limited) else ():
                spent[search] = self._taken.get(search, 0) + steps
        return spent

    def cancel(self, keys: Collection[Key]) -> None:
        """Give jobs up."""
        for place in {self._place(key) for key in keys} & self._own.keys():
            self._own[place].cancel(keys)
            self._waiting[place] -= set(keys)
            self._end(place)

    def _place(self, key: Key) -> Key | int:
        return key if self._jobs else key[0]

    def _end(self, place: Key | int) -> None:
        """Let an executor go with its last job: the next round begins as in a new session."""
        if not self._waiting[place]:
            del self._own[place], self._waiting[place]


def measure(bound: Objective, jobs: Sequence[Measure], on_chunk: Callable[[], None]) -> list[Measured]:
    """Measure segments side by side; only those over the threshold are searched for their maximum."""
    samples = [Samples(job.segment, dict(zip((0.0, 1.0), job.ends or (), strict=False))) for job in jobs]
    on_grids = [(own, grid(job.intervals)) for own, job in zip(samples, jobs, strict=True) if job.intervals]
    measure_at(bound, on_grids, on_chunk)
    accepted = [own.under(job.threshold) for own, job in zip(samples, jobs, strict=True)]
    free = [i for i, job in enumerate(jobs) if not job.intervals]
    # What the models of a segment share is made for one segment after the other.
    for group in [[i] for i in free] if bound.shares_along or not free else [free]:
        thresholds = [jobs[i].threshold for i in group]
        for i, good in zip(group, _accepted(bound, [samples[i] for i in group], thresholds, on_chunk), strict=True):
            accepted[i] = good
    return [
        Measured(
            good,
            tuple(s.peaks()[:MAX_PEAKS]),
            len(s.heights) - (0 if job.ends is None else 2),
            (s.heights[0.0], s.heights[1.0]) if job.ends is None and {0.0, 1.0} <= s.heights.keys() else None,
        )
        for s, good, job in zip(samples, accepted, jobs, strict=True)
    ]


def _accepted(
    bound: Objective, samples: Sequence[Samples], thresholds: Sequence[float], on_chunk: Callable[[], None]
) -> list[bool]:
    """Which segments are under their thresholds; the maximum of the others is located."""
    screening = bound.screening
    rejected = [False] * len(samples)
    if screening is not None:
        rejected = reject(bound, screening, samples, thresholds, on_chunk)
    left = [i for i, bad in enumerate(rejected) if not bad]
    sampling = WHOLE if screening is None else SCREENED
    under = accept(bound, [samples[i] for i in left], [thresholds[i] for i in left], on_chunk, sampling)
    locate(bound, [samples[i] for i, good in zip(left, under, strict=True) if not good], on_chunk)
    accepted = {i for i, good in zip(left, under, strict=True) if good}
    return [i in accepted for i in range(len(samples))]
