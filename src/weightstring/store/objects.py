"""A run in an object store: S3 and what speaks its language, Google's, Azure's, or this process's memory, by fsspec.

Such a store replaces an object whole, creates one only if it is absent where that is asked for, and lists what was
just written. A round of the journal is an object of its own: it costs two requests, and since it is *created*, none
is ever written twice, whatever became of the lock. A journal in one object would be written anew with each round.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from importlib import import_module
from pathlib import PurePath
from typing import TYPE_CHECKING, TypeVar

from weightstring.errors import InvalidRun, InvalidSetting, StoreFailed
from weightstring.store.files import one_line
from weightstring.store.journal import Round
from weightstring.store.leases import Lease
from weightstring.store.locks import OURS
from weightstring.store.records import ResultRecord
from weightstring.store.store import Store

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fsspec import AbstractFileSystem

    from weightstring.arrays import Theta, Thetas

Value = TypeVar("Value")

PACKAGES = {"memory": "", "s3": "s3fs", "s3a": "s3fs", "gs": "gcsfs", "gcs": "gcsfs", "abfs": "adlfs", "az": "adlfs"}
"""The object stores by their protocols, and which package speaks to each beside fsspec."""


class ObjectStore(Store):
    """A run under a prefix of an object store.

    Args:
        url: such as ``s3://bucket/runs/one``. Keys and endpoints are the store's own affair: fsspec's configuration,
            or that of its vendor, such as ``AWS_ENDPOINT_URL``.
        filesystem: by which it is reached; made from the URL unless given.

    Raises:
        InvalidSetting: no object store, or the package is missing that speaks to it.

    >>> store = ObjectStore("memory://pieces")
    >>> store.write("manifest.json", b"{}")
    >>> store.read("manifest.json"), store.has("result.json"), str(store.inside("plain"))
    (b'{}', False, 'memory://pieces/plain')
    >>> store.remove("manifest.json")  # what is in memory is there for the whole process
    """

    def __init__(self, url: str, filesystem: AbstractFileSystem | None = None) -> None:
        self.url = url.rstrip("/")
        self._files = _filesystem(url) if filesystem is None else filesystem
        self._lease: Lease | None = None
        self._known: dict[str, bytes | None] = {}
        self.travels = not self.url.startswith("memory://")

    def __reduce__(self) -> tuple[type[ObjectStore], tuple[str, AbstractFileSystem]]:
        return ObjectStore, (self.url, self._files)  # without what it holds locked

    def __str__(self) -> str:
        return self.url

    @property
    def goes_on(self) -> str:  # type: ignore[override]
        """How a run is resumed, in words."""
        return f"`weightstring resume {self.url}` goes on with it"

    def inside(self, name: str) -> ObjectStore:
        """The store of another run under the prefix of this one."""
        return ObjectStore(f"{self.url}/{name}", self._files)

    # -- objects

    def read(self, name: str) -> bytes | None:
        """What an object holds; records are asked for once while nobody else can write them."""
        if name in self._known:
            return self._known[name]
        content = self._asked(name, self._files.cat_file)
        self._know(name, content)
        return content

    def write(self, name: str, content: bytes) -> None:
        """Put an object in the place of what was there.

        Raises:
            StoreFailed: the store refuses.
        """
        self._put(name, lambda path: self._files.pipe_file(path, content))
        self._know(name, content)

    def remove(self, name: str) -> None:
        """Delete an object, if it is there.

        Raises:
            StoreFailed: the store refuses.
        """
        if name not in self._known or self._known[name] is not None:
            self._put(name, self._deleted)
            self._know(name, None)

    def create(self, name: str, content: bytes) -> bool:
        """Put an object where there is none; False: another is there.

        Raises:
            StoreFailed: the store refuses.
        """
        try:
            self._files.pipe_file(self._path(name), content, mode="create")
        except Exception as problem:  # which one says that it exists differs from store to store
            there = self.read(name)
            if there is None:
                raise self._failed(name, problem) from None
            return there == content  # put by a request that was repeated since its answer got lost
        return True

    def names(self, folder: str) -> list[str]:
        """The names that begin with a folder, sorted."""
        found = self._asked(folder, lambda path: self._files.ls(path, detail=False, refresh=True)) or []
        stems = (path.rpartition("/")[2] for path in found)
        return sorted(f"{folder}/{stem}".lstrip("/") for stem in stems if stem)

    def written(self, name: str) -> float:
        """When an object was written, in seconds of the store's own clock."""
        moment = self._asked(name, self._files.modified)
        return -float("inf") if moment is None else moment.timestamp()

    def _asked(self, name: str, ask: Callable[[str], Value]) -> Value | None:
        """What the store answers about a name; None: there is nothing of it."""
        try:
            return ask(self._path(name))
        except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
            return None
        except Exception as problem:  # whatever the vendor's library raises
            raise InvalidRun(f"{self}/{name}: cannot be read: {one_line(problem)}") from None

    def _deleted(self, path: str) -> None:
        with suppress(FileNotFoundError):
            self._files.rm_file(path)

    def _know(self, name: str, content: bytes | None) -> None:
        if self._lease is not None and "/" not in name:
            self._known[name] = content

    def _put(self, name: str, put: Callable[[str], object]) -> None:
        self._known.pop(name, None)
        try:
            put(self._path(name))
        except Exception as problem:  # likewise
            raise self._failed(name, problem) from None

    def _failed(self, name: str, problem: Exception) -> StoreFailed:
        return StoreFailed(f"{self}/{name}: cannot be written: {one_line(problem)}; mend that, then {self.goes_on}")

    def _path(self, name: str) -> str:
        path: str = self._files._strip_protocol(f"{self.url}/{name}".rstrip("/"))
        return path

    # -- the lock

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Keep every other process from writing here, by an object that only one can create.

        Raises:
            RunLocked: another process holds it.
            InvalidRun: the prefix holds objects but no run.
            StoreFailed: the store refuses, or overwrites what was to be created only if absent.
        """
        if not self.exists:
            strangers = [name for name in self.names("") if not name.startswith(".") and name not in OURS]
            if strangers:
                raise InvalidRun(f"{self}: holds {strangers[0]!r} but no run; choose an empty or new prefix")
        self._lease, self._count = Lease.acquired(self), None
        try:
            yield
        finally:
            lease, self._lease, self._known = self._lease, None, {}
            lease.release()

    # -- the journal

    def append(self, finished: Round) -> Thetas | None:
        """Write a round: two requests; the models are those handed in, which need not be read again."""
        self._write_round(finished)
        return finished.thetas

    def finish(
        self, result: ResultRecord, beads: Sequence[Theta] | Thetas, unpruned: Sequence[Theta] | None = None
    ) -> None:
        """Write the string's models and the verdict, unless another process has taken the run over."""
        if self._lease is not None:
            self._lease.require()
        super().finish(result, beads, unpruned)

    def _lines(self) -> Iterator[tuple[str, bytes]]:
        """All rounds, read side by side."""
        names = self.names("journal")
        read = self._asked("journal", lambda _: self._files.cat([self._path(name) for name in names])) if names else {}
        for name in names:
            yield f"{self}/{name}", (read or {})[self._path(name)]

    def _begin_line(self) -> int:
        if self._count is None:
            self._count = len(self.names("journal"))
        return self._count

    def _write_line(self, number: int, content: bytes) -> None:
        name = f"journal/{number:06d}.json"
        if not self.create(name, content):
            raise StoreFailed(f"{self}/{name}: another process wrote this round meanwhile; {self.goes_on}")
        self._count = number + 1


