"""What every kind of job can do: say what it depends on, run beside others of its kind, and be read from a journal.

Jobs carry all they need and are named by their place in the search, so that running one again
gives the same result and a journal can be held against what the strategy proposes.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol, TypeVar, runtime_checkable

import msgspec
import torch
from torch import Tensor

from weightstring.arrays import Thetas, together
from weightstring.codec import Take, encode
from weightstring.descent import Check
from weightstring.descent.allowance import Allowances
from weightstring.errors import InvalidRun
from weightstring.path import Objective
from weightstring.problem import on_threads
from weightstring.recipe import Recipe
from weightstring.store import Round
from weightstring.store.files import one_line

Key = tuple[int, str]
"""Names a job among those of several searches: which search, and its place there."""

Tick = Callable[[Check | None], None]
"""Called now and then with how far the descents are; it may raise, and nothing that is done is lost."""

JobType = TypeVar("JobType", contravariant=True)


@runtime_checkable
class JobResult(Protocol):
    """What comes of a job: a value that is written into the journal as it is, its models into the bead file."""

    @property
    def steps(self) -> int:
        """Gradient steps taken."""

    @property
    def evaluations(self) -> int:
        """Models measured."""

    @property
    def largest(self) -> float | None:
        """The largest sample on the segment that was measured; None where none was."""


@runtime_checkable
class Job(Protocol):
    """Independent work that a strategy proposes."""

    @property
    def name(self) -> str:
        """Its place in the search."""

    @property
    def descends(self) -> bool:
        """Whether it takes gradient steps."""

    def renamed(self, name: str) -> Job:
        """The same job at another place in the search."""

    def adds(self, beads: int) -> int:
        """By how many beads a string of so many may grow through it."""

    def content(self) -> Iterable[object]:
        """All that its result depends on beside the :class:`JobContext`: tensors, and what ``repr`` tells apart."""

    def decode(self, encoded: object, take: Take) -> JobResult:
        """Its result, from what :func:`~weightstring.codec.encode` made of that.

        Raises:
            msgspec.MsgspecError: no such job has this result.
        """

    @classmethod
    def batch(cls, context: JobContext, allowed: Allowances) -> Batch[Any]:
        """An empty batch for jobs of this kind.

        Args:
            context: what they are run with.
            allowed: gradient steps that each search may take.
        """


class Batch(Protocol[JobType]):
    """Jobs of one kind that are run side by side."""

    @property
    def noun(self) -> str:
        """What they are, in the plural."""

    @property
    def at_once(self) -> bool:
        """Whether one call completes all jobs; otherwise it goes on until some are done."""

    @property
    def keys(self) -> Sequence[Key]:
        """The jobs taken in."""

    @property
    def running(self) -> int:
        """Models that descend."""

    @property
    def check(self) -> Check | None:
        """How far descents are, as of the last call."""

    def add(self, key: Key, job: JobType) -> None:
        """Take in a job."""

    def ready(self, descending: int) -> bool:
        """Whether a call is worth its cost while so many models descend, in this batch and others."""

    def advance(self, on_chunk: Callable[[], None]) -> Mapping[Key, JobResult]:
        """Go on for a while; the results that have come up. ``on_chunk`` may raise, and nothing done is lost."""

    def cancel(self, keys: Collection[Key]) -> None:
        """Give jobs up."""


class Spent(NamedTuple):
    """What comes of a job whose gradient steps were spent before it was done."""

    steps: int


@dataclass(frozen=True)
class JobContext:
    """What jobs are run with.

    Args:
        objective: the quantity that the threshold binds, and through it the problem.
        seed: determines each descent's minibatches, together with its place.
        recipe: how beads descend.
        width: descents side by side.
        threads: CPU threads of each job that is run by itself; None: as many as are set.
        adaptive: whether segments are sampled only where their bends ask for it: see :mod:`weightstring.path.adaptive`.
    """

    objective: Objective
    seed: int
    recipe: Recipe
    width: int = 1
    threads: int | None = None
    adaptive: bool = False

    def run(self, job: Job, most: int | None = None) -> JobResult | Spent:
        """Run one job by itself, within so many gradient steps; None: any number."""
        with on_threads(self.threads):
            allowed, key = Allowances(), (0, job.name)
            allowed.grant(0, most)
            batch = type(job).batch(self, allowed)
            batch.add(key, job)
            finished: Mapping[Key, JobResult] = {}
            while not finished:
                finished = batch.advance(lambda: None)
                if allowed.spent:
                    return Spent(allowed.spent[0])
            return finished[key]


def round_of(jobs: Sequence[Job], results: Sequence[JobResult], seconds: float) -> Round:
    """A finished round as a journal keeps it."""
    models: list[Tensor] = []
    encoded = tuple(encode(result, models) for result in results)
    return Round(tuple(job.name for job in jobs), encoded, together(models) if models else None, seconds)


def read_round(jobs: Sequence[Job], kept: Round, number: int, device: torch.device) -> list[JobResult]:
    """The results of a round that a journal holds, one for each of its jobs.

    Args:
        jobs: the round's.
        kept: the round.
        number: the round's number, from 0.
        device: where its models are computed with: files know nothing of devices.

    Raises:
        InvalidRun: a result is none of its job's, or the models are not those of the results.
    """
    thetas = None if kept.thetas is None else kept.thetas.to(device)
    taken = 0

    def take(count: int) -> Thetas:
        nonlocal taken
        taken += count
        if thetas is None or taken > len(thetas):
            raise ValueError(f"no {count} models are left in its bead file")
        return thetas[taken - count : taken]

    results: list[JobResult] = []
    for job, encoded in zip(jobs, kept.results, strict=True):
        try:
            results.append(job.decode(encoded, take))
        except (msgspec.MsgspecError, RecursionError) as problem:
            raise InvalidRun(
                f"round {number} of the journal: not a result of {job.name}: {one_line(problem)}"
            ) from None
    if thetas is not None and taken != len(thetas):
        raise InvalidRun(
            f"round {number} of the journal: its results have {taken} models, its bead file has {len(thetas)}"
        )
    return results
