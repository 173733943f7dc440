from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from weightstring.errors import InvalidRun, RunLocked
from weightstring.store import Manifest, Round, RunDirectory, Unkept, digest
from weightstring.store.locks import locked
from weightstring.store.records import FORMAT

ENDS = torch.tensor([[1.5, -2.0, 3.0], [4.0, 5.25, -6.0]])


def manifest(**changes: object) -> Manifest:
    fields: dict[str, object] = {
        "format": FORMAT,
        "versions": {"weightstring": "0.1.0"},
        "task": None,
        "problem": "p",
        "ends": (digest(ENDS[0]), digest(ENDS[1])),
        "end_losses": (0.25, 0.5),
        "threshold": 0.5,
        "bind": "evaluate",
        "seed": 3,
        "strategy": {"name": "greedy", "alpha": 0.95},
        "engine": "loop",
        "threads": 1,
        "size": 3,
        "dtype": "float32",
        "parameters": (),
    }
    return Manifest(**(fields | changes))  # type: ignore[arg-type]


def measured() -> Round:
    return Round(("a-b",), ({"type": "measured", "peaks": [[0.25, 0.75], [1.0, None]]},), None, 0.125)


def descended(number: int) -> Round:
    result = {"type": "descended", "theta": [], "value": 0.1 + number}
    return Round((f"a-{number}/0",), (result,), torch.full((1, 3), 0.1 * number), 1.5)


@pytest.fixture
def begun(tmp_path: Path) -> RunDirectory:
    directory = RunDirectory(tmp_path / "run")
    with directory.locked():
        directory.begin(manifest(), ENDS)
    return directory


def test_what_is_written_is_read_back(begun: RunDirectory) -> None:
    rounds = [measured(), descended(1), descended(2)]
    for finished in rounds:
        begun.append(finished)
    again = RunDirectory(begun.path)
    assert again.manifest() == manifest()
    assert torch.equal(again.ends(), ENDS)
    replayed = again.replay()
    for old, new in zip(rounds, replayed, strict=True):
        assert (old.jobs, old.results, old.seconds) == (new.jobs, new.results, new.seconds)
        assert (old.thetas is None and new.thetas is None) or torch.equal(old.thetas, new.thetas)
    assert not again.finished


def test_what_is_appended_comes_back_from_the_disk(begun: RunDirectory) -> None:
    assert begun.append(measured()) is None
    assert Unkept().append(measured()) is None
    finished = descended(1)
    kept, in_memory = begun.append(finished), Unkept().append(finished)
    assert in_memory is finished.thetas
    assert kept is not finished.thetas
    assert torch.equal(kept, finished.thetas)
    kept += 1
    assert torch.equal(begun.replay()[1].thetas, finished.thetas)


def test_a_torn_last_line_is_cut_off_and_written_again(begun: RunDirectory) -> None:
    begun.append(measured())
    begun.append(descended(1))
    journal = begun.path / "journal.jsonl"
    whole = journal.read_bytes()
    last = whole.splitlines(keepends=True)[-1]
    for kept in range(len(last)):
        journal.write_bytes(whole[: len(whole) - len(last) + kept])
        assert len(begun.replay()) == 1
        begun.append(descended(1))
        assert journal.read_bytes() == whole


def test_reading_leaves_a_line_alone_that_another_process_is_writing(begun: RunDirectory) -> None:
    begun.append(measured())
    journal = begun.path / "journal.jsonl"
    half_written = journal.read_bytes() + b'{"round":1,"jo'
    journal.write_bytes(half_written)
    assert len(begun.replay()) == 1
    assert journal.read_bytes() == half_written


def test_a_bead_file_without_its_line_counts_for_nothing(begun: RunDirectory) -> None:
    begun.append(measured())
    begun.append(descended(1))
    journal = begun.path / "journal.jsonl"
    journal.write_bytes(journal.read_bytes().splitlines(keepends=True)[0])
    assert len(begun.replay()) == 1
    begun.append(descended(2))
    assert torch.equal(begun.replay()[1].thetas, torch.full((1, 3), 0.2))


def test_damage_is_refused(begun: RunDirectory) -> None:
    begun.append(measured())
    begun.append(descended(1))
    journal, beads = begun.path / "journal.jsonl", begun.path / "beads/round-0001.safetensors"
    lines, content = journal.read_bytes().splitlines(keepends=True), beads.read_bytes()

    journal.write_bytes(lines[0].replace(b"results", b"guesses") + lines[1])
    with pytest.raises(InvalidRun, match=r"journal.jsonl: line 1 is damaged"):
        begun.replay()
    journal.write_bytes(lines[1])
    with pytest.raises(InvalidRun, match="line 1 is round 1; lines are missing"):
        begun.replay()
    journal.write_bytes(b"".join(lines))

    beads.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    with pytest.raises(InvalidRun, match="SHA-256 is not the one written down"):
        begun.replay()
    beads.unlink()
    with pytest.raises(InvalidRun, match=r"round-0001.safetensors: cannot be read: No such file"):
        begun.replay()
    beads.write_bytes(content)

    for old, new, says in ((b"a-b", b"\xff", "can't decode byte 0xff"), (b'"beads"', b'"x\\ny"', "`x y`")):
        journal.write_bytes(lines[0].replace(old, new))
        with pytest.raises(InvalidRun, match=rf"line 1 is damaged \(.*{says}.*\); restore it") as caught:
            begun.replay()
        assert "\n" not in str(caught.value)


