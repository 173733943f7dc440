from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from weightstring.errors import StoreFailed
from weightstring.store.files import one_line, replace_file, replacing, writing


def test_a_file_is_replaced_whole_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "file"
    replace_file(path, b"one")

    def refuse(*names: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", refuse)
    with pytest.raises(OSError, match="No space left"):
        replace_file(path, b"two")
    assert path.read_bytes() == b"one"
    assert [entry.name for entry in tmp_path.iterdir()] == ["file"]


def give_up(path: Path, before: Callable[[], None] = lambda: None) -> None:
    with replacing(path) as file:
        file.write(b"half")
        before()
        assert not path.exists()
        raise OSError(28, "No space left on device")


def test_a_file_that_is_given_up_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="No space left"):
        give_up(tmp_path / "file")
    assert list(tmp_path.iterdir()) == []


def test_the_first_failure_is_told_where_cleaning_up_fails_too(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="No space left"):
        give_up(tmp_path / "file", before=(tmp_path / ".file.tmp").unlink)


def test_what_the_disk_says_is_told_in_one_line(tmp_path: Path, refused) -> None:
    for problem, said in (
        (OSError(122, "Disk quota exceeded"), "Disk quota exceeded; free some space in your quota, or have it raised"),
        (OSError("two\nlines"), "two lines; mend the disk"),
        (FileNotFoundError(2, "No such file or directory", "x"), "No such file or directory; a folder was moved .*"),
    ):
        pattern = f"^{tmp_path}/file: cannot be written: {said}, then go on$"
        with refused(StoreFailed, pattern), writing(tmp_path / "file", "go on"):
            raise problem
    with pytest.raises(KeyError, match="mine"), writing(tmp_path / "file", "go on"):
        raise KeyError("mine")
    assert not issubclass(StoreFailed, OSError)  # or whoever catches the disk's own would take it for one


def test_messages_are_cut_to_one_line() -> None:
    assert one_line(ValueError("a\n\tb\r\nc")) == "a b c"
    assert one_line(ValueError("long " * 1000)) == ("long " * 40)
    assert one_line(MemoryError()) == "MemoryError"
