"""Jobs in other processes or on other machines, through any ``concurrent.futures.Executor``.

A job is a pure function of what it carries and of the problem, so that it may run twice, or elsewhere,
with the same result. The problem travels once: it lies in a file that every worker can read.
"""

from __future__ import annotations

import shutil
import tempfile
import threading
import weakref
from collections.abc import Collection, Mapping
from concurrent.futures import FIRST_COMPLETED, BrokenExecutor, CancelledError, Future, wait
from concurrent.futures import Executor as Pool
from hashlib import sha256
from pathlib import Path
from typing import Protocol, runtime_checkable

import cloudpickle
from torch import Tensor

from weightstring.errors import InvalidSetting, WorkerFailed
from weightstring.search.jobs import Job, JobContext, JobResult, Key, Spent, Tick
from weightstring.store import digest

PATIENCE = 0.2
"""Seconds that :meth:`Remote.collect` waits before it lets the caller look at the clock."""
REPEATS = 3
"""How often a job is repeated whose worker died: a job that kills every worker must not kill them for ever."""


@runtime_checkable
class Rebuilding(Protocol):
    """A pool that can be replaced after a worker's death."""

    @property
    def pool(self) -> Pool:
        """The pool in use."""

    def rebuild(self) -> None:
        """Put a sound pool in place of a broken one."""


def content_name(context_name: str, job: Job, most: int | None = None) -> str:
    """A job named by its content: two jobs of one name have the same result.

    Args:
        context_name: digest of the :class:`~weightstring.search.jobs.JobContext`.
        job: the job.
        most: gradient steps that it may take.
    """
    parts = [
        (digest(part.flatten()), tuple(part.shape)) if isinstance(part, Tensor) else part for part in job.content()
    ]
    return sha256("\x1f".join([context_name, *map(repr, parts), repr(most)]).encode()).hexdigest()


