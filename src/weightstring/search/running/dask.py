"""Whole pieces of work on a dask cluster: a task is a function of what all tasks share and of an item of its own.

A task is named by its content, may run twice or elsewhere, and writes what it finds where it lasts: of one whose worker
died, what it had written is gone on with. What all share travels as a task too, so that a cluster that lost it makes it
again.
"""

from __future__ import annotations

import os
import threading
import warnings
from collections.abc import Callable, Hashable, Iterator
from concurrent.futures import CancelledError
from contextlib import AbstractContextManager, contextmanager, suppress
from hashlib import sha256
from importlib import import_module
from logging import CRITICAL
from pathlib import Path
from types import TracebackType
from typing import Any, Generic, NamedTuple, Protocol, TypeVar, runtime_checkable

import cloudpickle

from weightstring.errors import InvalidSetting, WorkerFailed
from weightstring.failures import one_line
from weightstring.search.running.worker import run_task, versions

Result = TypeVar("Result")

PATIENCE = 1.0
"""Seconds that :meth:`Tasks.done` waits before it lets the caller show how things stand."""
REPEATS = 3
"""How often a task is sent again of which dask says that it kills its workers; dask tries four of them each time."""
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
                distributed = _distributed()
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
        except (CancelledError, OSError, _distributed().client.ClosedClientError):
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


def _distributed() -> Any:
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


class _Sent(NamedTuple):
    """A task under way: its future, what its function gets, and how often dask gave it up before."""

    future: Any
    item: object
    deaths: int


class Tasks(Generic[Result]):
    """Tasks under way on a cluster.

    Args:
        cluster: where.
        function: what a task does with what all share and with its item; of a module that workers can import.
        shared: what all tasks share.
        sight: a file that every worker must see, since they write beside it; None: they write elsewhere.

    Raises:
        InvalidSetting: what is shared cannot be sent.
    """

    def __init__(
        self, cluster: Dask, function: Callable[[Any, Any], Result], shared: object, sight: Path | None = None
    ) -> None:
        self._cluster, self._function, self._sight = cluster, function, sight
        content = _dumped(shared)
        self._name = sha256(content).hexdigest()
        self._versions = versions()
        self._shared = self._submit(bytes, content, key=f"weightstring-shared-{self._name}")
        self._under_way: dict[Hashable, _Sent] = {}
        self._times: dict[Hashable, int] = {}

    def __len__(self) -> int:
        return len(self._under_way)

    def __contains__(self, item: object) -> bool:
        return item in self._under_way

    def send(self, name: Hashable, item: object, deaths: int = 0) -> None:
        """Send a task.

        Args:
            name: what it is called here.
            item: what its function gets beside what all share.
            deaths: how often dask gave it up before.
        """
        again = self._times[name] = self._times.get(name, -1) + 1
        packed = _dumped(item)
        digest = sha256(f"{self._name} {self._function.__qualname__} ".encode() + packed).hexdigest()
        key = f"weightstring-{self._function.__name__}-{digest}" + (f"-{again}" if again else "")
        sight = None if self._sight is None else str(self._sight)
        future = self._submit(run_task, self._versions, sight, self._shared, self._function, packed, key=key)
        self._under_way[name] = _Sent(future, item, deaths)

    def done(self) -> list[tuple[Any, Result]]:
        """Wait a moment; what has come in, whose futures are let go.

        Raises:
            WorkerFailed: a task's workers died again and again, or the scheduler is gone.
        """
        distributed = _distributed()
        self._cluster.mend()
        futures = [sent.future for sent in self._under_way.values()]
        with suppress(distributed.TimeoutError, TimeoutError, CancelledError):  # of which is told below
            distributed.wait(futures, timeout=PATIENCE, return_when="FIRST_COMPLETED")
        found = []
        for name, sent in list(self._under_way.items()):
            if not sent.future.done():
                continue
            del self._under_way[name]
            try:
                found.append((name, sent.future.result()))
            except distributed.KilledWorker as problem:
                if sent.deaths == REPEATS:
                    raise WorkerFailed(
                        f"dask: task {name}: its workers died again and again: is there memory for all of them? use "
                        f"fewer ({one_line(problem):.200})"
                    ) from None
                self.send(name, sent.item, sent.deaths + 1)
            except (CancelledError, distributed.comm.CommClosedError):
                raise self._cluster.gone() from None
        return found

    def cancel(self) -> None:
        """Give up what has not begun; what has ends unheard, and is kept."""
        for sent in self._under_way.values():
            with suppress(Exception):  # the scheduler may be gone
                sent.future.cancel()
        self._under_way.clear()

    def __enter__(self) -> Tasks[Result]:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        self.cancel()

    def _submit(self, function: Callable[..., Any], *arguments: Any, key: str) -> Any:
        with warnings.catch_warnings(), self._cluster.reached():
            warnings.simplefilter("ignore")  # that a task is large: what all share is sent once
            return self._cluster.client.submit(function, *arguments, key=key)


def _dumped(value: object) -> bytes:
    try:
        content: bytes = cloudpickle.dumps(value)
    except Exception as error:  # whatever an attribute of the user's raises
        raise InvalidSetting(
            f"the problem cannot be sent to other processes ({one_line(error)}): keep open files, locks and "
            "generators out of net, loss_fn and metrics, or leave executor out"
        ) from error
    return content
