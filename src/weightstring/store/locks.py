"""One writer at a time in a directory."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import filelock

from weightstring.errors import InvalidRun, RunLocked
from weightstring.store.files import writing

OWN = ("lock", "beads")
"""What a directory may hold of ours before what it holds is begun."""


@contextmanager
def locked(folder: Path, kind: str, *, begun: bool, busy: str, remedy: str) -> Iterator[None]:
    """Keep every other process from writing in a directory. The lock dies with its owner, however that ends.

    Args:
        folder: the directory; made if it is not there.
        kind: of what it holds: ``run`` or ``sweep``.
        begun: whether it holds one; if not, it must hold nothing else, which would be mixed up with it.
        busy: what is said where another process holds the lock.
        remedy: what is said where the disk refuses.

    Raises:
        RunLocked: another process holds it.
        InvalidRun: the directory cannot be made, or holds other files.
        StoreFailed: the disk refuses it.
    """
    lock = filelock.FileLock(folder / "lock", timeout=0)
    with writing(folder / "lock", remedy):
        if not begun:
            _refuse_strangers(folder, kind)
        try:
            folder.mkdir(parents=True, exist_ok=True)
            lock.acquire()
        except filelock.Timeout:
            raise RunLocked(f"{folder}: {busy}") from None
        except (FileExistsError, NotADirectoryError) as problem:
            raise InvalidRun(
                f"{folder}: cannot be used as a {kind} directory: {problem.strerror}; choose another"
            ) from None
    try:
        yield
    finally:
        lock.release()


def _refuse_strangers(folder: Path, kind: str) -> None:
    entries = folder.iterdir() if folder.is_dir() else ()
    strangers = sorted(own.name for own in entries if not own.name.startswith(".") and own.name not in OWN)
    if strangers:
        raise InvalidRun(f"{folder}: holds {strangers[0]!r} but no {kind}; choose an empty or new directory")
