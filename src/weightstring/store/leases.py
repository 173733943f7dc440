"""One writer at a time in an object store, where the system's locks do not reach.

A lock is an object ``lock/NNNNNN.json`` that its owner created and writes again every few seconds; the one of the
largest number counts. It is taken over, where its owner has ended or was not heard of for a minute, by *creating* the
next number, which only one process can. No clock but the store's own is asked.
"""

from __future__ import annotations

import os
import socket
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple, Protocol
from uuid import getnode, uuid4

import msgspec

from weightstring.errors import RunLocked, StoreFailed, WeightstringError
from weightstring.store.locks import begun

BEAT = 10.0
"""Seconds between two signs of life."""
STALE = 60.0
"""Seconds of silence after which an owner is taken for dead."""


class Owner(msgspec.Struct, frozen=True):
    """Who holds a lock, or held it."""

    key: str
    """Drawn at random."""
    host: str
    machine: str
    """Which one of that name, and since when it has been running."""
    pid: int
    begun: str
    """When that process began: numbers of processes are used again."""
    released: bool = False

    @property
    def ended(self) -> bool:
        """Whether it gave the lock back, or ended on this machine without doing so."""
        here = (self.host, self.machine) == (socket.gethostname(), _machine())
        return self.released or (here and begun(self.pid) != self.begun)


class Objects(Protocol):
    """What a lock asks of the place where it is."""

    def read(self, name: str) -> bytes | None:
        """What an object holds."""

    def write(self, name: str, content: bytes) -> None:
        """Put an object in the place of what was there."""

    def create(self, name: str, content: bytes) -> bool:
        """Put an object where there is none; False: another is there."""

    def remove(self, name: str) -> None:
        """Delete an object, if it is there."""

    def names(self, folder: str) -> list[str]:
        """The names that begin with a folder, sorted."""

    def written(self, name: str) -> float:
        """When an object was written, in seconds of the store's own clock."""


class Held(NamedTuple):
    """The lock that counts."""

    number: int
    owner: Owner | None


class Lease:
    """A lock that is held, and the thread that says so again and again."""

    def __init__(self, store: Objects, number: int, owner: Owner) -> None:
        self._store, self.number, self._owner = store, number, owner
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._beat, name=f"lock of {store}", daemon=True)
        self._thread.start()

    @classmethod
    def acquired(cls, store: Objects) -> Lease:
        """The lock of a store, held from now on.

        Raises:
            RunLocked: another process holds it.
            StoreFailed: the store overwrites what was to be created only if absent: it can hold no lock.
        """
        before = _counting(store)
        _require_free(store, before)
        host, pid, number = socket.gethostname(), os.getpid(), before.number + 1
        owner = Owner(uuid4().hex, host, _machine(), pid, begun(pid))
        late = f"{store}: another process began to write this run just now; wait for it or choose --out"
        if not store.create(_name(number), msgspec.json.encode(owner)):
            raise RunLocked(late)
        if store.create(_name(number), b"{}"):
            raise StoreFailed(
                f"{store}: this store overwrites an object that was to be created only if absent, so that two "
                "processes could write one run; keep it elsewhere, or in a directory"
            )
        if _counting(store).number != number:  # the lock that was looked at had been taken over and cleared away
            store.remove(_name(number))
            raise RunLocked(late)
        for older in _numbers(store)[:-1]:
            store.remove(_name(older))
        return cls(store, number, owner)

    def require(self) -> None:
        """That it is held still.

        Raises:
            StoreFailed: another process took it over, as from one that had not been heard of.
        """
        if _counting(self._store).number != self.number:
            raise StoreFailed(
                f"{self._store}: nothing was heard of this process for {STALE:g} s, and another goes on with the run"
            )

    def release(self) -> None:
        """Give it back; if that fails, it will be found stale."""
        self._over.set()
        self._thread.join()
        with suppress(WeightstringError):
            released = msgspec.structs.replace(self._owner, released=True)
            self._store.write(_name(self.number), msgspec.json.encode(released))

    def _beat(self) -> None:
        while not self._over.wait(BEAT):
            with suppress(WeightstringError):  # the next sign may get through
                self._store.write(_name(self.number), msgspec.json.encode(self._owner))


def _require_free(store: Objects, held: Held) -> None:
    owner = held.owner
    if owner is None or owner.ended:
        return
    now = f".now-{uuid4().hex}"
    store.write(now, b"")
    silent = store.written(now) - store.written(_name(held.number))
    store.remove(now)
    if silent < STALE:
        raise RunLocked(
            f"{store}: process {owner.pid} on {owner.host} is writing this run, heard of {max(silent, 0):.0f} s ago; "
            f"wait for it or choose --out (without a sign for {STALE:g} s it is taken for dead)"
        )


def _counting(store: Objects) -> Held:
    for _ in range(3):  # a lock that is listed may be cleared away before it is read
        numbers = _numbers(store)
        if not numbers:
            return Held(0, None)
        content = store.read(_name(numbers[-1]))
        if content is not None:
            with suppress(msgspec.MsgspecError):
                return Held(numbers[-1], msgspec.json.decode(content, type=Owner))
            return Held(numbers[-1], None)
        time.sleep(0.1)
    raise RunLocked(f"{store}: several processes begin to write this run; wait for them or choose --out")


def _machine() -> str:
    """The machine since it was switched on: hosts of one name are not always one."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return f"{getnode():x}"


def _numbers(store: Objects) -> list[int]:
    stems = (name.rpartition("/")[2].partition(".")[0] for name in store.names("lock"))
    return sorted(int(stem) for stem in stems if stem.isdecimal())


def _name(number: int) -> str:
    return f"lock/{number:06d}.json"
