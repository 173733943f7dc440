"""What a file system does not offer is done without; what a disk refuses is told with what helps."""

from __future__ import annotations

import errno
import fcntl
import os
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

import weightstring as ws
from weightstring.errors import InvalidRun, RunLocked, StoreFailed
from weightstring.problem.surfaces import Ring
from weightstring.store import RunDirectory, replace_file
from weightstring.store.refusals import NO_LOCKS, NO_SYNC_OF_DIRECTORIES, NOT_OFFERED, REMEDIES, remedy

RING = Ring()


def search(run: Path) -> ws.Result:
    return ws.connect(RING, *RING.ends, threshold=0.1, store=run)


def refusing(monkeypatch: pytest.MonkeyPatch, name: str, code: int, when: Callable[[object], bool]) -> None:
    """Have a call of the system's answer with an errno where its first argument is so."""
    module = fcntl if name == "flock" else os
    real = getattr(module, name)

    def call(first: object, *others: object, **options: object) -> object:
        if when(first):
            raise OSError(code, os.strerror(code))
        return real(first, *others, **options)

    monkeypatch.setattr(module, name, call)


def is_folder(where: object) -> bool:
    status = os.fstat(where) if isinstance(where, int) else os.stat(str(where)) if os.path.exists(str(where)) else None
    return status is not None and stat.S_ISDIR(status.st_mode)


@pytest.mark.parametrize("code", sorted(NO_SYNC_OF_DIRECTORIES))
@pytest.mark.parametrize("call", ["fsync", "open"])
def test_a_directory_that_cannot_be_synced_is_no_failure(tmp_path, monkeypatch, unchecked, call, code):
    refusing(monkeypatch, call, code, is_folder)
    assert search(tmp_path / "run").connected
    assert ws.load(tmp_path / "run").connected


@pytest.mark.parametrize("code", sorted(NOT_OFFERED))
def test_a_file_system_that_syncs_nothing_is_no_failure(tmp_path, monkeypatch, code):
    refusing(monkeypatch, "fsync", code, lambda _: True)
    replace_file(tmp_path / "file", b"content")
    assert (tmp_path / "file").read_bytes() == b"content"


@pytest.mark.parametrize("code", [errno.EIO, errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.ESTALE])
@pytest.mark.parametrize("of", ["files", "directories"])
def test_a_disk_that_fails_is_told_with_what_helps(tmp_path, monkeypatch, refused, of, code):
    refusing(monkeypatch, "fsync", code, lambda where: is_folder(where) == (of == "directories"))
    says = f"cannot be written: {os.strerror(code)}; {REMEDIES[code]}, then "
    with refused(StoreFailed, says):
        search(tmp_path / "run")


def test_each_errno_has_its_own_advice():
    assert remedy(OSError(errno.EMFILE, "")) != remedy(OSError(errno.ENOSPC, ""))
    assert "ulimit -n" in remedy(OSError(errno.EMFILE, ""))
    assert "space" not in remedy(OSError(errno.EROFS, "")) + remedy(OSError(errno.ENAMETOOLONG, ""))
    assert remedy(OSError("of no number")) == "mend the disk"


def test_a_name_too_long_is_told_to_be_shortened(tmp_path, refused):
    with refused(InvalidRun, "File name too long; choose a shorter name"):
        search(tmp_path / ("x" * 300))


def test_the_longest_names_can_be_written(tmp_path):
    for name in ("x" * 255, "\u03b8" * 127, "x" * 254 + "y"):
        replace_file(tmp_path / name, name.encode())
        assert (tmp_path / name).read_bytes() == name.encode()
    assert not list(tmp_path.glob("*.tmp"))


class TestWithoutLocks:
    """Where flock is not offered, a file that names its owner stands in for it."""

    @pytest.fixture(params=sorted(NO_LOCKS - {errno.EBADF}))
    def without_locks(self, request, monkeypatch):
        refusing(monkeypatch, "flock", request.param, lambda _: True)

    @pytest.mark.usefixtures("without_locks")
    def test_a_run_is_written_and_read(self, tmp_path, unchecked):
        assert search(tmp_path / "run").connected
        assert ws.load(tmp_path / "run").connected
        assert not (tmp_path / "run" / "lock.owner").exists()

    @pytest.mark.usefixtures("without_locks")
    def test_two_writers_are_kept_apart(self, tmp_path, refused):
        first, second = RunDirectory(tmp_path), RunDirectory(tmp_path)
        with first.locked(), refused(RunLocked, "another process is writing this run"), second.locked():
            pass

    def test_a_lock_dies_with_its_owner(self, tmp_path, monkeypatch):
        refusing(monkeypatch, "flock", errno.ENOLCK, lambda _: True)
        ended = subprocess.run([sys.executable, "-c", "import os; print(os.getpid())"], capture_output=True, text=True)
        for left in (f'{{"host":"{os.uname().nodename}","pid":{ended.stdout.strip()},"begun":"7"}}', "{half"):
            (tmp_path / "lock.owner").write_text(left)
            with RunDirectory(tmp_path).locked():
                assert f'"pid":{os.getpid()}' in (tmp_path / "lock.owner").read_text()
            assert not (tmp_path / "lock.owner").exists()

    def test_another_computer_s_lock_stands_until_it_is_deleted(self, tmp_path, monkeypatch, refused):
        refusing(monkeypatch, "flock", errno.EOPNOTSUPP, lambda _: True)
        (tmp_path / "lock.owner").write_text('{"host":"elsewhere","pid":1,"begun":"7"}')
        says = "process 1 on elsewhere; if it has ended, delete .*lock.owner"
        with refused(RunLocked, says), RunDirectory(tmp_path).locked():
            pass