def test_changed_ends_and_manifests_are_refused(begun: RunDirectory) -> None:
    path = begun.path / "manifest.json"
    fields = json.loads(path.read_text())
    path.write_text(json.dumps(fields | {"extra": 1}))
    with pytest.raises(InvalidRun, match=r"manifest.json: damaged, or not written by weightstring: .*extra"):
        begun.manifest()
    path.write_text(json.dumps(fields | {"format": FORMAT + 1, "later": True}))
    with pytest.raises(InvalidRun, match=f"written in format {FORMAT + 1}, this version reads {FORMAT}"):
        begun.manifest()
    path.write_text(json.dumps(fields | {"ends": fields["ends"][::-1]}))
    with pytest.raises(InvalidRun, match="not the ends of the manifest"):
        begun.ends()
    path.write_text(json.dumps(fields | {"strategy": {"alpha": 0}}).replace("0}", "[" * 9999 + "]" * 9999 + "}"))
    with pytest.raises(InvalidRun, match=r"manifest.json: damaged, or not written by weightstring: .*recursion"):
        begun.manifest()
    path.write_text(json.dumps(fields | {"threads": 10**6}))
    with pytest.raises(InvalidRun, match=r"Expected `int` <= 4096 - at `\$.threads`"):
        begun.manifest()
    path.unlink()
    with pytest.raises(InvalidRun, match="no run here"):
        begun.manifest()


def test_ends_of_the_same_bytes_but_other_numbers_are_refused(begun: RunDirectory) -> None:
    path = begun.path / "beads/ends.safetensors"
    content = path.read_bytes()
    for old, new in ((b'"F32"', b'"I32"'), (b"[2,3]", b"[3,2]"), (b"[2,3]", b"[1,6]")):
        path.write_bytes(content.replace(old, new))
        with pytest.raises(InvalidRun, match=r"ends.safetensors: not (the ends of the manifest|a bead file)"):
            begun.ends()
    path.write_bytes(content)
    assert torch.equal(begun.ends(), ENDS)


def test_a_directory_that_cannot_be_looked_into_is_refused(refused) -> None:
    with refused(InvalidRun, "^x*: cannot be looked into: File name too long; choose a shorter name$"):
        RunDirectory("x" * 300).manifest()
    with (
        refused(InvalidRun, "^x*: cannot be looked into: File name too long; choose a shorter name$"),
        RunDirectory("x" * 300).locked(),
    ):
        pass


def test_a_run_is_not_begun_twice_or_among_other_files(begun: RunDirectory, tmp_path: Path) -> None:
    with begun.locked(), pytest.raises(InvalidRun, match="another process began a run here"):
        begun.begin(manifest(), ENDS)
    other = tmp_path / "other"
    other.mkdir()
    (other / "thesis.tex").write_text("dear")
    with pytest.raises(InvalidRun, match=r"holds 'thesis.tex' but no run"), RunDirectory(other).locked():
        pass
    assert [entry.name for entry in other.iterdir()] == ["thesis.tex"]
    with (
        pytest.raises(InvalidRun, match="cannot be used as a run directory"),
        RunDirectory(other / "thesis.tex").locked(),
    ):
        pass


@pytest.mark.slow
def test_a_second_process_is_kept_out_until_the_first_is_killed(begun: RunDirectory) -> None:
    code = (
        "import sys, time; from weightstring.store import RunDirectory\n"
        "with RunDirectory(sys.argv[1]).locked(): print('locked', flush=True); time.sleep(600)"
    )
    holder = subprocess.Popen([sys.executable, "-c", code, str(begun.path)], stdout=subprocess.PIPE, text=True)
    try:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "locked\n"
        with pytest.raises(RunLocked, match="another process is writing this run"), begun.locked():
            pass
    finally:
        holder.kill()
        holder.communicate()
    with begun.locked():
        assert begun.manifest() == manifest()


WRITER = """
import sys, time
import torch
from weightstring.errors import RunLocked
from weightstring.store import Round, RunDirectory

directory, me, written = RunDirectory(sys.argv[1]), int(sys.argv[2]), 0
while written < 15:
    try:
        with directory.locked():
            directory.append(Round((f"{me}-{written}",), ({},), torch.full((1, 3), 100.0 * me + written), 0.0))
            written += 1
    except RunLocked:
        time.sleep(0.001)
"""


@pytest.mark.slow
def test_two_processes_that_write_take_turns(begun: RunDirectory) -> None:
    writers = [subprocess.Popen([sys.executable, "-c", WRITER, str(begun.path), str(me)]) for me in (1, 2)]
    assert [writer.wait() for writer in writers] == [0, 0]
    rounds = begun.replay()
    written = [(int(me), int(at)) for me, at in (finished.jobs[0].split("-") for finished in rounds)]
    assert [one for one in written if one[0] == 1] == [(1, at) for at in range(15)]
    assert [one for one in written if one[0] == 2] == [(2, at) for at in range(15)]
    for (me, at), finished in zip(written, rounds, strict=True):
        assert torch.equal(finished.thetas, torch.full((1, 3), 100.0 * me + at))


def test_a_run_that_goes_on_has_no_verdict(begun: RunDirectory) -> None:
    for name in ("result.json", "report.html"):
        (begun.path / name).write_text("old")
    assert begun.finished
    begun.append(measured())
    assert not begun.finished
    assert not (begun.path / "report.html").exists()


def test_a_directory_that_another_process_begins_meanwhile_holds_no_strangers(tmp_path):
    """Two shards may begin one sweep at once: the files of the first are no others' to the second."""
    looks = iter([False, True])
    (tmp_path / "sweep.json").write_text("{}")
    with locked(tmp_path, "sweep", begun=lambda: next(looks), busy="", then=""):
        pass
    assert list(looks) == []
