"""A dask cluster that work is sent to: one that is there, or processes of this machine."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import CancelledError
from contextlib import AbstractContextManager, contextmanager, suppress
from importlib import import_module
from logging import CRITICAL
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol, runtime_checkable

from weightstring.errors import InvalidSetting, WorkerFailed
from weightstring.failures import one_line

ANSWERS = 15
"""Seconds within which a scheduler answers."""


@runtime_checkable
class Client(Protocol):
    """What is used of a dask client."""

    def submit(self, func: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """Send a task; its future."""

    def scheduler_info(self, n_workers: int = 5) -> Any:
        """What the scheduler tells of its workers."""


class Dask:
    """A dask cluster that searches are sent to whole; ``with Dask() as cluster: connect(..., executor=cluster)``.

    Args:
        cluster: the address of its scheduler, such as ``tcp://host:8786``, the file that a scheduler wrote, or a dask
            ``Client``; None: processes on this machine, each with one thread, which end with it.
        workers: how many such processes; one for each processor by default.

    Raises:
        InvalidSetting: fewer than one worker, or workers of a cluster that is there already.

    >>> Dask("tcp://host:8786"), Dask(workers=2)
    (Dask('tcp://host:8786'), Dask(workers=2))
    """

    def __init__(self, cluster: str | os.PathLike[str] | Client | None = None, *, workers: int | None = None) -> None:
        if workers is not None and (not isinstance(workers, int) or workers < 1 or cluster is not None):
            raise InvalidSetting(f"Dask(workers={workers!r}): give at least one, and no cluster that has its own")
        self._given, self._workers = cluster, workers
        self._client: Any = cluster if isinstance(cluster, Client) else None
        self._local: Any = None
        self._beginning = threading.Lock()

    def __repr__(self) -> str:
        return f"Dask(workers={self._workers})" if self._given is None else f"Dask({self._given!r})"

    @property
    def client(self) -> Any:
        """The client in use, begun when it is first needed.

        Raises:
            InvalidSetting: dask is not installed, or no scheduler answers.
        """
        with self._beginning:
            if self._client is None:
                distributed = distributed_module()
                if self._given is None:
                    with _set_for_searches():
                        # The system says how much memory there is, as for any process.
                        self._local = distributed.LocalCluster(
                            self._wanted,
                            threads_per_worker=1,
                            dashboard_address=":0",
                            memory_limit=None,
                            silence_logs=CRITICAL,
                        )
                    self._client = distributed.Client(self._local)
                else:
                    self._client = _connected(distributed, str(self._given))
            return self._client

    @property
    def dashboard(self) -> str:
        """Where dask shows what it does, for a browser."""
        with self.reached():
            return str(self.client.dashboard_link)

    @property
    def workers(self) -> int:
        """How many there are now."""
        with self.reached():
            return len(self.client.scheduler_info(n_workers=-1)["workers"])

    @property
    def place(self) -> str:
        """Where its scheduler is, for messages."""
        scheduler = getattr(self.client, "scheduler", None)
        return str(getattr(scheduler, "address", self._given))

    @contextmanager
    def reached(self) -> Iterator[None]:
        """A call of dask's own: where it fails since the scheduler is gone, that is said.

        Raises:
            WorkerFailed: it is.
        """
        try:
            yield
        except (CancelledError, OSError, distributed_module().client.ClosedClientError):
            raise self.gone() from None

    def gone(self) -> WorkerFailed:
        """What is said where no more answers come."""
        return WorkerFailed(
            f"dask: the scheduler at {self.place} is gone, or gave the work up; what was found is kept, and the same "
            "call goes on with it"
        )

    @property
    def _wanted(self) -> int:
        return self._workers or os.cpu_count() or 1

    def mend(self) -> None:
        """Begin workers on this machine anew that dask let go: of one that died it waits for another only 15 s."""
        if self._local is not None and self.workers < self._wanted:
            with _set_for_searches():
                self._local.scale(self._wanted)

    def close(self) -> None:
        """End what was begun here; a client that was given stays open."""
        client, local, self._local = self._client, self._local, None
        if client is not None and client is not self._given:
            self._client = None
            with suppress(Exception):  # a scheduler that is gone already
                client.close()
        if local is not None:
            local.close()

    def __enter__(self) -> Dask:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        self.close()


def _set_for_searches() -> AbstractContextManager[Any]:
    """Dask's settings while workers on this machine begin.

    As they are, its profiler stops a worker's thread a hundred times a second, its event loop wakes fifty times, each
    time taking Python's lock, and malloc gives every 64 kB back, which the next call of torch asks for again: together
    a fourth of the clock.
    """
    settings: AbstractContextManager[Any] = import_module("dask").config.set(
        {
            "distributed.worker.profile.enabled": False,
            "distributed.admin.tick.interval": "1s",
            "distributed.admin.system-monitor.interval": "5s",
            "distributed.nanny.pre-spawn-environ.MALLOC_TRIM_THRESHOLD_": 128 << 20,
        }
    )
    return settings


def distributed_module() -> Any:
    """dask.distributed, imported when it is first needed.

    Raises:
        InvalidSetting: it is not installed.
    """
    try:
        return import_module("distributed")
    except ImportError:
        raise InvalidSetting("dask is not installed: pip install weightstring[dask]") from None


def _connected(distributed: Any, place: str) -> Any:
    where = {"scheduler_file": place} if Path(place).is_file() else {"address": place}
    try:
        return distributed.Client(**where, timeout=ANSWERS)
    except (OSError, ValueError, TimeoutError) as problem:
        raise InvalidSetting(
            f"dask: no scheduler answers at {place}: {one_line(problem):.200}; begin one by `dask scheduler`, or leave "
            "the address out for workers on this machine"
        ) from None
