"""What runs jobs, and the executor that runs them side by side in this process."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, Protocol, runtime_checkable

from weightstring.descent.allowance import Allowances
from weightstring.search.jobs import Batch, Job, JobContext, JobResult, Key, Tick


@runtime_checkable
class Executor(Protocol):
    """Whatever can run jobs, which are independent of each other."""

    def submit(self, key: Key, job: Job) -> None:
        """Take in a job."""

    def collect(self, tick: Tick) -> list[tuple[Key, JobResult]]:
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


class Batched:
    """Runs jobs side by side in this process, those of a kind in one batch.

    Args:
        context: what they are run with.
    """

    def __init__(self, context: JobContext) -> None:
        self._context = context
        self.at_work = "no job"
        """What is being computed, in words."""
        self._allowed = Allowances()
        self._batches: dict[type[Job], Batch[Any]] = {}
        self._ready: list[tuple[Key, JobResult]] = []

    def submit(self, key: Key, job: Job) -> None:
        """Take in a job."""
        kind = type(job)
        if kind not in self._batches:
            self._batches[kind] = kind.batch(self._context, self._allowed)
        self._batches[kind].add(key, job)

    def collect(self, tick: Tick) -> list[tuple[Key, JobResult]]:
        """Go on with all batches, or only with those that are done at once, where that is worth it."""
        descending = sum(batch.running for batch in self._batches.values())
        ready = [batch for batch in self._batches.values() if batch.ready(descending)]
        for batch in [batch for batch in ready if batch.at_once] or ready:
            self.at_work = f"the {batch.noun} {_names(batch.keys)}"
            self._ready += batch.advance(lambda: tick(None)).items()
            if not batch.at_once:
                tick(batch.check)
        collected, self._ready = self._ready, []
        return collected

    def allow(self, search: int, steps: int | None, jobs: int) -> None:
        """Hold the next jobs of a search to so many steps, counted over all of them."""
        self._allowed.grant(search, steps)

    def spent(self) -> Mapping[int, int]:
        """Searches whose steps are spent."""
        spent, self._allowed.spent = self._allowed.spent, {}
        return {search: steps for search, steps in spent.items() if isinstance(search, int)}

    def cancel(self, keys: Collection[Key]) -> None:
        """Give jobs up."""
        for batch in self._batches.values():
            batch.cancel(keys)
        self._ready = [entry for entry in self._ready if entry[0] not in keys]


def _names(keys: Sequence[Key]) -> str:
    """The first jobs of several, by their names."""
    named = ", ".join(name for _, name in keys[:3])
    return named + (f" and {len(keys) - 3} more" if len(keys) > 3 else "")


class Apart:
    """An executor for each search, or for each job, which shares no batch with others.

    For problems of which a model's numbers are rounded otherwise beside other models: a search that is interrupted
    and goes on has other company than before, and what it finds must not depend on that. A round that is run apart
    has the same company each time.

    Args:
        begin: makes an executor.
        jobs: whether each job is run by itself, as other processes do.
    """

    def __init__(self, begin: Callable[[], Executor], *, jobs: bool = False) -> None:
        self._begin = begin
        self._jobs = jobs
        self._executors: dict[Key | int, Executor] = {}
        self.at_work = "no job"
        self._waiting: dict[Key | int, set[Key]] = {}
        self._shares: dict[int, int | None] = {}
        self._taken: dict[int, int] = {}

    def submit(self, key: Key, job: Job) -> None:
        """Take in a job."""
        place = self._place(key)
        if place not in self._executors:
            self._executors[place], self._waiting[place] = executor, _ = self._begin(), set()
            if isinstance(executor, Limited):
                executor.allow(key[0], self._shares.get(key[0]), 1)
        self._waiting[place].add(key)
        self._executors[place].submit(key, job)

    def collect(self, tick: Tick) -> list[tuple[Key, JobResult]]:
        """Work for the search that has waited longest."""
        place = next(iter(self._executors))
        self._executors[place] = executor = self._executors.pop(place)  # now the last
        try:
            collected = executor.collect(tick)
        finally:
            self.at_work = getattr(executor, "at_work", self.at_work)
        self._waiting[place] -= {key for key, _ in collected}
        for (search, _), result in collected if self._jobs else ():
            self._taken[search] = self._taken.get(search, 0) + result.steps
        self._end(place)
        return collected

    def allow(self, search: int, steps: int | None, jobs: int) -> None:
        """Hold the next jobs of a search to so many steps, each to its share where each is run by itself."""
        self._taken[search] = 0
        self._shares[search] = steps if steps is None or not self._jobs else steps // max(1, jobs)

    def spent(self) -> Mapping[int, int]:
        """Searches whose steps are spent."""
        spent: dict[int, int] = {}
        for executor in self._executors.values():
            for search, steps in executor.spent().items() if isinstance(executor, Limited) else ():
                spent[search] = self._taken.get(search, 0) + steps
        return spent

    def cancel(self, keys: Collection[Key]) -> None:
        """Give jobs up."""
        for place in {self._place(key) for key in keys} & self._executors.keys():
            self._executors[place].cancel(keys)
            self._waiting[place] -= set(keys)
            self._end(place)

    def _place(self, key: Key) -> Key | int:
        return key if self._jobs else key[0]

    def _end(self, place: Key | int) -> None:
        """Let an executor go with its last job: the next round begins as in a new session."""
        if not self._waiting[place]:
            del self._executors[place], self._waiting[place]
