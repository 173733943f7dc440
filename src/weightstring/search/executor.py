"""Run a round's jobs: all its descents in one batch, all its segments in another."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from weightstring.descent import Check, descend
from weightstring.path import MAX_PEAKS, Bound, Samples, accept, locate
from weightstring.protocol import Recipe
from weightstring.search.jobs import Descend, Job, Measure, Measured, Result

Tick = Callable[[int, Check | None], None]
"""Called now and then with the number of jobs done and how far the descents are; raises to give the round up."""


@runtime_checkable
class Executor(Protocol):
    """Whatever can run jobs: one result for each, in order."""

    def run(self, jobs: Sequence[Job], tick: Tick) -> list[Result]:
        """Run ``jobs``, which are independent of each other."""


@dataclass(frozen=True)
class Batched:
    """Runs the jobs of a round side by side in this process.

    Args:
        bound: the quantity that the threshold binds, and through it the problem.
        seed: determines each descent's minibatches, together with its place.
        recipe: how beads descend.
        width: descents side by side.
    """

    bound: Bound
    seed: int
    recipe: Recipe
    width: int

    def run(self, jobs: Sequence[Job], tick: Tick) -> list[Result]:
        """Run ``jobs``; descents first, then measurements."""
        descents = [job.start for job in jobs if isinstance(job, Descend)]
        measures = [job for job in jobs if isinstance(job, Measure)]
        descended = iter(
            descend(
                self.bound.problem,
                self.bound,
                descents,
                seed=self.seed,
                recipe=self.recipe,
                width=self.width,
                on_check=lambda check: tick(check.finished, check),
            )
        )
        measured = iter(measure(self.bound, measures, lambda: tick(len(descents), None)))
        return [next(descended) if isinstance(job, Descend) else next(measured) for job in jobs]


def measure(bound: Bound, jobs: Sequence[Measure], on_chunk: Callable[[], None]) -> list[Measured]:
    """Measure segments side by side; only those over the threshold are searched for their maximum."""
    samples = [Samples(job.segment, {0.0: job.ends[0], 1.0: job.ends[1]}) for job in jobs]
    accepted: list[bool] = [False] * len(jobs)
    for threshold in dict.fromkeys(job.threshold for job in jobs):
        same = [i for i, job in enumerate(jobs) if job.threshold == threshold]
        for i, good in zip(same, accept(bound, [samples[i] for i in same], threshold, on_chunk), strict=True):
            accepted[i] = good
    locate(bound, [s for s, good in zip(samples, accepted, strict=True) if not good], on_chunk)
    return [
        Measured(good, tuple(s.peaks()[:MAX_PEAKS]), len(s.heights) - 2)
        for s, good in zip(samples, accepted, strict=True)
    ]
