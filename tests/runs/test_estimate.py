"""What a search is said to take, beside what it takes."""

from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

import weightstring as ws
from tests.runs.test_costs import neighbours, task
from weightstring.problem import room
from weightstring.problem.room import require_room
from weightstring.runs import estimate, run, showing
from weightstring.runs.progress import LogDisplay
from weightstring.runs.showing import Countdown
from weightstring.search import Event


@pytest.mark.parametrize("sampling", ["adaptive", "dense"])
def test_a_straight_line_takes_what_was_said_within_a_factor_of_two(sampling: str, tmp_path: Path) -> None:
    problem, seen = task()
    a, b = neighbours(problem)
    told = ws.estimate(problem, a, b, sampling=sampling)
    seen[0] = 0
    result = ws.connect(problem, a, b, 4.0, sampling=sampling, store=tmp_path / "run")
    assert result.connected
    assert seen[0] / 40 / 2 <= told.line.evaluations <= 2 * seen[0] / 40


@pytest.mark.parametrize("sampling", ["adaptive", "dense"])
def test_so_does_a_search_of_one_bead(sampling: str) -> None:
    problem, _ = task()
    a, b = problem.fit(seed=0, until=0.2), problem.fit(seed=4, until=0.2)
    told = ws.estimate(problem, a, b, sampling=sampling)
    result = ws.connect(problem, a, b, 0.4, sampling=sampling, strategy=ws.Greedy())
    beads = len(result.string) - 2
    assert result.connected
    assert beads == 1
    curve = told.line.evaluations - (9 if sampling == "adaptive" else 36)
    expected = told.line.evaluations + beads * told.bead.evaluations - (1 + beads) * curve
    assert (result.evaluations + 2) / 2 <= expected <= 2 * (result.evaluations + 2)


def test_it_measures_two_models_and_writes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run, "COSTLY", 0.0)
    problem, seen = task()
    a, b = neighbours(problem)
    problem.engine_choice()
    seen[0] = 0
    told = ws.estimate(problem, a, b, sampling="adaptive")
    assert seen[0] <= 2 * 40 + 4  # and two examples, to see what a gradient keeps
    assert told.training is not None
    assert told.training.evaluations == 90
    assert str(told).count("\n") == 4
    assert max(map(len, str(told).splitlines())) <= 80


def test_activations_are_those_that_a_gradient_keeps(monkeypatch: pytest.MonkeyPatch) -> None:
    problem, _ = task()
    problem.engine_choice()
    monkeypatch.delattr(torch.autograd, "backward")  # of a large model a gradient is no small thing
    activations = problem.activations()
    per_example = 4 * (2 + 8 + 8 + 1 + 1)  # inputs, both sides of tanh, output and difference
    assert per_example / 2 <= activations.descending / 128 <= 2 * per_example


def test_a_descent_that_does_not_fit_is_refused_with_what_helps(monkeypatch: pytest.MonkeyPatch) -> None:
    problem, _ = task()
    require_room(problem, 4)
    monkeypatch.setattr(room, "allowed_bytes", lambda device: 10_000)
    with pytest.raises(ws.errors.InvalidSetting, match=r"descending needs .* of 1 MB: .* smaller batch_size="):
        require_room(problem, 4)


def test_where_a_person_would_wait_it_is_told_before_the_search(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    problem, _ = task()
    a, b = neighbours(problem)
    caplog.set_level(logging.INFO, "weightstring")
    ws.connect(problem, a, b, 4.0)
    assert not caplog.messages
    monkeypatch.setattr(estimate, "PATIENCE", 0.0)
    monkeypatch.setattr(run, "COSTLY", 0.0)
    ws.connect(problem, a, b, 4.0)
    assert caplog.messages[0].startswith("straight line  9 evaluations, ")
    assert caplog.messages[-1].startswith("memory  ")


def test_a_log_has_a_line_a_minute_with_the_time_left(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    now = [0.0]
    monkeypatch.setattr("time.monotonic", lambda: now[0])
    caplog.set_level(logging.INFO, "weightstring")
    show = LogDisplay()
    show.stage("measuring the string", 300.0)
    for second in range(0, 150, 10):
        now[0] = float(second)
        show.measuring()
    assert caplog.messages == ["measuring the string; 4 min left", "measuring the string; 3 min left"]


def test_the_time_left_is_that_of_segments_and_not_said_of_descents(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    monkeypatch.setattr("time.monotonic", lambda: now[0])
    count = Countdown()
    count.segment = 40.0
    segments = Event(round=0, jobs=2, done=0, beads=3, open=0, descents=None)
    count.follow(segments)
    now[0] = 30.0
    count.follow(segments)
    assert count.words == "50 s left"
    count.follow(Event(1, 1, 0, 3, 1, ws.descent.Check(0, 1, 20, 0.3)))
    assert count.words == ""


def test_ends_that_do_not_fit_are_refused_before_anything_is_said() -> None:
    problem, _ = task()
    with pytest.raises(ws.EndAboveThreshold):
        ws.estimate(problem, *neighbours(problem), threshold=1e-9)
    with pytest.raises(ws.InvalidCheckpoint):
        ws.estimate(problem, torch.zeros(3), torch.zeros(3))


def test_what_all_searches_take_is_a_range_within_the_limits() -> None:
    problem, _ = task()
    a, b = neighbours(problem)
    told = ws.estimate(problem, a, b)
    assert told.beads == 62
    assert told.least <= told.line.seconds + told.bead.seconds <= told.most
    assert "at the limits" in str(told)
    many = replace(told, searches=3, limit=2 * told.line.seconds)
    assert many.most == pytest.approx(6 * told.line.seconds)
    assert "3 searches: " in str(many)


def test_of_many_searches_those_that_are_over_tell_the_time_left(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    monkeypatch.setattr(showing, "time", SimpleNamespace(monotonic=lambda: now[0]))
    countdown = Countdown()
    countdown.follow(Event(0, 1, 0, 2, 1, None, searches=6, finished=0))
    assert countdown.words == ""
    now[0] = 10.0
    countdown.follow(Event(1, 1, 0, 2, 1, None, searches=6, finished=2))
    assert countdown.words == "20 s left"
    now[0] = 15.0
    assert countdown.words == "15 s left"
