"""A task of dask in its worker: what must be as where it was sent from, and what all tasks share, read once."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from hashlib import sha256
from importlib.metadata import version
from pathlib import Path
from typing import Any, TypeVar
from uuid import uuid4

import cloudpickle

from weightstring.errors import WorkerFailed
from weightstring.problem import on_threads

Result = TypeVar("Result")

IN_SIGHT = 10.0
"""Seconds after which a file that a worker does not see is on no disk of its own: network shares look now and then."""


def versions() -> dict[str, str]:
    """What must be the same everywhere, since other versions give other numbers.

    >>> sorted(versions())
    ['torch', 'weightstring']
    """
    return {name: version(name) for name in ("weightstring", "torch")}


_known = threading.local()


def run_task(
    wanted: dict[str, str],
    sight: str | None,
    shared: bytes,
    function: Callable[[Any, Any], Result],
    item: bytes,
) -> Result:
    """Run one task in a worker; what all share is read once by each thread, since none may share a module."""
    for name, there in wanted.items():
        if (here := versions()[name]) != there:
            raise WorkerFailed(f"dask: a worker has {name} {here}, this process {there}: install the same on all")
    if sight is not None:
        _require_in_sight(Path(sight))
    digest = sha256(shared).digest()
    if getattr(_known, "digest", None) != digest:
        _known.shared = cloudpickle.loads(shared)
        _known.digest = digest
    with on_threads(1):
        return function(_known.shared, cloudpickle.loads(item))


def _require_in_sight(file: Path) -> None:
    deadline = time.monotonic() + IN_SIGHT
    while not file.exists():
        if time.monotonic() > deadline:
            raise WorkerFailed(
                f"dask: a worker does not see {file.parent}, where its results were to lie: give a directory that all "
                "machines share, or a store that travels, such as s3://bucket/run"
            )
        time.sleep(0.2)


@contextmanager
def in_sight(folder: Path) -> Iterator[Path]:
    """A file in a folder by which workers know that they see it."""
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / f".seen-{uuid4().hex}"
    file.touch()
    try:
        yield file
    finally:
        file.unlink(missing_ok=True)
        with suppress(OSError):  # nothing was written
            folder.rmdir()