class Remote:
    """Runs each job by itself in a pool.

    Args:
        pool: any ``concurrent.futures.Executor``, or one that can be rebuilt, as
            :class:`weightstring.search.Processes`.
        context: what jobs are run with.
        spool: a directory that all workers can read, for the problem; a temporary one by default.

    Raises:
        InvalidSetting: the problem cannot be sent to another process.
    """

    def __init__(self, pool: Pool | Rebuilding, context: JobContext, spool: Path | None = None) -> None:
        self._pool = pool
        try:
            content = cloudpickle.dumps(context)
        except Exception as error:  # whatever an attribute of the user's raises
            reason = (str(error).splitlines() or [type(error).__name__])[0]
            raise InvalidSetting(
                f"the problem cannot be sent to other processes ({reason}): keep open files, locks and generators out "
                "of net, loss_fn and metrics, or leave executor out"
            ) from error
        self._name = sha256(content).hexdigest()
        folder = tempfile.mkdtemp(prefix="weightstring-", dir=spool)
        weakref.finalize(self, shutil.rmtree, folder, ignore_errors=True)
        self._path = Path(folder) / f"{self._name}.pickle"
        with self._path.open("xb") as file:
            file.write(content)
        self._jobs: dict[str, Job] = {}
        self._wanted: dict[str, list[Key]] = {}
        self._futures: dict[Future[JobResult | Spent], tuple[str, Pool]] = {}
        self._most: dict[str, int | None] = {}
        self._shares: dict[int, int | None] = {}
        self._taken: dict[int, int] = {}
        self._spent: dict[int, int] = {}
        self._deaths: dict[str, int] = {}
        self._ready: list[tuple[Key, JobResult]] = []

    def submit(self, key: Key, job: Job) -> None:
        """Take in a job; two of the same content, as of two searches with an end in common, run once."""
        most = self._shares.get(key[0]) if job.descends else None
        name = content_name(self._name, job, most)
        self._most[name] = most
        self._wanted.setdefault(name, []).append(key)
        if name not in self._jobs:
            self._jobs[name] = job
            self._send(name)

    def collect(self, tick: Tick) -> list[tuple[Key, JobResult]]:
        """Wait a moment; the results that have come in.

        Raises:
            WorkerFailed: a job's workers died again and again, or the pool was shut down.
        """
        done, _ = wait(self._futures, timeout=PATIENCE, return_when=FIRST_COMPLETED)
        done |= {future for future in self._futures if future.cancelled()}  # of which wait does not tell
        dead = []
        for future in done:
            name, pool = self._futures.pop(future)
            try:
                result = future.result()
            except (BrokenExecutor, CancelledError):
                dead.append((name, pool))
                continue
            del self._jobs[name], self._most[name]
            wanted = self._wanted.pop(name)
            for search in {search for search, _ in wanted}:
                self._taken[search] = self._taken.get(search, 0) + result.steps
                if isinstance(result, Spent):
                    self._spent[search] = self._taken[search]
            if not isinstance(result, Spent):
                self._ready += [(key, result) for key in wanted]
        if dead:
            self._repeat(dead)
        tick(None)
        ready, self._ready = self._ready, []
        return ready

    def allow(self, search: int, steps: int | None, jobs: int) -> None:
        """Hold each of the next jobs of a search to its share of so many steps: none knows of the others."""
        self._shares[search] = None if steps is None else steps // max(1, jobs)
        self._taken[search] = 0

    def spent(self) -> Mapping[int, int]:
        """Searches whose steps are spent."""
        spent, self._spent = self._spent, {}
        return spent

    def cancel(self, keys: Collection[Key]) -> None:
        """Give jobs up; one that runs already runs to its end unheard."""
        self._ready = [entry for entry in self._ready if entry[0] not in keys]
        for future, (name, _) in list(self._futures.items()):
            self._wanted[name] = [key for key in self._wanted[name] if key not in keys]
            if not self._wanted[name]:
                future.cancel()
                del self._futures[future], self._jobs[name], self._wanted[name], self._most[name]

    def _repeat(self, dead: list[tuple[str, Pool]]) -> None:
        """Run jobs again whose worker died; which of them killed it is not known."""
        for name, _ in dead:
            self._deaths[name] = self._deaths.get(name, 0) + 1
            if self._deaths[name] > REPEATS:
                kind = type(self._jobs[name]).__name__.lower()
                raise WorkerFailed(
                    f"the worker of a {kind} job died {self._deaths[name]} times: is there memory enough for all "
                    "workers? use fewer; and keep the call under `if __name__ == '__main__':`"
                )
        # Jobs of a pool that was replaced already may end late: the new one is sound.
        if isinstance(self._pool, Rebuilding) and any(pool is self._pool.pool for _, pool in dead):
            self._pool.rebuild()
        for name, _ in dead:
            self._send(name)

    def _send(self, name: str) -> None:
        pool = self._pool.pool if isinstance(self._pool, Rebuilding) else self._pool
        try:
            future = pool.submit(run_job, str(self._path), self._jobs[name], self._most[name])
        except BrokenExecutor:
            if not isinstance(self._pool, Rebuilding):
                raise WorkerFailed(
                    "a worker of the executor died and it takes no more jobs: weightstring.Processes would replace it"
                ) from None
            future = Future()
            future.set_exception(BrokenExecutor())
        except RuntimeError as error:
            raise WorkerFailed(f"the executor takes no jobs ({error}): keep it open while connect runs") from None
        self._futures[future] = name, pool


def _loaded(path: Path) -> JobContext:
    """The problem, from the very bytes that its sender wrote: a pickle is code, and the spool may be another's too.

    Raises:
        WorkerFailed: they are others.
    """
    content = path.read_bytes()
    if sha256(content).hexdigest() != path.stem:
        raise WorkerFailed(
            f"{path}: not what was put there, so it was not loaded; choose a spool where only you can write"
        )
    context: JobContext = cloudpickle.loads(content)
    return context


_known = threading.local()


def run_job(path: str, job: Job, most: int | None = None) -> JobResult | Spent:
    """Run one job in a worker; the problem is read once by each thread, since none may share a module."""
    if getattr(_known, "path", None) != path:
        _known.context = _loaded(Path(path))
        _known.path = path
    result: JobResult | Spent = _known.context.run(job, most)
    return result
