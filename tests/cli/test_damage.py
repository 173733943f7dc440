"""A run directory that is none, or was damaged or forged: one line, exit code 2, and nothing touched."""

from __future__ import annotations

import json
import re
import shutil
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file


class TestRunsThatAreNone:
    @pytest.mark.parametrize("command", ["show", "report", "resume"])
    @pytest.mark.parametrize("kind", ["missing", "empty", "foreign", "file"])
    def test_no_run(self, refused, command, kind):
        run = Path("run")
        if kind in ("empty", "foreign"):
            run.mkdir()
        if kind in ("foreign", "file"):
            (run / "notes.txt" if kind == "foreign" else run).write_text("precious")
        assert re.search("^weightstring: run: no run here", refused(command, "run"))

    def test_a_report_of_an_unfinished_run(self, refused, workshop):
        shutil.copytree(workshop.connected, "run")
        Path("run/result.json").unlink()
        assert re.search("not finished; `weightstring resume run`", refused("report", "run"))


def edit(path: str, change: Callable[[dict], object]) -> None:  # type: ignore[type-arg]
    record = json.loads(Path(path).read_text())
    change(record)
    Path(path).write_text(json.dumps(record))


def edit_line(number: int, change: Callable[[dict], object]) -> None:  # type: ignore[type-arg]
    lines = Path("run/journal.jsonl").read_text().splitlines()
    record = json.loads(lines[number])
    change(record)
    lines[number] = json.dumps(record)
    Path("run/journal.jsonl").write_text("".join(f"{line}\n" for line in lines))


def cut(path: str) -> None:
    Path(path).write_bytes(Path(path).read_bytes()[:-20])


def flip(path: str) -> None:
    """One bit of the last number."""
    content = bytearray(Path(path).read_bytes())
    content[-1] ^= 1
    Path(path).write_bytes(content)


DEEP = '{"x":' + "[" * 50_000 + "]" * 50_000 + "}"


def header(old: bytes, new: bytes) -> None:
    path = Path("run/beads/ends.safetensors")
    content = path.read_bytes()
    assert old in content
    path.write_bytes(content.replace(old, new))


MANIFEST = {
    "cut": lambda: cut("run/manifest.json"),
    "empty": lambda: Path("run/manifest.json").write_text(""),
    "a list": lambda: Path("run/manifest.json").write_text("[1, 2]"),
    "binary": lambda: Path("run/manifest.json").write_bytes(b"\xff\xfe\x00"),
    "unknown field": lambda: edit("run/manifest.json", lambda m: m.update(extra=1)),
    "missing field": lambda: edit("run/manifest.json", lambda m: m.pop("ends")),
    "wrong type": lambda: edit("run/manifest.json", lambda m: m.update(size="many")),
    "more threads than can be": lambda: edit("run/manifest.json", lambda m: m.update(threads=10**6)),
    "not UTF-8": lambda: Path("run/manifest.json").write_bytes(b'{"format":1,"versions":{"torch":"\xff"}}'),
    "lists in lists": lambda: Path("run/manifest.json").write_text(
        '{"format":1,"versions":{},"strategy":' + DEEP + "}"
    ),
    "newer format": lambda: edit("run/manifest.json", lambda m: m.update(format=99)),
}

RESUMED = {
    "another problem": (lambda: edit("run/manifest.json", lambda m: m.update(problem="0" * 64)), "problem"),
    "another threshold": (lambda: edit("run/manifest.json", lambda m: m.update(threshold=1e-9)), "threshold"),
    "other ends": (lambda: edit("run/manifest.json", lambda m: m.update(ends=["0" * 64] * 2)), "ends.safetensors"),
    "no task": (lambda: edit("run/manifest.json", lambda m: m.update(task=None)), "without a task.*store='run'"),
    "unknown engine": (lambda: edit("run/manifest.json", lambda m: m.update(engine="warp")), "warp"),
    "no threads": (lambda: edit("run/manifest.json", lambda m: m.update(threads=-1)), "threads"),
    "unknown option": (
        lambda: edit("run/manifest.json", lambda m: m["task"].update(options={"x": "1"})),
        "other options.*x=1",
    ),
    "unknown bind": (lambda: edit("run/manifest.json", lambda m: m.update(bind="accuracy")), "'accuracy'"),
    "unknown rule": (lambda: edit("run/manifest.json", lambda m: m.update(stop=[{"rule": "Luck"}])), "Luck"),
    "strategy": (lambda: edit("run/manifest.json", lambda m: m["strategy"].update(luck=1)), "luck"),
    "strategy type": (
        lambda: edit("run/manifest.json", lambda m: m["strategy"].update(alpha="high")),
        "alpha|strategy",
    ),
    "recipe": (lambda: edit("run/manifest.json", lambda m: m["strategy"].update(recipe={"luck": 1})), "luck"),
    "recipe type": (lambda: edit("run/manifest.json", lambda m: m["strategy"].update(recipe=3)), "strategy|recipe"),
    "width": (lambda: edit("run/manifest.json", lambda m: m["strategy"].update(width="wide")), "strategy|width"),
    "ends cut": (lambda: cut("run/beads/ends.safetensors"), "ends.safetensors"),
    "ends flipped": (lambda: flip("run/beads/ends.safetensors"), "ends.safetensors.*not the ends"),
    "ends of another kind": (lambda: header(b"F32", b"I32"), "ends.safetensors"),
    "ends of another shape": (lambda: header(b"[2,16]", b"[16,2]"), "ends.safetensors"),
    "ends missing": (lambda: Path("run/beads/ends.safetensors").unlink(), "ends.safetensors"),
    "ends of text": (lambda: Path("run/beads/ends.safetensors").write_text("x" * 99), "ends.safetensors"),
    "round cut": (lambda: cut("run/beads/round-0001.safetensors"), "round-0001.*SHA-256"),
    "round flipped": (lambda: flip("run/beads/round-0001.safetensors"), "round-0001.*SHA-256"),
    "round missing": (lambda: Path("run/beads/round-0001.safetensors").unlink(), "round-0001"),
    "line of text": (lambda: edit_line(1, lambda r: r.clear()), "line 2 is damaged"),
    "line with a field more": (lambda: edit_line(1, lambda r: r.update(extra=1)), "line 2 is damaged"),
    "line of another round": (lambda: edit_line(1, lambda r: r.update(round=7)), "line 2 is round 7"),
    "line of other jobs": (lambda: edit_line(0, lambda r: r.update(jobs=["x-y"])), "x-y"),
    "line without results": (lambda: edit_line(1, lambda r: r.update(results=[])), "journal"),
    "line without beads": (lambda: edit_line(1, lambda r: r.update(beads=None)), "journal"),
    "results swapped": (
        lambda: edit_line(0, lambda r: r.update(results=[descended()] * len(r["results"]))),
        "journal",
    ),
    "binary line": (lambda: Path("run/journal.jsonl").write_bytes(b"\xff\x00\n"), "line 1 is damaged"),
}

