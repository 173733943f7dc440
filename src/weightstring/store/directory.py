"""One run on disk.

::

    manifest.json        what determines the result, written first
    beads/ends.safetensors
    journal.jsonl        one line a finished round, append-only: the truth
    beads/round-NNNN.safetensors
    result.json          the verdict and its numbers, written last
    beads/string.safetensors
    report.html

Every file but the journal is replaced atomically, so that none is ever half-written; a journal line
is written after its bead file and counts once it is whole. A line that a power cut tore is cut off.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

import filelock
import msgspec
import safetensors
import torch
from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors

from weightstring.errors import InvalidRun, RunLocked
from weightstring.store.journal import Round
from weightstring.store.records import FORMAT, AnyManifest, Line, Manifest, ResultRecord

RecordType = TypeVar("RecordType", bound=msgspec.Struct)


class RunDirectory:
    """A run's directory: its manifest, its journal, its beads and its result.

    Args:
        path: the directory; created when something is written.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)

    @property
    def exists(self) -> bool:
        """Whether a run was begun here."""
        return (self.path / "manifest.json").exists()

    @property
    def finished(self) -> bool:
        """Whether a verdict was written."""
        return (self.path / "result.json").exists()

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Keep every other process from writing here. The lock dies with its owner, however that ends.

        Raises:
            RunLocked: another process holds it.
            InvalidRun: the directory cannot be made, or holds files but no run.
        """
        if not self.exists:
            self._refuse_strangers()
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            lock = filelock.FileLock(self.path / "lock", timeout=0)
            lock.acquire()
        except filelock.Timeout:
            raise RunLocked(f"{self.path}: another process is writing this run; wait for it or choose --out") from None
        except OSError as problem:
            raise InvalidRun(f"{self.path}: cannot be used as a run directory: {problem.strerror}") from None
        try:
            yield
        finally:
            lock.release()

    # -- what determines the run

    def begin(self, manifest: Manifest, ends: torch.Tensor) -> None:
        """Write the ends (2, P) and the manifest, in this order: with a manifest, a run exists.

        Raises:
            InvalidRun: there is a run already.
        """
        if self.exists:
            raise InvalidRun(f"{self.path}: another process began a run here just now; the same call goes on with it")
        self._write_tensor("ends", ends)
        self._replace("manifest.json", msgspec.json.format(msgspec.json.encode(manifest)))

    def _refuse_strangers(self) -> None:
        """A run is not begun among other files, which would be mixed up with its own."""
        entries = self.path.iterdir() if self.path.is_dir() else ()
        strangers = sorted(e.name for e in entries if not e.name.startswith(".") and e.name not in ("lock", "beads"))
        if strangers:
            raise InvalidRun(f"{self.path}: holds {strangers[0]!r} but no run; choose an empty or new directory")

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

    def ends(self) -> torch.Tensor:
        """The two ends (2, P), checked against the manifest."""
        ends = self._read_tensor("ends")
        if tuple(map(digest, ends)) != self.manifest().ends:
            raise InvalidRun(f"{self.path}/beads/ends.safetensors: not the ends of the manifest; the file was changed")
        return ends

    # -- the journal

    def replay(self) -> list[Round]:
        """The finished rounds, each checked against its bead file. A torn last line does not count.

        Raises:
            InvalidRun: a line or a bead file is damaged or was changed.
        """
        rounds = []
        for number, line in enumerate(self._lines()):
            thetas = None
            if line.round != number:
                raise InvalidRun(
                    f"{self.path}/journal.jsonl: line {number + 1} is round {line.round}; lines are missing"
                )
            if line.beads is not None:
                thetas = self._read_tensor(_round_name(number), line.beads)
            rounds.append(Round(line.jobs, line.results, thetas, line.seconds))
        return rounds

    def append(self, finished: Round) -> None:
        """Write a round: its beads, then its line, each on the disk before this returns.

        A run that goes on has no verdict until it ends again.
        """
        for name in ("result.json", "report.html"):
            (self.path / name).unlink(missing_ok=True)
        number = self._cut_torn_line()
        beads = None if finished.thetas is None else self._write_tensor(_round_name(number), finished.thetas)
        line = Line(round=number, jobs=finished.jobs, results=finished.results, beads=beads, seconds=finished.seconds)
        with (self.path / "journal.jsonl").open("ab") as file:
            file.write(msgspec.json.encode(line) + b"\n")
            file.flush()
            os.fsync(file.fileno())

    def _lines(self) -> Iterator[Line]:
        path = self.path / "journal.jsonl"
        if not path.exists():
            return
        whole = path.read_bytes().rpartition(b"\n")[0]
        for number, text in enumerate(whole.split(b"\n") if whole else [], 1):
            try:
                yield msgspec.json.decode(text, type=Line)
            except msgspec.MsgspecError as problem:
                raise InvalidRun(f"{path}: line {number} is damaged ({problem}); restore it or start afresh") from None

    def _cut_torn_line(self) -> int:
        """Cut off what a crash left of a line; return how many whole ones there are. Only for who holds the lock."""
        path = self.path / "journal.jsonl"
        if not path.exists():
            return 0
        content = path.read_bytes()
        os.truncate(path, content.rfind(b"\n") + 1)
        return content.count(b"\n")

    # -- the result

    def finish(self, result: ResultRecord, beads: torch.Tensor) -> None:
        """Write the string (n, P) and the verdict."""
        sha256 = self._write_tensor("string", beads)
        self._replace("result.json", msgspec.json.encode(msgspec.structs.replace(result, beads_sha256=sha256)))

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
        if flaw := _flaw(result):
            raise InvalidRun(f"{self.path}/result.json: {flaw}; the file was changed")
        return result

    def string(self) -> torch.Tensor:
        """The beads of the result's string (n, P)."""
        result = self.result()
        beads = self._read_tensor("string", result.beads_sha256)
        if beads.shape != (result.string.beads, self.manifest().size):
            raise InvalidRun(f"{self.path}/beads/string.safetensors: not the string of result.json")
        return beads

    # -- files

    def _read(self, name: str, kind: type[RecordType]) -> RecordType:
        try:
            return msgspec.json.decode((self.path / name).read_bytes(), type=kind)
        except (msgspec.MsgspecError, OSError) as problem:
            raise InvalidRun(f"{self.path / name}: damaged, or not written by weightstring: {problem}") from None

    def _read_tensor(self, name: str, expected: str | None = None) -> torch.Tensor:
        path = self.path / "beads" / f"{name}.safetensors"
        try:
            content = path.read_bytes()
        except OSError as problem:
            raise InvalidRun(f"{path}: cannot be read: {problem.strerror}") from None
        if expected is not None and hashlib.sha256(content).hexdigest() != expected:
            raise InvalidRun(f"{path}: its SHA-256 is not the one written down for it; the file was changed or damaged")
        try:
            return load_tensors(content)["thetas"]
        except (safetensors.SafetensorError, KeyError) as problem:
            raise InvalidRun(f"{path}: damaged, or not a bead file: {problem}") from None

    def _write_tensor(self, name: str, thetas: torch.Tensor) -> str:
        content = save_tensors({"thetas": thetas.detach().cpu().contiguous()})
        (self.path / "beads").mkdir(exist_ok=True)
        self._replace(f"beads/{name}.safetensors", content)
        return hashlib.sha256(content).hexdigest()

    def _replace(self, name: str, content: bytes) -> None:
        replace_file(self.path / name, content)


def replace_file(path: Path, content: bytes) -> None:
    """Write a file so that it is there whole or not at all, whatever happens in between."""
    temporary = path.with_name(f".{path.name}.tmp")
    try:
        with temporary.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    _sync_directory(path.parent)


def _flaw(result: ResultRecord) -> str | None:
    """What makes a result one that no search writes, though every field has its type."""
    outcome, curve = result.outcome, result.string.curve
    if (outcome.kind == "unresolved") != (outcome.reason is not None and outcome.evidence is not None):
        return f"{outcome.kind}, but its reason and evidence do not fit that"
    if "loss" not in curve.values:
        return "its curve has no loss"
    if len({len(column) for column in (curve.s, curve.segment, curve.t, *curve.values.values())}) != 1:
        return "the columns of its curve differ in length"
    if sorted(set(curve.segment)) != list(range(result.string.beads - 1)):
        return f"its curve is not one over {result.string.beads - 1} segments"
    return None


def _sync_directory(path: Path) -> None:
    """Make a rename survive a power cut; not every system can open a directory."""
    if os.name == "posix":
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def digest(theta: torch.Tensor) -> str:
    """SHA-256 of a θ's bytes."""
    return hashlib.sha256(theta.detach().cpu().contiguous().view(torch.uint8).numpy().tobytes()).hexdigest()


def _round_name(number: int) -> str:
    return f"round-{number:04d}"
