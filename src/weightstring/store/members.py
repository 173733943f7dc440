"""The members of a directory that somebody may have sent: no links out of it, no pipes, nothing without end."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path

from weightstring.errors import InvalidRun
from weightstring.store.refusals import reason, remedy

LARGEST = 1 << 28
"""Bytes of a file that is read whole."""
LARGEST_JOURNAL = 1 << 31
"""Bytes of a journal, which grows with its run."""


def member(root: Path, *parts: str) -> Path:
    """The place of a member of a directory, which itself may lie behind a link.

    Raises:
        InvalidRun: a link, or a place behind one or outside, which may be anywhere; or nobody may look there.

    >>> member(Path("run"), "beads/ends.safetensors").as_posix()
    'run/beads/ends.safetensors'
    """
    place, inside = root, Path(*parts)
    if inside.is_absolute() or ".." in inside.parts:
        raise InvalidRun(f"{root}: a file in it names {str(inside)!r:.200}, which lies outside; the file was changed")
    for name in inside.parts:
        place = place / name
        try:
            linked = place.is_symlink()
        except OSError as problem:
            raise InvalidRun(f"{root}: cannot be looked into: {reason(problem)}; {remedy(problem)}") from None
        if linked:
            raise InvalidRun(
                f"{place}: a link, which may lead anywhere; put in its place what it leads to, if that is yours"
            )
    return place


def read_whole(path: Path, largest: int = LARGEST) -> bytes:
    """The content of a regular file of a sane size; a pipe or a device would never end.

    Raises:
        OSError: it cannot be read, or is another thing, or larger.

    >>> read_whole(Path(os.devnull))
    Traceback (most recent call last):
    OSError: [Errno 22] no regular file: '/dev/null'
    """
    require_regular(path)
    with path.open("rb") as file:
        size = os.fstat(file.fileno()).st_size
        if size > largest:
            raise OSError(errno.EFBIG, f"{size} bytes, where at most {largest} are read", str(path))
        content = file.read(largest + 1)
    if len(content) > largest:
        raise OSError(errno.EFBIG, f"more than {largest} bytes", str(path))
    return content


def require_regular(path: Path) -> None:
    """Refuse what is no regular file before it is opened: a pipe would wait for somebody to write.

    Raises:
        OSError: it is another thing, or not there.
    """
    mode = path.stat().st_mode
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    if not stat.S_ISREG(mode):
        raise OSError(errno.EINVAL, "no regular file", str(path))
