"""One writer at a time in a directory."""

from __future__ import annotations

import os
import socket
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import filelock
import msgspec

from weightstring.errors import InvalidRun, RunLocked
from weightstring.store.files import writing
from weightstring.store.members import member, read_whole
from weightstring.store.refusals import NO_LOCKS, unlike

OURS = ("lock", "lock.owner", "beads", "plain", "alignment.json", "slurm")
"""What a directory may hold of ours before what it holds is begun."""


class _Owner(msgspec.Struct, frozen=True):
    """Who holds a directory where the file system knows no locks."""

    host: str
    pid: int
    begun: str
    """When that process began, as far as the system tells: numbers of processes are used again."""


@contextmanager
def locked(
    folder: Path, kind: str, *, begun: Callable[[], bool], busy: str, then: str, wait: float = 0.0
) -> Iterator[None]:
    """Keep every other process from writing in a directory. The lock dies with its owner, however that ends.

    Where the file system knows no locks, a file that names its owner stands in for one.

    Args:
        folder: the directory; made if it is not there.
        kind: of what it holds: ``run`` or ``sweep``.
        begun: whether it holds one now; if not, it must hold nothing else, which would be mixed up with it.
        busy: what is said where another process holds the lock.
        then: how it goes on when a disk that refused is mended.
        wait: seconds for which another process may hold it before that is an error.

    Raises:
        RunLocked: another process holds it.
        InvalidRun: the directory cannot be made, or holds other files.
        StoreFailed: the disk refuses it.
    """
    with writing(member(folder, "lock"), then):
        member(folder, "lock.owner")
        if not begun():
            _refuse_strangers(folder, kind, begun)
        try:
            folder.mkdir(parents=True, exist_ok=True)
            release = _acquire(folder / "lock", busy, wait)
        except (FileExistsError, NotADirectoryError) as problem:
            raise InvalidRun(
                f"{folder}: cannot be used as a {kind} directory: {problem.strerror}; choose another"
            ) from None
    try:
        yield
    finally:
        release()


@contextmanager
def held(lock: Path, busy: str, then: str) -> Iterator[None]:
    """Hold a file as a lock of its own, for a part of what a directory keeps; it dies with its owner.

    Args:
        lock: the file, whose folder is made if it is not there.
        busy: what is said where another process holds it.
        then: how it goes on when a disk that refused is mended.

    Raises:
        RunLocked: another process holds it.
        StoreFailed: the disk refuses it.
    """
    with writing(lock, then):
        lock.parent.mkdir(parents=True, exist_ok=True)
        release = _acquire(lock, busy, 0.0)
    try:
        yield
    finally:
        release()


def is_held(lock: Path) -> bool:
    """Whether a process holds a lock file now, or the directory whose lock it is."""
    if not any(path.exists() for path in (lock, lock.with_name(f"{lock.name}.owner"))):
        return False
    try:
        _acquire(lock, "", 0.0)()
    except RunLocked:
        return True
    except OSError:  # a directory that may only be read: nobody can tell
        return False
    return False


def _acquire(lock: Path, busy: str, wait: float) -> Callable[[], object]:
    """Take the lock; what gives it back."""
    file = filelock.FileLock(lock, timeout=wait)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # filelock tells when it does without flock, as is done here too
            file.acquire()
    except filelock.Timeout:
        raise RunLocked(f"{lock.parent}: {busy}") from None
    except NotImplementedError:  # what earlier versions of filelock make of ENOSYS
        return _marked(lock, busy, wait)
    except OSError as problem:
        if unlike(problem, NO_LOCKS):
            raise
        return _marked(lock, busy, wait)
    return file.release


def _marked(lock: Path, busy: str, wait: float) -> Callable[[], object]:
    """Take the lock by a file that names this process, once its owner does not live."""
    until = time.monotonic() + wait
    while True:
        try:
            return _mark(lock, busy)
        except RunLocked:
            if time.monotonic() > until:
                raise
            time.sleep(0.05)


def _mark(lock: Path, busy: str) -> Callable[[], object]:
    marker, mine = lock.with_name(f"{lock.name}.owner"), _Owner(socket.gethostname(), os.getpid(), begun(os.getpid()))
    for _ in range(2):
        try:
            descriptor = os.open(marker, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644)
        except FileExistsError:
            owner = _owner_in(marker)
            if owner is not None and owner.host != mine.host:
                raise RunLocked(
                    f"{lock.parent}: {busy}: process {owner.pid} on {owner.host}; if it has ended, delete {marker}"
                ) from None
            if owner is not None and begun(owner.pid) == owner.begun != "":
                raise RunLocked(f"{lock.parent}: {busy}") from None
            marker.unlink(missing_ok=True)
            continue
        with os.fdopen(descriptor, "wb") as file:
            file.write(msgspec.json.encode(mine))
        return lambda: marker.unlink(missing_ok=True)
    raise RunLocked(f"{lock.parent}: {busy}")


def _owner_in(marker: Path) -> _Owner | None:
    """Whom a marker names; None where it was never written whole."""
    with suppress(OSError, msgspec.MsgspecError):
        return msgspec.json.decode(read_whole(marker), type=_Owner)
    return None


def begun(pid: int) -> str:
    """When a process began, in the system's own units; empty where there is none of that number.

    >>> begun(os.getpid()) != "", begun(2**22 + 1)
    (True, '')
    """
    with suppress(OSError, IndexError):  # its name, which stands in brackets, may hold anything
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]
    if os.name != "posix":
        return ""
    with suppress(ProcessLookupError, OverflowError):
        with suppress(PermissionError):  # it lives, and is another user's
            os.kill(pid, 0)  # signal 0 only asks
        return "alive"
    return ""


def _refuse_strangers(folder: Path, kind: str, begun: Callable[[], bool]) -> None:
    entries = folder.iterdir() if folder.is_dir() else ()
    strangers = sorted(entry.name for entry in entries if not entry.name.startswith(".") and entry.name not in OURS)
    if strangers and not begun():  # by another process, meanwhile
        raise InvalidRun(f"{folder}: holds {strangers[0]!r} but no {kind}; choose an empty or new directory")
