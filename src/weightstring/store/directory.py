"""One run on disk.

::

    manifest.json        what determines the result, written first
    beads/ends.safetensors
    journal.jsonl        one line a finished round, append-only: the truth
    beads/round-NNNN.safetensors
    result.json          the verdict and its numbers, written last
    beads/string.safetensors
    beads/unpruned.safetensors   the first string under the threshold, where it is another
    report.html

Every file but the journal is replaced atomically, so that none is ever half-written; a journal line
is written after its bead file and counts once it is whole. A line that a power cut tore is cut off.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import NamedTuple, TypeVar

import msgspec

from weightstring.arrays import Theta, Thetas
from weightstring.errors import InvalidRun
from weightstring.path import Outcome
from weightstring.store.beads import digest, read_beads, write_beads
from weightstring.store.files import one_line, replace_file, writing
from weightstring.store.journal import Round
from weightstring.store.locks import locked
from weightstring.store.members import LARGEST, LARGEST_JOURNAL, member, read_whole
from weightstring.store.records import (
    FORMAT,
    AlignmentRecord,
    AnyManifest,
    Line,
    Manifest,
    PlaneRecord,
    ResultRecord,
    flaw,
)
from weightstring.store.refusals import reason, remedy, sync_directory, sync_file

RecordType = TypeVar("RecordType", bound=msgspec.Struct)
UNREADABLE = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)
"""What msgspec raises on bytes that are no record: the last on lists in lists in lists."""


class _InUse(NamedTuple):
    """A bead file whose models a search computes with.

    Args:
        signature: what the system says of the file.
        sha256: its digest; None for the ends, whose digests are in the manifest.
    """

    signature: tuple[int, ...]
    sha256: str | None


class RunDirectory:
    """A run's directory: its manifest, its journal, its beads and its result.

    Args:
        path: the directory; created when something is written.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        self._in_use: dict[Path, _InUse] = {}

    @property
    def exists(self) -> bool:
        """Whether a run was begun here."""
        return self._has("manifest.json")

    @property
    def certificate(self) -> Path:
        """Where the proof of a bound over the whole string lies, if there is one."""
        return self.certificate_of("")

    def certificate_of(self, quantity: str) -> Path:
        """Where that of another question than the run's own lies; the quantity names it."""
        return member(self.path, f"certificate-{quantity}.json" if quantity else "certificate.json")

    @property
    def finished(self) -> bool:
        """Whether a verdict was written."""
        return self._has("result.json")

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Keep every other process from writing here. The lock dies with its owner, however that ends.

        Raises:
            RunLocked: another process holds it.
            InvalidRun: the directory cannot be made, or holds files but no run.
            StoreFailed: the disk refuses it.
        """
        busy = "another process is writing this run; wait for it or choose --out"
        with locked(self.path, "run", begun=self.exists, busy=busy, then=self._then):
            yield

    # -- what determines the run

    def begin(
        self, manifest: Manifest, ends: Sequence[Theta] | Thetas, alignment: AlignmentRecord | None = None
    ) -> None:
        """Write the ends (2, P), how the second was aligned, and the manifest: with that, a run exists, and is whole.

        Raises:
            InvalidRun: there is a run already.
            StoreFailed: the disk refuses.
        """
        if self.exists:
            raise InvalidRun(f"{self.path}: another process began a run here just now; the same call goes on with it")
        self._write_beads("ends", ends)
        self._use_ends()
        if alignment is not None:
            self._replace("alignment.json", msgspec.json.encode(alignment))
        self._replace("manifest.json", msgspec.json.format(msgspec.json.encode(manifest)))

    def amend(self, manifest: Manifest) -> None:
        """Write a manifest that asks for more of the same run, such as a certificate. Only for who holds the lock.

        Raises:
            StoreFailed: the disk refuses.
        """
        self._replace("manifest.json", msgspec.json.format(msgspec.json.encode(manifest)))

    def manifest(self) -> Manifest:
        """What determines the run.

        Raises:
            InvalidRun: there is none, or it is damaged or of another version.
        """
        if not self.exists:
            raise InvalidRun(f"{self.path}: no run here (no manifest.json); give the directory that --out named")
        written = self._read("manifest.json", AnyManifest)  # Another format may have other fields.
        if written.format != FORMAT:
            raise InvalidRun(
                f"{self.path}: written in format {written.format}, this version reads {FORMAT}: "
                f"use weightstring {written.versions.get('weightstring', '?')}"
            )
        return self._read("manifest.json", Manifest)

    def ends(self) -> Thetas:
        """The two ends (2, P), mapped and checked against the manifest.

        Raises:
            InvalidRun: they are damaged, or not those of the manifest.
        """
        manifest, path = self.manifest(), self._beads("ends")
        ends = read_beads(path)
        form = (ends.shape, str(ends.dtype))  # Other numbers can have the same bytes.
        if form != ((2, manifest.size), f"torch.{manifest.dtype}") or tuple(map(digest, ends)) != manifest.ends:
            raise InvalidRun(f"{path}: not the ends of the manifest; one of the two files was changed")
        return ends

    # -- how the second end was aligned

    def alignment(self) -> AlignmentRecord | None:
        """How the second end was aligned with the first; None where it was not.

        Raises:
            InvalidRun: the file is damaged.
        """
        return self._read("alignment.json", AlignmentRecord) if self._has("alignment.json") else None

    @property
    def plain(self) -> RunDirectory:
        """Where the same search between the models as they were given lies, if it was made."""
        return RunDirectory(member(self.path, "plain"))

    # -- the journal

    def replay(self) -> list[Round]:
        """The finished rounds, each checked against its bead file. A torn last line does not count.

        Raises:
            InvalidRun: a line or a bead file is damaged or was changed.
        """
        rounds = []
        self._use_ends()
        for number, line in enumerate(self._lines()):
            thetas = None
            if line.round != number:
                raise InvalidRun(
                    f"{self.path}/journal.jsonl: line {number + 1} is round {line.round}; lines are missing"
                )
            if line.beads is not None:
                path = self._beads(_round_name(number))
                thetas = read_beads(path, line.beads)
                self._in_use[path] = _InUse(_signature(path), line.beads)
            rounds.append(Round(line.jobs, line.results, thetas, line.seconds, line.steps, line.ended))
        return rounds

    def append(self, finished: Round) -> Thetas | None:
        """Write a round: its beads, then its line, each on the disk before this returns.

        A run that goes on has no verdict until it ends again.

        Returns:
            The round's models, mapped from their file, so that they need not be kept; None where it has none.

        Raises:
            InvalidRun: a file of an earlier round was damaged or removed meanwhile; the round does not count.
            StoreFailed: the disk refuses; the round does not count, or it was written whole.
        """
        self.check_in_use()
        for name in ("result.json", "report.html"):
            with self._writing(name):
                (self.path / name).unlink(missing_ok=True)
        with self._writing("journal.jsonl"):
            number = self._cut_torn_line()
        name = _round_name(number)
        beads = None if finished.thetas is None else self._write_beads(name, finished.thetas)
        seconds = max(0.0, finished.seconds)  # A clock may be put back.
        line = Line(
            round=number,
            jobs=finished.jobs,
            results=finished.results,
            beads=beads,
            seconds=seconds,
            steps=finished.steps,
            ended=finished.ended,
        )
        with self._writing("journal.jsonl"):
            with (self.path / "journal.jsonl").open("ab") as file:
                file.write(msgspec.json.encode(line) + b"\n")
                file.flush()
                sync_file(file.fileno())
            if number == 0:
                sync_directory(self.path)
        if beads is None:
            return None
        path = self._beads(name)
        self._in_use[path] = _InUse(_signature(path), beads)
        return read_beads(path)

    def _use_ends(self) -> None:
        path = self._beads("ends")
        self._in_use[path] = _InUse(_signature(path), None)

    def check_in_use(self) -> None:
        """That the files whose models a search computes with are what they were.

        Raises:
            InvalidRun: one of them was changed, truncated or removed since it was read.
        """
        for path, (signature, sha256) in list(self._in_use.items()):
            if _signature(path) != signature:
                # Touched, or written anew by a copy of the disk, it may hold the same models.
                now = _signature(path)
                if sha256 is None:
                    self.ends()
                else:
                    read_beads(path, sha256)
                self._in_use[path] = _InUse(now, sha256)

    def _lines(self) -> Iterator[Line]:
        path = self.path / "journal.jsonl"
        if not self._has(path.name):
            return
        whole = self._content(path.name, LARGEST_JOURNAL).rpartition(b"\n")[0]
        for number, text in enumerate(whole.split(b"\n") if whole else [], 1):
            try:
                yield msgspec.json.decode(text, type=Line)
            except UNREADABLE as problem:
                raise InvalidRun(
                    f"{path}: line {number} is damaged ({one_line(problem)}); restore it or start afresh"
                ) from None

    def _cut_torn_line(self) -> int:
        """Cut off what a crash left of a line; return how many whole ones there are. Only for who holds the lock."""
        path = self.path / "journal.jsonl"
        if not path.exists():
            return 0
        content = read_whole(path, LARGEST_JOURNAL)
        whole = content.rfind(b"\n") + 1
        if whole < len(content):
            os.truncate(path, whole)
        return content.count(b"\n")

    # -- the result

    def finish(
        self, result: ResultRecord, beads: Sequence[Theta] | Thetas, unpruned: Sequence[Theta] | None = None
    ) -> None:
        """Write the string's models, in order, those of the unpruned string where it is another, and the verdict.

        Raises:
            InvalidRun: a file of the run was damaged or removed meanwhile; it is not finished.
            StoreFailed: the disk refuses; the run is not finished.
        """
        self.check_in_use()
        with self._writing("result.json"):  # An earlier verdict is not that of the string that is written now.
            (self.path / "result.json").unlink(missing_ok=True)
        own = self._write_beads("string", beads)
        first = "" if unpruned is None else self._write_beads("unpruned", unpruned)
        whole = msgspec.structs.replace(result, beads_sha256=own, unpruned_sha256=first)
        self._replace("result.json", msgspec.json.encode(whole))

    def revise(self, outcome: Outcome) -> None:
        """Write down what was found out about a verdict since; the rest stays. Only for who holds the lock.

        Raises:
            InvalidRun: the run is not finished, or the file is damaged.
            StoreFailed: the disk refuses; the verdict is as it was.
        """
        self._replace("result.json", msgspec.json.encode(msgspec.structs.replace(self.result(), outcome=outcome)))

    def result(self) -> ResultRecord:
        """The verdict and its numbers.

        Raises:
            InvalidRun: the run is not finished, or the file is damaged.
        """
        if not self.finished:
            self.manifest()
            raise InvalidRun(
                f"{self.path}: this run is not finished; `weightstring resume {self.path}` goes on with it"
            )
        result = self._read("result.json", ResultRecord)
        if found := flaw(result):
            raise InvalidRun(f"{self.path}/result.json: {found}; the file was changed")
        return result

    def string(self) -> Thetas:
        """The models of the result's string (n, P), mapped.

        Raises:
            InvalidRun: the run is not finished, or they are damaged or of another string.
        """
        result, path = self.result(), self._beads("string")
        beads = read_beads(path, result.beads_sha256)
        if beads.shape != (result.string.beads, self.manifest().size):
            raise InvalidRun(f"{path}: not the string of result.json")
        return beads

    def unpruned(self) -> Thetas | None:
        """The models of the first string under the threshold (n, P), mapped; None where it is the string, or not kept.

        Raises:
            InvalidRun: the run is not finished, or they are damaged or of another string.
        """
        result, path = self.result(), self._beads("unpruned")
        if not result.unpruned_sha256:
            return None
        beads = read_beads(path, result.unpruned_sha256)
        if beads.shape != (result.string.beads_before_pruning, self.manifest().size):
            raise InvalidRun(f"{path}: not the unpruned string of result.json")
        return beads

    # -- the loss around the string

    def write_plane(self, plane: PlaneRecord) -> None:
        """Keep the loss on a plane through the string.

        Raises:
            StoreFailed: the disk refuses.
        """
        self._replace("plane.json", msgspec.json.encode(plane))

    def plane_record(self) -> PlaneRecord | None:
        """The plane through the result's string; None where there is none, or only that of an earlier string.

        Raises:
            InvalidRun: the run is not finished, or the file is damaged.
        """
        if not self._has("plane.json"):
            return None
        plane, result = self._read("plane.json", PlaneRecord), self.result()
        if plane.beads_sha256 != result.beads_sha256:
            return None
        if found := plane.flaw(result.string.beads):
            raise InvalidRun(f"{self.path}/plane.json: {found}; the file was changed, measure the plane again")
        return plane

    # -- files

    def _has(self, name: str) -> bool:
        try:
            return member(self.path, name).exists()
        except OSError as problem:
            raise InvalidRun(f"{self.path}: cannot be looked into: {reason(problem)}; {remedy(problem)}") from None

    def _content(self, name: str, largest: int = LARGEST) -> bytes:
        try:
            return read_whole(member(self.path, name), largest)
        except OSError as problem:
            raise InvalidRun(f"{self.path / name}: cannot be read: {problem.strerror}") from None

    def _read(self, name: str, kind: type[RecordType]) -> RecordType:
        try:
            return msgspec.json.decode(self._content(name), type=kind)
        except UNREADABLE as problem:
            raise InvalidRun(
                f"{self.path / name}: damaged, or not written by weightstring: {one_line(problem)}"
            ) from None

    def _beads(self, name: str) -> Path:
        return member(self.path, "beads", f"{name}.safetensors")

    def _write_beads(self, name: str, thetas: Sequence[Theta] | Thetas) -> str:
        path = self._beads(name)
        with self._writing(f"beads/{path.name}"):
            path.parent.mkdir(exist_ok=True)
            return write_beads(path, thetas)

    def _replace(self, name: str, content: bytes) -> None:
        with self._writing(name):
            replace_file(self.path / name, content)

    def _writing(self, name: str) -> AbstractContextManager[None]:
        return writing(member(self.path, name), self._then)

    @property
    def _then(self) -> str:
        return f"`weightstring resume {self.path}` or the same call goes on" if self.exists else "begin again"


def _signature(path: Path) -> tuple[int, ...]:
    """What the system says of a file, which differs where it was written to, truncated or replaced."""
    try:
        found = path.stat()
    except OSError:  # told by whoever reads it next
        return ()
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns


def _round_name(number: int) -> str:
    return f"round-{number:04d}"
