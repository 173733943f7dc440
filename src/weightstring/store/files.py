"""How files are put on the disk, whole or not at all, and what is said when it refuses."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from weightstring.errors import StoreFailed


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
    temporary = path.with_name(f".{path.name}.tmp")
    try:
        with temporary.open("wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
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


def sync_directory(path: Path) -> None:
    """Make a new name survive a power cut; not every system can open a directory."""
    if os.name == "posix":
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


@contextmanager
def writing(path: Path, remedy: str) -> Iterator[None]:
    """Say in one line that the disk refused to take ``path``, and what to do about it.

    Raises:
        StoreFailed: the block raised an OSError.
    """
    try:
        yield
    except OSError as problem:
        reason = problem.strerror or one_line(problem)
        raise StoreFailed(f"{path}: cannot be written: {reason}; {remedy}") from None


def one_line(problem: Exception) -> str:
    r"""The beginning of an exception's message, in one line: it may quote what stands in a damaged file.

    >>> one_line(KeyError("two\nlines")), one_line(ValueError("two\nlines")), one_line(EOFError())
    ("'two\\nlines'", 'two lines', 'EOFError')
    """
    return " ".join(str(problem).split())[:200] or type(problem).__name__
