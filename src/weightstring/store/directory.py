"""One run in a directory of its own.

Every file but the journal is replaced atomically, so that none is ever half-written; a journal line
is written after its bead file and counts once it is whole. A line that a power cut tore is cut off.
Beside what every store holds lie the page (``report.html``), a plane of losses (``plane.json``) and certificates.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import NamedTuple

from weightstring.arrays import Theta, Thetas
from weightstring.errors import InvalidRun
from weightstring.store.beads import read_beads, write_beads
from weightstring.store.files import replace_file, writing
from weightstring.store.journal import Round
from weightstring.store.locks import locked
from weightstring.store.members import LARGEST, LARGEST_JOURNAL, member, read_whole
from weightstring.store.records import ResultRecord
from weightstring.store.refusals import reason, remedy, sync_directory, sync_file
from weightstring.store.store import Store

JOURNAL = "journal.jsonl"
GIVEN = ("ends", "through")
"""Bead files of what a search was given, whose digests are in the manifest."""


class _InUse(NamedTuple):
    """A bead file whose models a search computes with.

    Args:
        signature: what the system says of the file.
        sha256: its digest; None for the ends and waypoints, whose digests are in the manifest.
    """

    signature: tuple[int, ...]
    sha256: str | None


class RunDirectory(Store):
    """A run's directory: its manifest, its journal, its beads and its result.

    Args:
        path: the directory; created when something is written.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        self._in_use: dict[str, _InUse] = {}

    def __str__(self) -> str:
        return str(self.path)

    @property
    def goes_on(self) -> str:  # type: ignore[override]
        """How a run is resumed, in words."""
        return f"`weightstring resume {self.path}` goes on with it"

    def inside(self, name: str) -> RunDirectory:
        """The directory of another run within this one."""
        return RunDirectory(member(self.path, name))

    @property
    def plain(self) -> RunDirectory:
        """Where the same search between the models as they were given lies, if it was made."""
        return self.inside("plain")

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Keep every other process from writing here. The lock dies with its owner, however that ends.

        Raises:
            RunLocked: another process holds it.
            InvalidRun: the directory cannot be made, or holds files but no run.
            StoreFailed: the disk refuses it.
        """
        busy = "another process is writing this run; wait for it or choose --out"
        with locked(self.path, "run", begun=lambda: self.exists, busy=busy, then=self._then):
            yield

    # -- files

    def has(self, name: str) -> bool:
        """Whether there is such a file."""
        try:
            return member(self.path, name).exists()
        except OSError as problem:
            raise InvalidRun(f"{self}: cannot be looked into: {reason(problem)}; {remedy(problem)}") from None

    def read(self, name: str, largest: int = LARGEST) -> bytes | None:
        """The content of a file, if it is there.

        Raises:
            InvalidRun: it cannot be read, is no regular file, or larger than any that is written here.
        """
        if not self.has(name):
            return None
        try:
            return read_whole(member(self.path, name), largest)
        except OSError as problem:
            raise InvalidRun(f"{self.path / name}: cannot be read: {problem.strerror}") from None

    def write(self, name: str, content: bytes) -> None:
        """Put a file there, whole or not at all.

        Raises:
            StoreFailed: the disk refuses.
        """
        with self._writing(name):
            replace_file(self.path / name, content)

    def remove(self, name: str) -> None:
        """Delete a file, if it is there.

        Raises:
            StoreFailed: the disk refuses.
        """
        with self._writing(name):
            (self.path / name).unlink(missing_ok=True)

    def _writing(self, name: str) -> AbstractContextManager[None]:
        return writing(member(self.path, name), self._then)

    @property
    def _then(self) -> str:
        return f"`weightstring resume {self.path}` or the same call goes on" if self.exists else "begin again"

    # -- models, which a search computes with where they lie

    def keep(self, name: str, thetas: Sequence[Theta] | Thetas) -> str:
        """Write models row by row; no more than one of them is copied at a time."""
        path = self._beads(name)
        with self._writing(f"beads/{path.name}"):
            path.parent.mkdir(exist_ok=True)
            sha256 = write_beads(path, thetas)
        if name in GIVEN:
            self._use(name, None)
        return sha256

    def models(self, name: str, sha256: str | None = None) -> Thetas:
        """The models of a file (k, P), those of a large one mapped."""
        thetas = read_beads(self._beads(name), sha256)
        if name.startswith("round-"):
            self._use(name, sha256)
        return thetas

    def check_in_use(self) -> None:
        """That the files whose models a search computes with are what they were.

        Raises:
            InvalidRun: one of them was changed, truncated or removed since it was read.
        """
        for name, (signature, sha256) in list(self._in_use.items()):
            now = _signature(self._beads(name))
            if now != signature:
                # Touched, or written anew by a copy of the disk, it may hold the same models.
                if sha256 is None:
                    self.ends()
                    self.through()
                else:
                    self.models(name, sha256)
                self._in_use[name] = _InUse(now, sha256)

    def _use(self, name: str, sha256: str | None) -> None:
        self._in_use[name] = _InUse(_signature(self._beads(name)), sha256)

    def _beads(self, name: str) -> Path:
        return member(self.path, "beads", f"{name}.safetensors")

    # -- the journal

    def replay(self) -> list[Round]:
        """The finished rounds, each checked against its bead file. A torn last line does not count."""
        for name in GIVEN:
            self._use(name, None)
        return super().replay()

    def append(self, finished: Round) -> Thetas | None:
        """Write a round: its beads, then its line, each on the disk before this returns; models come back mapped."""
        self.check_in_use()
        return super().append(finished)

    def finish(
        self, result: ResultRecord, beads: Sequence[Theta] | Thetas, unpruned: Sequence[Theta] | None = None
    ) -> None:
        """Write the string's models and the verdict, if all that the search has computed with is what it was."""
        self.check_in_use()
        super().finish(result, beads, unpruned)

    def _lines(self) -> Iterator[tuple[str, bytes]]:
        whole = (self.read(JOURNAL, LARGEST_JOURNAL) or b"").rpartition(b"\n")[0]
        for number, text in enumerate(whole.split(b"\n") if whole else [], 1):
            yield f"{self.path / JOURNAL}: line {number}", text

    def _begin_line(self) -> int:
        """Cut off what a crash left of a line; how many whole ones there are."""
        path = self.path / JOURNAL
        with self._writing(JOURNAL):
            if not path.exists():
                return 0
            content = read_whole(path, LARGEST_JOURNAL)
            whole = content.rfind(b"\n") + 1
            if whole < len(content):
                os.truncate(path, whole)
        return content.count(b"\n")

    def _write_line(self, number: int, content: bytes) -> None:
        with self._writing(JOURNAL):
            with (self.path / JOURNAL).open("ab") as file:
                file.write(content + b"\n")
                file.flush()
                sync_file(file.fileno())
            if number == 0:
                sync_directory(self.path)


def _signature(path: Path) -> tuple[int, ...]:
    """What the system says of a file, which differs where it was written to, truncated or replaced."""
    try:
        status = path.stat()
    except OSError:  # told by whoever reads it next
        return ()
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns
