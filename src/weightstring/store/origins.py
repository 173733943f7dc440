"""What is known of a run that begins: the files of its models, the command, the time of day."""

from __future__ import annotations

import re
from collections.abc import Sequence
from contextlib import suppress
from datetime import UTC, datetime
from hashlib import file_digest, sha256
from pathlib import Path

from weightstring.errors import InvalidCheckpoint
from weightstring.store.checkpoints import files_of
from weightstring.store.provenance import FileRecord, Provenance


def now() -> str:
    """The time of day, UTC, to a second."""
    return _utc(datetime.now(UTC).timestamp())


def file_record(path: str | Path) -> FileRecord:
    """A checkpoint's name, digest, size and date; of a word that names no file, the word.

    Raises:
        InvalidCheckpoint: a file cannot be read.

    >>> file_record("random:1")
    FileRecord(name='random:1', sha256=None, size=None, modified=None)
    """
    try:
        whole = files_of(path)
        if not whole:
            return FileRecord(name=Path(path).name)
        digests, status = [_digest(each) for each in whole], [each.stat() for each in whole]
    except (OSError, ValueError) as problem:
        raise InvalidCheckpoint(f"{str(path)!r:.300}: cannot be read: {problem}") from None
    lines = "".join(f"{each.name} {own}\n" for each, own in zip(whole, digests, strict=True))
    return FileRecord(
        name=Path(path).absolute().name,
        sha256=digests[0] if len(whole) == 1 else sha256(lines.encode()).hexdigest(),
        size=sum(each.st_size for each in status),
        modified=_utc(max(each.st_mtime for each in status)),
    )


def provenance(command: Sequence[str] = (), **files: str | Path) -> Provenance:
    """What is known of a run that begins now.

    Args:
        command: the words of the command line; folders that lead elsewhere are left out of them.
        files: where the models come from: ``a=…``, ``b=…``, and ``given1=…`` for the first waypoint.
    """
    plain = (re.sub(r"://[^/@]*@", "://", word) for word in command)  # without a password, as of --track
    words = tuple(re.sub(r"(^|=)(/.*)", lambda found: found[1] + shortened(found[2]), word) for word in plain)
    return Provenance(begun=now(), command=words, files={name: file_record(path) for name, path in files.items()})


def shortened(path: str) -> str:
    """A path from the working directory on; the name alone of one that lies elsewhere."""
    with suppress(ValueError):
        return str(Path(path).relative_to(Path.cwd()))
    return Path(path).name


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return file_digest(file, "sha256").hexdigest()


def _utc(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
