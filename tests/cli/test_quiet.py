"""``--quiet``: the verdict and nothing else; what fails is told all the same. And what is told before long work."""

from __future__ import annotations

import logging
from types import SimpleNamespace

import pytest

from weightstring.cli import progress
from weightstring.cli.console import console_for_text
from weightstring.cli.progress import Pace, counting, foretell
from weightstring.cli.quiet import be_quiet
from weightstring.problem.surfaces import Ring
from weightstring.runs.progress import rewritable


@pytest.fixture(autouse=True)
def loud():
    yield
    be_quiet(False)
    logging.getLogger("weightstring").setLevel(logging.INFO)


def test_show_prints_the_verdict_alone(cli, workshop):
    done = cli("show", workshop.connected, "--quiet")
    assert done.out.count("\n") == 1
    assert done.out.startswith("connected")
    assert done.err == ""


def test_a_task_file_is_executed_without_a_word(cli, workshop):
    threshold = cli("threshold", workshop.task, workshop.a, workshop.b, "-q")
    assert (threshold.out.count("\n"), threshold.err) == (1, "")


def test_what_fails_is_told(cli, workshop):
    done = cli("show", workshop.root / "nothing", "--quiet")
    assert (done.code, done.out) == (2, "")
    assert done.err.startswith("weightstring: ")


@pytest.mark.parametrize(
    ("environment", "coloured"),
    [({}, False), ({"FORCE_COLOR": "1"}, True), ({"FORCE_COLOR": "1", "NO_COLOR": "1"}, False)],
)
def test_colours_are_for_terminals_and_whoever_forces_them(environment, coloured, monkeypatch, capsys):
    for name in ("FORCE_COLOR", "NO_COLOR", "TTY_COMPATIBLE", "TTY_INTERACTIVE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TERM", "xterm-256color")
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    console_for_text().print("connected", style="green")
    assert ("\x1b[32m" in capsys.readouterr().out) == coloured


def test_long_work_is_told_before_it_begins_and_short_work_is_not(monkeypatch, capsys):
    ring = Ring()
    foretell(ring, ring.ends[0], "the plane", 10)
    assert capsys.readouterr().err == ""
    clock = iter([0.0, 9.0, 9.0, 11.0])  # the first also chooses an engine
    monkeypatch.setattr(progress, "time", SimpleNamespace(perf_counter=lambda: next(clock)))
    foretell(ring, ring.ends[0], "the plane", 100)
    assert capsys.readouterr().err == "weightstring: the plane: some 3.3 min, 100 evaluations of 2 s\n"


def test_without_a_terminal_the_time_left_is_told_now_and_then(monkeypatch, capsys):
    now = [0.0]
    monkeypatch.setattr(progress, "time", SimpleNamespace(monotonic=lambda: now[0]))
    with counting("lines") as tell:
        now[0] = progress.EVERY + 1
        tell(1, 4)
        tell(2, 4)
    assert capsys.readouterr().err == "weightstring: lines: 1 of 4; 3 min left\n"
    assert Pace().left(0, 4) == ""


@pytest.mark.parametrize(("kind", "changed"), [("xterm-256color", True), ("dumb", False)])
def test_a_bar_needs_a_terminal_on_which_a_line_can_be_changed(kind, changed, monkeypatch):
    monkeypatch.setattr("sys.stderr", SimpleNamespace(isatty=lambda: True))
    monkeypatch.setenv("TERM", kind)
    assert rewritable() is changed
