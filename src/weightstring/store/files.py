"""How files are put on the disk, whole or not at all, and what is said when it refuses."""

from __future__ import annotations

import os
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

import msgspec

from weightstring.errors import StoreFailed
from weightstring.store.refusals import reason, remedy, sync_directory, sync_file

UNREADABLE = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)
"""What msgspec raises on bytes that are no record: the last on lists in lists in lists."""

LONGEST = 48
"""Characters of a name that the name of its temporary file takes over: most file systems allow 255 bytes."""


@contextmanager
def replacing(path: Path) -> Iterator[BinaryIO]:
    """A file to write which takes the place of ``path`` when the block ends, and never if it fails.

    Raises:
        OSError: it cannot be written; what was there is still there, and nothing else is.

    >>> from tempfile import TemporaryDirectory
    >>> with TemporaryDirectory() as folder:
    ...     path = Path(folder) / "file"
    ...     with replacing(path) as file:
    ...         written = file.write(b"one")
    ...     path.read_bytes()
    b'one'
    """
    temporary = path.with_name(f".{_short(path.name)}.tmp")
    try:
        temporary.unlink(missing_ok=True)  # what a crash left, or a link that leads elsewhere: nothing is written to it
        with temporary.open("xb") as file:
            yield file
            file.flush()
            sync_file(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        with suppress(OSError):  # The first failure is the one to tell of.
            temporary.unlink()
        raise
    sync_directory(path.parent)


def replace_file(path: Path, content: bytes) -> None:
    """Write a file so that it is there whole or not at all, whatever happens in between.

    Raises:
        OSError: it cannot be written.
    """
    with replacing(path) as file:
        file.write(content)


def _short(name: str) -> str:
    """A name that is short enough to be added to, and no other file's."""
    return name if len(name) <= LONGEST else f"{name[:LONGEST]}-{zlib.crc32(os.fsencode(name)):08x}"


@contextmanager
def writing(path: Path, then: str) -> Iterator[None]:
    """Say in one line that the disk refused to take ``path``, what to do about it, and how it goes on ``then``.

    Raises:
        StoreFailed: the block raised an OSError.
    """
    try:
        yield
    except OSError as problem:
        raise StoreFailed(f"{path}: cannot be written: {reason(problem)}; {remedy(problem)}, then {then}") from None


def one_line(problem: Exception) -> str:
    r"""The beginning of an exception's message, in one line: it may quote what stands in a damaged file.

    >>> one_line(KeyError("two\nlines")), one_line(ValueError("two\nlines")), one_line(EOFError())
    ("'two\\nlines'", 'two lines', 'EOFError')
    """
    return " ".join(str(problem).split())[:200] or type(problem).__name__
