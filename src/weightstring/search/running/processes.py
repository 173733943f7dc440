"""Worker processes on this machine that are replaced when one of them dies."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing.sharedctypes import Synchronized
from types import TracebackType

import torch

from weightstring.errors import InvalidSetting

GPUS = "CUDA_VISIBLE_DEVICES"
"""What says in the environment which GPUs a process sees."""

PATIENCE = 0.5
"""Seconds between two looks at whether the parent is still there, where its pipe tells nothing."""


class Processes:
    """A pool of processes, each with one thread; ``with Processes(4) as pool: connect(..., executor=pool)``.

    On a machine with several GPUs each process sees one of those that its parent sees, in turn: a problem on ``"cuda"``
    is computed by all of them.

    Processes are spawned, not forked: a fork would inherit PyTorch's threads half-way. When one is
    killed, as by a machine out of memory, the whole pool is replaced and its jobs run again.

    Args:
        workers: processes; one for each processor by default.

    Raises:
        InvalidSetting: fewer than one.

    >>> Processes(2).workers
    2
    """

    def __init__(self, workers: int | None = None) -> None:
        self.workers = (os.cpu_count() or 1) if workers is None else workers
        if not isinstance(self.workers, int) or self.workers < 1:
            raise InvalidSetting(f"Processes({workers!r}): give at least one worker")
        self._pool: ProcessPoolExecutor | None = None

    @property
    def pool(self) -> ProcessPoolExecutor:
        """The pool in use, begun when it is first needed."""
        if self._pool is None:
            context = multiprocessing.get_context("spawn")
            self._pool = ProcessPoolExecutor(
                self.workers,
                mp_context=context,
                initializer=_begin,
                initargs=(os.getpid(), seen_gpus(), context.Value("i", 0)),
            )
        return self._pool

    def rebuild(self) -> None:
        """Put a sound pool in place of a broken one."""
        self.close()

    def close(self) -> None:
        """End the workers, whatever they are doing."""
        if self._pool is None:
            return
        pool, self._pool = self._pool, None
        workers = list((pool._processes or {}).values())
        pool.shutdown(wait=False, cancel_futures=True)
        for worker in workers:
            worker.terminate()

    def __enter__(self) -> Processes:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        self.close()


def seen_gpus() -> list[str]:
    """The GPUs that this process may use, as ``CUDA_VISIBLE_DEVICES`` names them; none where there is none."""
    named = os.environ.get(GPUS)
    count = torch.cuda.device_count()
    return named.split(",")[:count] if named else [str(number) for number in range(count)]


def _begin(parent: int, gpus: Sequence[str], begun: Synchronized[int]) -> None:
    """One thread each, or they would wait for each other; Ctrl-C is the parent's to handle, and ends with it.

    Args:
        parent: the process that began this one.
        gpus: those that the workers share.
        begun: how many workers have begun.
    """
    if gpus:
        with begun.get_lock():
            number, begun.value = begun.value, begun.value + 1
        os.environ[GPUS] = gpus[number % len(gpus)]  # read when CUDA is first used, which is after this
    torch.set_num_threads(1)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with, args=(parent,), name="parent watch", daemon=True).start()


def _end_with(parent: int) -> None:
    """End this process when its parent has ended, however that was: by SIGKILL, it could not say so."""
    sentinel = multiprocessing.parent_process()
    if sentinel is not None:
        sentinel.join()  # its end of a pipe closes with it
    while os.name == "posix" and os.getppid() == parent:
        time.sleep(PATIENCE)
    os._exit(1)  # amid a job too, which nobody waits for
