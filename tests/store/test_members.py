"""Members of a directory that somebody may have sent: no link is followed, no pipe waited for, nothing endless read."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest

from weightstring.errors import InvalidRun
from weightstring.proof.certificate import Certificate
from weightstring.store import RunDirectory, replace_file
from weightstring.store.beads import read_beads
from weightstring.store.locks import locked
from weightstring.store.members import LARGEST, member, read_whole


@pytest.fixture
def victim(tmp_path: Path) -> Path:
    file = tmp_path / "victim"
    file.write_text("mine")
    return file


class TestLinks:
    @pytest.mark.parametrize("name", ["file", "folder/file", "folder/deeper/file"])
    def test_a_member_or_a_folder_above_it_that_is_one_is_refused(self, tmp_path, victim, name, refused):
        for depth in range(len(Path(name).parts)):
            root = tmp_path / f"run-{depth}"
            link = root.joinpath(*Path(name).parts[: depth + 1])
            link.parent.mkdir(parents=True)
            link.symlink_to(victim)
            with refused(InvalidRun, rf"^{re.escape(str(link))}: a link, which may lead anywhere"):
                member(root, name)

    def test_a_link_to_the_directory_itself_is_the_users_own(self, tmp_path):
        (tmp_path / "run").mkdir()
        (tmp_path / "link").symlink_to(tmp_path / "run")
        assert member(tmp_path / "link", "file") == tmp_path / "link" / "file"

    @pytest.mark.parametrize("name", ["../victim", "a/../../victim", "/etc/passwd"])
    def test_names_that_lead_outside_are_refused(self, tmp_path, name, refused):
        with refused(InvalidRun, "which lies outside"):
            member(tmp_path, name)

    def test_a_file_is_written_through_none_that_waits_under_its_own_or_its_temporary_name(self, tmp_path, victim):
        for name in ("result.json", ".result.json.tmp"):
            (tmp_path / name).symlink_to(victim)
        replace_file(tmp_path / "result.json", b"new")
        assert (victim.read_text(), (tmp_path / "result.json").read_text()) == ("mine", "new")
        assert sorted(os.listdir(tmp_path)) == ["result.json", "victim"]

    def test_nor_does_a_hard_link_under_the_temporary_name_lead_to_another_file(self, tmp_path, victim):
        os.link(victim, tmp_path / ".result.json.tmp")
        replace_file(tmp_path / "result.json", b"new")
        assert victim.read_text() == "mine"

    @pytest.mark.parametrize("name", ["lock", "lock.owner"])
    def test_no_lock_is_taken_through_one(self, tmp_path, victim, name, refused):
        run = tmp_path / "run"
        run.mkdir()
        (run / name).symlink_to(victim)
        with refused(InvalidRun, "a link"), locked(run, "run", begun=lambda: True, busy="", then=""):
            pass
        assert victim.read_text() == "mine"

    @pytest.mark.parametrize("name", ["plain", "certificate.json", "beads", "journal.jsonl"])
    def test_of_a_run_none_is_followed(self, tmp_path, name, refused):
        (tmp_path / "away").mkdir()
        (tmp_path / "run").mkdir()
        (tmp_path / "run" / name).symlink_to(tmp_path / "away")
        run = RunDirectory(tmp_path / "run")
        use = {
            "plain": lambda: run.plain,
            "certificate.json": lambda: run.read("certificate.json"),
            "journal.jsonl": run.replay,
        }
        with refused(InvalidRun, f"{name}: a link"):
            use.get(name, lambda: run._beads("ends"))()


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes here")
class TestOddFiles:
    def test_a_pipe_is_not_waited_for(self, tmp_path, refused):
        for name in ("manifest.json", "result.json", "ends.safetensors"):
            os.mkfifo(tmp_path / name)
        with pytest.raises(OSError, match="no regular file"):
            read_whole(tmp_path / "manifest.json")
        for read in (RunDirectory(tmp_path).manifest, lambda: Certificate.load(tmp_path / "result.json")):
            with refused(InvalidRun, r"json: cannot be read: no regular file"):
                read()
        with refused(InvalidRun, "no regular file"):
            read_beads(tmp_path / "ends.safetensors", "0" * 64)

    def test_what_is_larger_than_any_of_ours_is_not_read(self, tmp_path, refused):
        for name in ("manifest.json", "certificate.json"):
            with (tmp_path / name).open("wb") as file:
                file.truncate(LARGEST + 1)  # a hole: it takes no room on the disk
        for read in (RunDirectory(tmp_path).manifest, lambda: Certificate.load(tmp_path / "certificate.json")):
            with refused(InvalidRun, rf"cannot be read: {LARGEST + 1} bytes, where at most {LARGEST} are read"):
                read()

    @pytest.mark.parametrize(
        "content", [b"[" * 100_000, b'{"a":' * 100_000, b"\xff", b"", b"1e999", b'{"partition": 1}']
    )
    def test_damaged_content_is_one_line(self, tmp_path, content, refused):
        for name in ("manifest.json", "certificate.json"):
            (tmp_path / name).write_bytes(content)
        for read in (RunDirectory(tmp_path).manifest, lambda: Certificate.load(tmp_path / "certificate.json")):
            with refused(InvalidRun, "damaged|not a certificate"):
                read()
