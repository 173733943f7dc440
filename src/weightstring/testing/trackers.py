"""What every tracker must keep to, so that a run is tracked whole, and gone on with."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path

from weightstring.errors import InvalidSetting
from weightstring.trackers import Setting, Started, Tracker, tracker_of

SETTINGS: dict[str, Setting] = {
    "strategy.kind": "greedy",
    "threshold": 0.25,
    "seed": 3,
    "disprove": True,
    "task": None,
    "long": "0123456789" * 100,
}
STEPS = 3


def check_tracker(made: Callable[[], Tracker]) -> None:
    """Hold a tracker against all that is relied on, by runs as a search tracks them.

    Two runs of one name are kept apart; each takes settings of every kind, steps from 1, words and numbers about the
    whole, a figure where matplotlib is installed, and a file. A later session, by a new tracker, goes on with the run
    that is named, and holds either all of its steps or none; a run that is not known is begun anew.

    Args:
        made: makes a tracker, as a session does; all it makes send to the same place.

    Raises:
        AssertionError: it does not keep to something; in one line, what.
    """
    first, started = _session(made, None)
    _require(started.step == 0, f"a run that begins holds step {started.step}")
    other, apart = _session(made, None)
    _require(other is not first, "made() returns the same object again: make a new one")
    _require(apart.id != started.id, f"two runs of one name are one, {started.id!r:.80}")
    _, again = _session(made, started.id)
    _require(again.id == started.id, f"going on with {started.id!r:.80} gives {again.id!r:.80}")
    _require(again.step in (0, STEPS), f"of steps 1 to {STEPS} a run that is gone on with holds {again.step}")
    _, another = _session(made, "never-begun")
    _require(another.step == 0, "a run that was never begun is gone on with: begin another one")


def _session(made: Callable[[], Tracker], earlier: str | None) -> tuple[Tracker, Started]:
    tracker = made()
    try:
        tracker_of(tracker)
    except InvalidSetting as lacks:
        raise AssertionError(f"the tracker breaks a promise: {lacks}") from None
    started = tracker.start("checked/run", SETTINGS, earlier)
    _require(isinstance(started, Started), f"start() returns a {type(started).__name__}, not a Started")
    _require(isinstance(started.id, str) and started.id != "", f"its id is {started.id!r:.80}: give a text")
    for step in range(started.step + 1, STEPS + 1):
        tracker.log({"largest": 1 / step, "beads": 2.0 + step}, step)
    tracker.log({"verdict": "connected", "normalized_length": 1.25})
    with tempfile.TemporaryDirectory() as folder:
        _show(tracker)
        file = Path(folder) / "result.json"
        file.write_text("{}")
        tracker.artifact(file)
        tracker.finish("finished")
    return tracker, started


def _show(tracker: Tracker) -> None:
    try:
        from matplotlib.figure import Figure
    except ImportError:
        return
    figure = Figure()
    figure.add_subplot().plot([0.0, 1.0], [0.5, 0.25])
    tracker.figure("loss", figure)


def _require(holds: bool, says: str) -> None:
    if not holds:
        raise AssertionError(f"the tracker breaks a promise: {says}")
