"""What a search may come to is run ahead of it, where that costs little: speculation that changes no result.

A strategy says in which states it may find itself later, whatever comes of the round under way: those in which its
further attempts begin. Each is taken on as a search of its own, a branch, of which nothing is written down. The search
itself goes on in its plain order; where it comes to a job of the very same content, it takes that one's result.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import count
from typing import Generic, Protocol, runtime_checkable

import torch
from torch import Tensor

from weightstring.search.jobs import Job, JobResult, Key
from weightstring.search.running.batched import Executor
from weightstring.search.running.search import RunningSearch, SearchRequest
from weightstring.search.strategy import State


@runtime_checkable
class Roomy(Protocol):
    """An executor that can run jobs beside others at little cost."""

    @property
    def has_room(self) -> bool:
        """Whether it can at present."""


@dataclass
class Ran:
    """A job that is run ahead of a search.

    Args:
        job: the job.
        number: that of the branch which asked for it.
        result: what came of it, once that is there.
        wanted: whether the search itself has come to it, and waits.
    """

    job: Job
    number: int
    result: JobResult | None = None
    wanted: bool = False


class Speculation(Generic[State]):
    """What is run ahead of any number of searches.

    Args:
        executor: runs their jobs; nothing is run ahead where it never says that it has room.
        searches: how many there are; branches are numbered after them.
    """

    def __init__(self, executor: Executor, searches: int) -> None:
        self._executor = executor if isinstance(executor, Roomy) else None
        self._submit = executor.submit
        self._cancel = executor.cancel
        self._numbers = count(searches)
        self._waiting: dict[int, deque[SearchRequest[State]]] = {}
        self._branches: dict[int, RunningSearch[State]] = {}
        self._owners: dict[int, int] = {}
        self._ran: dict[int, dict[str, list[Ran]]] = {}
        self._under_way: dict[Key, Ran] = {}

    def look_ahead(self, searches: Mapping[int, RunningSearch[State]]) -> None:
        """Begin one more branch, if there is room: the next of the search that has begun fewest."""
        if self._executor is None:
            return
        for i, search in searches.items():
            if i not in self._waiting and (requests := search.ahead()):
                self._waiting[i], self._ran[i] = deque(requests), {}
        begun = Counter(self._owners.values())
        owner = min((i for i, waiting in self._waiting.items() if waiting), key=lambda i: begun[i], default=None)
        if owner is not None and self._executor.has_room:
            number = next(self._numbers)
            self._owners[number] = owner
            self._branches[number] = RunningSearch(self._waiting[owner].popleft())
            self._go_on(number)

    def find(self, i: int, job: Job) -> Ran | None:
        """A search's job, if it is run ahead or was: one of its name and content."""
        runs = self._ran[i].get(job.name, ()) if i in self._ran else ()
        return next((ran for ran in runs if alike(ran.job, job)), None)

    def take(self, key: Key, result: JobResult) -> Key | None:
        """A result that has come in: the search's own key of it, where the search waits for it."""
        ran, name = self._under_way.pop(key, None), key[1]
        if ran is None:
            return key
        ran.result = result
        branch = self._branches[ran.number]
        branch.results[name] = result
        if branch.absorb():
            self._go_on(ran.number)
        return (self._owners[ran.number], name) if ran.wanted else None

    def drop(self, i: int) -> None:
        """Let all go that is run ahead of a search, which is over."""
        numbers = {number for number, owner in self._owners.items() if owner == i}
        keys = [key for key in self._under_way if key[0] in numbers]
        if keys:
            self._cancel(keys)
        for key in keys:
            del self._under_way[key]
        for number in numbers:
            del self._owners[number]
            self._branches.pop(number, None)
        self._waiting.pop(i, None)
        self._ran.pop(i, None)

    def _go_on(self, number: int) -> None:
        """Submit a branch's next round; where there is none, it is over, and its results stay."""
        branch = self._branches[number]
        if branch.propose() is not None:
            del self._branches[number]
            return
        for job in branch.jobs:
            ran = self._under_way[number, job.name] = Ran(job, number)
            self._ran[self._owners[number]].setdefault(job.name, []).append(ran)
            self._submit((number, job.name), job)


def alike(job: Job, other: Job) -> bool:
    """Whether two jobs have the same content, so that they have the same result."""
    if job is other:
        return True
    one, two = tuple(job.content()), tuple(other.content())
    return len(one) == len(two) and all(map(_equal, one, two))


def _equal(one: object, other: object) -> bool:
    if isinstance(one, Tensor) and isinstance(other, Tensor):
        return one.dtype == other.dtype and torch.equal(one, other)
    return type(one) is type(other) and repr(one) == repr(other)
