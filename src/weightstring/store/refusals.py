"""What a disk refuses: what each errno means for a run, and what to do about it.

Two kinds. A file system without an optional promise (that a directory's names survive a power cut, that locks
exist) is no disk that failed: the promise is done without. Everything else is told in one line with its remedy.
"""

from __future__ import annotations

import errno
import os

NOT_OFFERED = frozenset(
    {errno.EINVAL, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.ENOTTY}  # two of these are one on Linux
)
"""A file system's answers to a call that it does not know."""

NO_SYNC_OF_DIRECTORIES = NOT_OFFERED | {errno.EACCES, errno.EPERM, errno.EBADF, errno.EISDIR}
"""Answers to opening or syncing a directory where only files are synced: CIFS, FUSE, folders of virtual machines, and
directories into which one may write but not look."""

NO_LOCKS = NOT_OFFERED | {errno.ENOLCK, errno.EBADF}
"""Answers to flock where there are no locks: NFS without its lock daemon, Lustre without -o flock, some FUSE."""

_OURS = "make it writable for this user, or choose another directory"
_NAME = "this file system has no such names: choose a plain one"
_AWAY = "the disk or network share is gone: mount it again"
_BROKEN = "the disk fails: see the system's log, and copy what is there to a sound one"

REMEDIES = {
    errno.ENOSPC: "free some space",
    errno.EDQUOT: "free some space in your quota, or have it raised",
    errno.EFBIG: "a file may not grow so large here: raise `ulimit -f`, or choose another disk",
    errno.EROFS: "the disk is mounted read-only: mount it for writing, or choose another",
    errno.EIO: _BROKEN,
    errno.EACCES: _OURS,
    errno.EPERM: _OURS,
    errno.ENAMETOOLONG: "choose a shorter name",
    errno.EILSEQ: _NAME,
    errno.EINVAL: _NAME,
    errno.EMFILE: "too many files are open in this process: raise `ulimit -n`",
    errno.ENFILE: "too many files are open on this system: close some programs",
    errno.ENOMEM: "free some memory",
    errno.ENOLCK: "the file system has no locks left: mend its lock service",
    errno.ESTALE: _AWAY,
    errno.ENODEV: _AWAY,
    errno.ENXIO: _AWAY,
    errno.ENOTCONN: _AWAY,
    errno.ETIMEDOUT: _AWAY,
    errno.EHOSTDOWN: _AWAY,
    errno.EHOSTUNREACH: _AWAY,
    errno.ENETUNREACH: _AWAY,
    errno.ENOENT: "a folder was moved or deleted meanwhile: put it back",
    errno.ENOTDIR: "a file lies where a folder should be: move it away, or choose another directory",
    errno.EISDIR: "a folder lies where a file should be: move it away",
    errno.EEXIST: "something else lies there: move it away",
    errno.ENOTEMPTY: "something else lies there: move it away",
    errno.ELOOP: "its links lead in a circle: give the place itself",
    errno.EXDEV: "its folder is spread over two disks: choose a directory on one",
    errno.EBUSY: "another program holds it: close that",
    errno.ETXTBSY: "another program holds it: close that",
    errno.EAGAIN: "another program holds it: close that",
}
"""What helps, for each errno."""


def remedy(problem: OSError) -> str:
    """What to do about what the disk refused.

    >>> remedy(OSError(errno.ENOSPC, "No space left on device"))
    'free some space'
    """
    return REMEDIES.get(problem.errno or 0, "mend the disk")


def reason(problem: OSError) -> str:
    r"""What the system says, in one line.

    >>> reason(OSError(errno.EIO, "Input/output error")), reason(OSError("two\nlines"))
    ('Input/output error', 'two lines')
    """
    return " ".join((problem.strerror or str(problem)).split())[:200] or type(problem).__name__


def unlike(problem: OSError, optional: frozenset[int]) -> bool:
    """Whether what was refused is more than an optional promise."""
    return problem.errno not in optional


def sync_directory(path: str | os.PathLike[str]) -> None:
    """Make a new name in a directory survive a power cut, where the file system can do that.

    Raises:
        OSError: the disk fails.
    """
    if os.name != "posix":  # elsewhere a directory cannot be opened
        return
    try:
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
    except OSError as problem:
        if unlike(problem, NO_SYNC_OF_DIRECTORIES):
            raise


def sync_file(descriptor: int) -> None:
    """Make a file's content survive a power cut, where the file system can do that.

    Raises:
        OSError: the disk fails.
    """
    try:
        os.fsync(descriptor)
    except OSError as problem:
        if unlike(problem, NOT_OFFERED):
            raise