RESULT = {
    "cut": lambda: cut("run/result.json"),
    "empty": lambda: Path("run/result.json").write_text(""),
    "unknown field": lambda: edit("run/result.json", lambda r: r.update(extra=1)),
    "missing field": lambda: edit("run/result.json", lambda r: r.pop("string")),
    "no verdict": lambda: edit("run/result.json", lambda r: r["outcome"].update(kind="certified")),
    "verdict without evidence": lambda: edit("run/result.json", lambda r: r["outcome"].update(kind="unresolved")),
    "empty curve": lambda: edit("run/result.json", lambda r: r["string"]["curve"].update(values={})),
    "uneven curve": lambda: edit("run/result.json", lambda r: r["string"]["curve"]["values"]["loss"].pop()),
    "another number of beads": lambda: edit("run/result.json", lambda r: r["string"].update(beads=99)),
    "beads without end": lambda: edit("run/result.json", lambda r: r["string"].update(beads=10**15)),
    "a bound that was not measured": lambda: edit("run/result.json", lambda r: r.update(names=["accuracy"])),
    "no bound": lambda: edit("run/result.json", lambda r: r.update(names=[])),
    "time run backwards": lambda: edit("run/result.json", lambda r: r["rounds"][0].update(seconds=-3600)),
    "time without end": lambda: edit("run/result.json", lambda r: r["rounds"][0].update(seconds=1e308)),
    "string cut": lambda: cut("run/beads/string.safetensors"),
    "string missing": lambda: Path("run/beads/string.safetensors").unlink(),
    "string of text": lambda: Path("run/beads/string.safetensors").write_text("x" * 99),
    "string of one axis": lambda: save_file({"thetas": torch.ones(5)}, "run/beads/string.safetensors"),
    "string by another name": lambda: save_file({"beads": torch.ones(5, 2)}, "run/beads/string.safetensors"),
}


def descended() -> dict[str, object]:
    return {"type": "descended", "value": 0.1, "status": "reached", "steps": 1, "evaluations": 1}


class TestDamage:
    @pytest.mark.parametrize("command", ["show", "report", "resume"])
    @pytest.mark.parametrize("case", MANIFEST)
    def test_the_manifest(self, refused, workshop, command, case):
        shutil.copytree(workshop.connected, "run")
        MANIFEST[case]()
        assert re.search(r"run/manifest\.json: damaged|run: written in format 99", refused(command, "run"))

    @pytest.mark.many(quick=12)
    @pytest.mark.parametrize("case", RESUMED)
    def test_what_resume_reads(self, refused, workshop, case):
        shutil.copytree(workshop.unresolved if case == "unknown rule" else workshop.connected, "run")
        Path("run/result.json").unlink()
        damage, says = RESUMED[case]
        damage()
        line = refused("resume", "run")
        assert re.search(says, line)

    @pytest.mark.many(quick=20)
    @pytest.mark.parametrize("command", ["show", "report", "resume"])
    @pytest.mark.parametrize("case", RESULT)
    def test_the_result(self, refused, workshop, command, case):
        shutil.copytree(workshop.connected, "run")
        RESULT[case]()
        assert re.search(r"run/(result\.json|beads/string\.safetensors)", refused(command, "run"))


class TestLock:
    @pytest.mark.slow
    def test_a_run_that_another_process_writes(self, start, refused, workshop):
        command = ("connect", workshop.task, workshop.a, workshop.b, "--threshold", 0.051, "--out", "run")
        writer: subprocess.Popen[str] = start(*command, delay=0.05)
        try:
            while not Path("run/manifest.json").exists():
                assert writer.poll() is None
            writer.send_signal(signal.SIGSTOP)  # it holds the lock and changes nothing
            assert re.search("run: another process is writing", refused("resume", "run"))
        finally:
            writer.kill()
            writer.communicate()
