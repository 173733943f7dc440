"""Whole pieces of work on a dask cluster: a task is a function of what all tasks share and of an item of its own.

A task is named by its content, may run twice or elsewhere, and writes what it finds where it lasts: of one whose worker
died, what it had written is gone on with. What all share travels as a task too, so that a cluster that lost it makes it
again.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Hashable
from concurrent.futures import CancelledError
from contextlib import suppress
from hashlib import sha256
from pathlib import Path
from types import TracebackType
from typing import Any, Generic, NamedTuple, TypeVar

import cloudpickle

from weightstring.errors import InvalidSetting, WorkerFailed
from weightstring.failures import one_line
from weightstring.search.running.dask import Dask, distributed_module
from weightstring.search.running.worker import run_task, versions

Result = TypeVar("Result")

PATIENCE = 1.0
"""Seconds that :meth:`Tasks.done` waits before it lets the caller show how things stand."""
REPEATS = 3
"""How often a task is sent again of which dask says that it kills its workers; dask tries four of them each time."""


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
        distributed = distributed_module()
        self._cluster.mend()
        futures = [sent.future for sent in self._under_way.values()]
        ends_early = (distributed.TimeoutError, TimeoutError, CancelledError)  # of which is told below
        # `wait` asks the process's latest client, whose event loop may be another's.
        with suppress(*ends_early), self._cluster.client.as_current():
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
