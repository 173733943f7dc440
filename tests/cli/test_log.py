"""``--log FILE``: how searches get on, as lines of JSON."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from weightstring.cli import main
from weightstring.runs.log import logged


def lines_of(path: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


@pytest.fixture
def logged_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder in which two random polynomial networks were searched for a path, and given up."""
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as ended:
        main(
            ["connect", "polynomial", "random:0", "random:1", "--max-beads", "3", "--out", "run", "--log", "log.jsonl"]
        )
    assert ended.value.code in (0, 3)
    return tmp_path


def test_every_round_is_a_line_with_what_those_before_it_found_and_a_second_session_appends(logged_run: Path) -> None:
    lines = lines_of(logged_run / "log.jsonl")
    assert [lines[0]["event"], lines[-2]["event"], lines[-1]["event"]] == ["begin", "result", "end"]
    assert {line["run"] for line in lines} == {"run"}
    rounds = [line for line in lines if line["event"] == "round"]
    assert [line["round"] for line in rounds] == list(range(1, len(rounds) + 1))
    assert (rounds[0]["level"], rounds[0]["steps"]) == (None, 0)
    steps = [line["steps"] for line in rounds]
    assert steps == sorted(steps)  # type: ignore[type-var]
    assert lines[-2]["steps"] >= steps[-1]  # type: ignore[operator]
    with pytest.raises(SystemExit):
        main(["resume", "run", "--max-beads", "3", "--log", "log.jsonl"])
    after = lines_of(logged_run / "log.jsonl")
    assert after[: len(lines)] == lines
    assert [line["event"] for line in after].count("begin") == 2


def test_a_failure_is_the_last_line(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no"), logged(str(tmp_path / "log"), "run", []):
        raise ValueError("no such number")
    assert [lines_of(tmp_path / "log")[-1][name] for name in ("event", "why")] == [
        "failed",
        "ValueError: no such number",
    ]


def test_a_log_that_cannot_be_written_is_refused_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as ended:
        main(["connect", "polynomial", "random:0", "random:1", "--out", "run", "--log", "no/log"])
    assert ended.value.code == 2
    assert "--log no/log: cannot be written: No such file or directory" in capsys.readouterr().err
