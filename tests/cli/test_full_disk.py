"""A disk that is full, broken or taken away, at every call that writes: one line, nothing lost, and the run goes on."""

from __future__ import annotations

import errno
import io
import math
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import pytest

import weightstring as ws
from weightstring.errors import StoreFailed
from weightstring.problem.surfaces import Ring
from weightstring.store.refusals import REMEDIES

pytestmark = pytest.mark.usefixtures("unchecked")

RING = Ring()
ERRORS = (errno.ENOSPC, errno.EIO, errno.EDQUOT, errno.EROFS, errno.ESTALE)


def search(run: Path) -> ws.Result:
    return ws.connect(RING, *RING.ends, threshold=0.05, store=run)


def contents(run: Path) -> dict[str, bytes]:
    """Every file of a run but the page, without the times in them."""
    files = [path for path in sorted(run.rglob("*")) if path.is_file() and path.suffix != ".html"]
    untimed = re.compile(rb'"seconds":[^,}]*|"(begun|evaluation_seconds)": ?("[^"]*"|[^,}]*)|"command": \[[^]]*\]')
    return {str(path.relative_to(run)): untimed.sub(b"", path.read_bytes()) for path in files}


class Disk:
    """Counts the calls that write below a directory, and refuses some of them.

    Args:
        root: the directory.
        first: the first call refused, from 0.
        last: the last one.
        code: of the OSError.
    """

    def __init__(self, root: Path, first: float, last: float, code: int) -> None:
        self.root, self.first, self.last, self.code = str(root), first, last, code
        self.calls = 0

    def refuses(self) -> bool:
        self.calls += 1
        return self.first <= self.calls - 1 <= self.last

    def call(self, original: Callable[..., object], *arguments: object, **options: object) -> object:
        """What is no write to the root goes through: other files, and folders to be made that are there."""
        where = arguments[0]
        ours = isinstance(where, int) or str(where).startswith(self.root)  # only our own descriptors are synced
        if ours and not (original is MKDIR and Path(str(where)).is_dir()) and self.refuses():
            raise OSError(self.code, os.strerror(self.code))
        return original(*arguments, **options)

    def open(self, path: object, mode: str = "r", *arguments: object, **options: object) -> object:
        if mode[0] not in "wax" or not str(path).startswith(self.root):
            return OPEN(path, mode, *arguments, **options)
        return Refusing(self, self.call(OPEN, path, mode, *arguments, **options))


OPEN, MKDIR = io.open, os.mkdir


class Refusing:
    """A file on such a disk: what is refused in the middle leaves half of it written."""

    def __init__(self, disk: Disk, file: io.BufferedWriter) -> None:
        self.disk, self.file = disk, file

    def __enter__(self) -> Refusing:
        return self

    def __exit__(self, *_: object) -> None:
        self.file.close()

    def write(self, content: bytes) -> int:
        if self.disk.refuses():
            self.file.write(memoryview(content)[: len(content) // 2])
            self.file.flush()
            raise OSError(self.disk.code, os.strerror(self.disk.code))
        return self.file.write(content)

    def flush(self) -> None:
        self.disk.call(lambda _: self.file.flush(), self.disk.root)

    def fileno(self) -> int:
        return self.file.fileno()


@contextmanager
def failing(run: Path, first: float = -1, last: float = -1, code: int = errno.ENOSPC) -> Iterator[Disk]:
    disk = Disk(run.parent, first, last, code)
    with pytest.MonkeyPatch.context() as patch:
        for name in ("open", "mkdir", "replace", "fsync", "truncate"):
            patch.setattr(os, name, partial(disk.call, getattr(os, name)))
        patch.setattr(io, "open", disk.open)
        yield disk


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, bytes], int]:
    """A run that nothing disturbs, and how many calls write it."""
    run = tmp_path_factory.mktemp("whole") / "run"
    with failing(run) as disk:
        assert search(run).connected
    return contents(run), disk.calls


@pytest.mark.slow
@pytest.mark.parametrize("last", [0, math.inf], ids=["once", "for good"])
def test_each_call_that_writes_may_fail(whole, tmp_path, last):
    """Once: the disk is mended at once. For good: what is tried after the first failure fails as well."""
    expected, calls = whole
    torn = 0
    for call in range(calls):
        run, code = tmp_path / str(call) / "run", ERRORS[call % len(ERRORS)]
        run.parent.mkdir()
        with failing(run, call, call + last, code), pytest.raises(StoreFailed) as caught:
            search(run)
        says = rf"^{run}/[\w./-]+: cannot be written: {os.strerror(code)}; {REMEDIES[code]}, then "
        assert re.search(says, str(caught.value))
        assert "\n" not in str(caught.value)
        assert not list(run.rglob("*.tmp"))
        journal = run / "journal.jsonl"
        torn += journal.exists() and journal.read_bytes()[-1:] not in (b"", b"\n")
        assert search(run).connected
        assert contents(run) == expected
    assert calls > 60
    assert torn > 3


LIMITED = """
import resource, sys
from weightstring.cli import main
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[1]), resource.RLIM_INFINITY))
main(sys.argv[2:])
"""


@pytest.mark.slow
@pytest.mark.parametrize(("name", "strategy"), [("journal.jsonl", "breadth-first"), ("result.json", "greedy")])
def test_a_file_that_may_not_grow(cli, workshop, tmp_path, name, strategy):
    """For real: a file reaches the largest size that the system allows, in the middle of its last line."""
    run, other = tmp_path / "run", tmp_path / "other"
    # What is written before, its manifest among it, is smaller than what grows.
    ends = (workshop.a, workshop.b, "--threshold", "0.051", "--sampling", "dense")
    command = ("connect", workshop.task, *ends, "--strategy", strategy)
    assert cli(*command, "--out", other).code == 0
    whole = (other / name).read_bytes()
    limit = len(whole) - len(whole.splitlines()[-1]) // 2
    done = subprocess.run(
        [sys.executable, "-c", LIMITED, str(limit), *command, "--out", str(run)],
        capture_output=True,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert re.search(
        rf"^weightstring: {run}/{name}: cannot be written: File too large; .*`ulimit -f`.* goes on\n$", done.stderr
    )
    assert not list(run.rglob("*.tmp"))
    assert not (run / "result.json").exists()
    assert cli("resume", run).code == 0
    assert contents(run) == contents(other)