def at_url(url: object) -> str | ObjectStore:
    """What a URL names: an object store, or the path of a directory on this machine.

    Raises:
        InvalidSetting: neither, or a package is missing.

    >>> at_url("file:///tmp/run"), str(at_url("memory://run"))
    ('/tmp/run', 'memory://run')
    """
    protocol, _, rest = str(url).partition("://")
    if protocol in ("file", "local"):
        return rest
    return ObjectStore(str(url))


def is_url(place: object) -> bool:
    """Whether a store is named by a URL.

    Raises:
        InvalidSetting: a path that was a URL once: pathlib makes one slash of two.

    >>> is_url("s3://bucket/run"), is_url("runs/one")
    (True, False)
    """
    if isinstance(place, os.PathLike):
        first = PurePath(place).parts[:1]
        if first and first[0].rstrip(":") in PACKAGES and first[0].endswith(":"):
            raise InvalidSetting(f"store={place!r}: a URL must be a str; pathlib takes one of its slashes")
        return False
    return isinstance(place, str) and "://" in place


def local_path(store: str | os.PathLike[str]) -> str | os.PathLike[str]:
    """Where a directory is of which several files are asked for at once, which an object store is not.

    Raises:
        InvalidSetting: a URL of an object store.

    >>> local_path("sweeps/one"), local_path("file:///tmp/sweep")
    ('sweeps/one', '/tmp/sweep')
    """
    place = at_url(store) if is_url(store) else store
    if isinstance(place, ObjectStore):
        raise InvalidSetting(
            f"store={str(store)!r:.200}: single runs can lie there; give a directory that all machines share"
        )
    return place


def _filesystem(url: str) -> AbstractFileSystem:
    protocol = url.partition("://")[0]
    if protocol not in PACKAGES:
        raise InvalidSetting(
            f"store={url!r:.200}: {protocol}:// is no object store that runs can be kept in; give a directory, or one "
            f"of {', '.join(f'{name}://' for name in PACKAGES)}"
        )
    for package in ("fsspec", PACKAGES[protocol]):
        try:
            import_module(package or "fsspec")
        except ImportError:
            raise InvalidSetting(
                f"store={url!r:.200}: needs {package}: pip install {package} (for s3: pip install weightstring[remote])"
            ) from None
    import fsspec

    files, _ = fsspec.core.url_to_fs(url, use_listings_cache=False)
    return files
