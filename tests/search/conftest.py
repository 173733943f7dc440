"""Jobs handed to an executor and collected until all of them are done."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pytest

from weightstring.search import Executor, Job, JobResult, Tick

Run = Callable[..., list[JobResult]]


def run_jobs(executor: Executor, jobs: Sequence[Job], tick: Tick = lambda check: None) -> list[JobResult]:
    """The jobs' results, in order; each comes up once, and no other does."""
    for job in jobs:
        executor.submit((3, job.name), job)
    results: dict[str, JobResult] = {}
    while len(results) < len(jobs):
        for (search, name), result in executor.collect(tick):
            assert search == 3
            assert name not in results
            results[name] = result
    assert executor.collect(tick) == []
    return [results[job.name] for job in jobs]


@pytest.fixture(scope="session")
def run() -> Run:
    return run_jobs
