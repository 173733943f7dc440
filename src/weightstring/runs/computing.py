"""How a run is computed: its engine, threads, width of batches, and what runs the jobs.

A run goes on with the choices of its first session, since others round differently.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from concurrent.futures import Executor as Pool
from contextlib import contextmanager
from dataclasses import replace

import torch

from weightstring.descent import batch_width
from weightstring.path import Objective
from weightstring.problem import on_threads
from weightstring.protocol import Engined, Independent, LossProblem
from weightstring.runs.manifest import earlier
from weightstring.runs.run import Computing
from weightstring.runs.settings import Pair, Settings, Workers
from weightstring.search import Apart, Batched, Executor, JobContext, Processes, Remote
from weightstring.store import Manifest


def computing(
    problem: LossProblem, settings: Settings, manifest: Manifest | None, searches: int, seconds: float
) -> Computing:
    """How so many searches are computed: as the run began, where there is one.

    Args:
        problem: the loss.
        settings: as asked for.
        manifest: of the run that an earlier session began.
        searches: how many go on side by side.
        seconds: that one evaluation takes now.
    """
    recipe = settings.recipe or problem.recipe
    if manifest is not None:
        asked = manifest.sampling if settings.sampling == "auto" else settings.sampling
        took = manifest.evaluation_seconds or seconds
        return Computing(recipe, manifest.width, manifest.threads, asked == "adaptive", took)
    width = 1 if settings.elsewhere else batch_width(problem, searches)
    return Computing(recipe, width, _threads(problem, settings.executor), settings.sampling != "dense", seconds)


class Stopwatch:
    """Seconds of work, of the wall's clock or of this process, whichever are fewer: other programs count in neither."""

    def __init__(self, device: torch.device) -> None:
        self._on_cpu = device.type == "cpu"
        self._wall, self._own = time.perf_counter(), time.process_time()

    @property
    def seconds(self) -> float:
        """Since it was made."""
        wall, own = time.perf_counter() - self._wall, time.process_time() - self._own
        return max(0.0, min(wall, own) if self._on_cpu else wall)  # a clock may be set back


def executor_of(objective: Objective, settings: Settings, computed: Computing) -> Executor:
    """What runs the jobs of all searches."""
    problem, executor, width = objective.problem, settings.executor, computed.width
    context = JobContext(objective, settings.seed, computed.recipe, width, adaptive=computed.adaptive)
    if isinstance(executor, Pool | Processes):
        return Remote(executor, replace(context, width=1, threads=_threads(problem, executor)))
    if executor is not None:
        assert isinstance(executor, Executor)  # a cluster takes whole searches
        return executor
    if isinstance(problem, Independent) and problem.independent:  # all searches share batches, as wide as they gain
        return Batched(replace(context, width=batch_width(problem) if width == 1 else width))
    return Apart(lambda: Batched(context), jobs=width == 1)


def first_of(manifests: Sequence[Manifest | None]) -> Manifest | None:
    """The first manifest there is: runs that began together are computed alike."""
    return next((manifest for manifest in manifests if manifest is not None), None)


@contextmanager
def arithmetic(problem: LossProblem, pairs: Sequence[Pair]) -> Iterator[None]:
    """Compute as an earlier session of the pairs did, with its engine and threads; afterwards all is as before.

    What lies between the engine's calls is computed by one thread: several divide sums by how many there are.
    """
    manifest = first_of([earlier(problem, pair) for pair in pairs])
    engine, threads = (None, None) if manifest is None else (manifest.engine, manifest.threads)
    with by_engine(problem, engine, threads):
        yield


@contextmanager
def by_engine(problem: LossProblem, engine: str | None, threads: int | None) -> Iterator[None]:
    """Compute by an engine and so many threads; None: as the problem's own trial chooses."""
    if not isinstance(problem, Engined):
        with on_threads(threads):
            yield
        return
    name = engine or problem.engine_choice().name
    most = threads or problem.engine_choice().threads or torch.get_num_threads()
    with problem.computing_by(name, most), on_threads(None if problem.device.type == "cuda" else 1):
        yield


def _threads(problem: LossProblem, executor: Workers) -> int:
    """CPU threads of large calls."""
    if isinstance(executor, Processes):
        return 1
    chosen = problem.engine_choice().threads if isinstance(problem, Engined) else None
    return chosen or torch.get_num_threads()
