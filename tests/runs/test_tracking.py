"""A search told to a tracker: each round once, over all sessions, and whatever the tracker does."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch

import weightstring as ws
from weightstring.problem.surfaces import Ring
from weightstring.tasks import load_task
from weightstring.trackers import Started

RING = Ring()
SPENT = ("seconds", "cpu_seconds")


class Kept:
    """A tracker that keeps what it is sent, and fails at one of its calls."""

    def __init__(self, place: list[tuple[Any, ...]] | None = None, fails_at: int | None = None) -> None:
        self.calls: list[tuple[Any, ...]] = [] if place is None else place
        self._left = fails_at

    def _keep(self, *call: Any) -> None:
        if self._left is not None:
            self._left -= 1
            if self._left < 0:
                raise ConnectionError("the server is gone\nfor good")
        self.calls.append(call)

    def start(self, name: str, settings: Mapping[str, object], earlier: str | None) -> Started:
        held = self.steps if earlier else []
        self._keep("start", earlier, settings)
        return Started("one", max(held, default=0))

    def log(self, values: Mapping[str, float | str], step: int | None = None) -> None:
        self._keep("log", step, values)

    def figure(self, name: str, figure: object) -> None:
        self._keep("figure", name)

    def artifact(self, file: Path) -> None:
        self._keep("artifact", file.name, file.read_bytes())

    def finish(self, how: str) -> None:
        self._keep("finish", how)

    @property
    def steps(self) -> list[int]:
        return [call[1] for call in self.calls if call[0] == "log" and call[1] is not None]


def search(tracker: Kept, **settings: Any) -> ws.Result:
    return ws.connect(RING, *RING.ends, 0.05, progress=False, tracker=tracker, **settings)


def test_every_round_is_a_step_and_the_whole_is_what_the_result_says() -> None:
    tracker, kept = Kept(), dict[str, bytes]()
    result = search(tracker, store=kept, seed=3)
    (kind, earlier, settings), *_ = tracker.calls
    assert (kind, earlier, settings["seed"], settings["threshold"]) == ("start", None, 3, 0.05)
    assert tracker.steps == list(range(1, len(result.history) + 1))
    *_, last = (values for kind, step, values in (c for c in tracker.calls if c[0] == "log") if step)
    assert (last["beads"], last["gradients"], last["open_links"]) == (len(result.string), result.steps, 0)
    assert last["largest"] == result.largest
    (whole,) = (call[2] for call in tracker.calls if call[:2] == ("log", None))
    assert whole["outcome"] == "connected"
    assert result.line is not None
    assert (whole["line_barrier"], whole["barrier"]) == tuple(
        string.barrier("over_linear") for string in (result.line, result.string)
    )
    files = {call[1]: call[2] for call in tracker.calls if call[0] == "artifact"}
    assert files["result.json"] == kept["result.json"]
    assert files["report.html"].startswith(b"<!doctype html>")
    assert tracker.calls[-1] == ("finish", "finished")


def test_a_later_session_goes_on_with_the_same_tracked_run() -> None:
    place, kept = list[tuple[Any, ...]](), dict[str, bytes]()
    first = search(Kept(place), store=kept, stop=ws.MaxBeads(3))
    assert not first.connected
    second = search(Kept(place), store=kept)
    starts = [call[1] for call in place if call[0] == "start"]
    assert starts == [None, "one"]
    assert Kept(place).steps == list(range(1, len(second.history) + 1))
    untracked = ws.connect(RING, *RING.ends, 0.05, progress=False)
    assert torch.equal(second.string.beads, untracked.string.beads)


@pytest.mark.parametrize("call", [0, 1, 4])
def test_a_tracker_that_fails_is_told_of_in_one_line_and_the_search_goes_on(
    call: int, caplog: pytest.LogCaptureFixture
) -> None:
    tracker = Kept(fails_at=call)
    with caplog.at_level(logging.WARNING, "weightstring"):
        result = search(tracker)
    assert result.connected
    assert len(tracker.calls) == call
    says = "tracker Kept: ConnectionError: the server is gone for good; the search goes on without it"
    assert [record.getMessage() for record in caplog.records] == [says]


def test_ctrl_c_is_told_and_nothing_is_measured_after_it() -> None:
    class Interrupting(Kept):
        def log(self, values: Mapping[str, float | str], step: int | None = None) -> None:
            if step == 2:
                raise KeyboardInterrupt
            super().log(values, step)

    tracker = Interrupting()
    result = search(tracker)
    assert isinstance(result.outcome, ws.Unresolved)
    assert result.outcome.reason == "interrupted"
    assert [call[:2] for call in tracker.calls][-1] == ("finish", "interrupted")
    assert ("log", None) not in [call[:2] for call in tracker.calls]


def test_what_is_searched_beside_is_shown_and_not_tracked() -> None:
    tracker = Kept()
    sought = ws.minimax(RING, *RING.ends, stop=ws.MaxBeads(5), progress=False, tracker=tracker)
    assert tracker.steps == list(range(1, len(sought.result.history) + 1))


def test_a_sweep_tells_how_many_pairs_are_done_and_its_means(tmp_path: Path) -> None:
    task, tracker = load_task("polynomial"), Kept()
    swept = ws.sweep(task, [0.05], pairs=2, store=tmp_path / "swept", progress=False, tracker=tracker)
    assert tracker.steps[-1] == 2
    (whole,) = (call[2] for call in tracker.calls if call[:2] == ("log", None))
    assert whole["all/0.05/beads"] == swept.summary[0].means["beads"].value
    assert [call[1] for call in tracker.calls if call[0] == "artifact"] == ["table.csv"]
