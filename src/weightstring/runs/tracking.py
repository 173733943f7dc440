"""A search sent to a tracker. What the tracker cannot do is told in one line, and the search goes on without it."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TypeVar

from weightstring.failures import one_line
from weightstring.notebook import Viewable
from weightstring.runs.listening import Begun, Ended, Follower
from weightstring.runs.showing import LOG
from weightstring.store.names import Names
from weightstring.trackers import Ending, Started, Tracker, tracker_of

KEPT = "tracking.json"
"""Under which name a run keeps what its trackers call it, so that a later session goes on there."""
SIZE = (7.0, 4.0)
"""Inches of a figure."""
WHOLE = {"level": "largest", "length": "normalized_length", "steps": "gradients"}
"""What a tracker calls numbers of the whole run that a log calls otherwise."""

Returned = TypeVar("Returned")


class Tracked(Follower):
    """Sends what it is told to a tracker, until that fails.

    Args:
        given: the tracker, or its name, see :func:`weightstring.trackers.tracker_of`.

    Raises:
        InvalidSetting: there is no such tracker.
    """

    def __init__(self, given: str | Tracker) -> None:
        self._tracker = tracker_of(given)
        self._name = given.partition(":")[0] if isinstance(given, str) else type(given).__name__
        # A digest: a place may hold a password.
        place = hashlib.sha256(given.encode()).hexdigest()[:8] if isinstance(given, str) else ""
        self._key = f"{self._name}-{place}".rstrip("-")
        self._started = self._lost = False
        self._step = 0
        self._ended: Ended | None = None

    def begun(self, begun: Begun) -> None:
        """Begin a tracked run, or go on with that of a former session."""
        known = self._try(lambda: _known(begun.kept))
        earlier = (known or {}).get(self._key)
        started = self._try(lambda: Started(*self._tracker.start(begun.name, begun.settings, earlier)))
        if started is None:
            return
        self._started, self._step = True, started.step
        if begun.kept is not None and started.id != earlier:
            names = {**(known or {}), self._key: started.id}
            self._try(lambda: _keep(begun.kept, names))

    def reached(self, step: int, numbers: Mapping[str, float]) -> None:
        """Send the steps that it does not hold yet."""
        if step > self._step:
            self._step = step
            self._send(lambda: self._tracker.log(_finite(numbers), step))

    def ended(self, ended: Ended) -> None:
        """Send the verdict, the numbers of the whole, and figures."""
        self._ended = ended
        renamed = {WHOLE.get(name, name): value for name, value in ended.fields.items() if value is not None}
        plain = {name: float(value) if isinstance(value, bool) else value for name, value in renamed.items()}
        self._send(lambda: self._tracker.log(_finite(plain)))
        for name in ended.figures:
            self._send(partial(self._draw, ended.result, name))

    def closed(self, error: BaseException | None) -> None:
        """Send the files, and let go; without a verdict or an error the search was interrupted."""
        interrupted = isinstance(error, KeyboardInterrupt) or (error is None and self._ended is None)
        how: Ending = "interrupted" if interrupted else "finished" if error is None else "failed"
        with TemporaryDirectory() as folder:
            for name, made in (self._ended.files if self._ended is not None and error is None else {}).items():
                self._send(partial(self._keep_file, Path(folder) / name, made))
            self._send(lambda: self._tracker.finish(how))

    def _keep_file(self, path: Path, made: Callable[[], bytes]) -> None:
        path.write_bytes(made())
        self._tracker.artifact(path)

    def _draw(self, result: Viewable, name: str) -> None:
        try:
            from matplotlib.figure import Figure
        except ImportError:
            LOG.warning("tracker %s: no figure: matplotlib is not installed", self._name)
            return
        figure = Figure(figsize=SIZE, layout="constrained")
        result.plot(name, axes=figure.add_subplot())
        self._tracker.figure(name, figure)

    def _send(self, send: Callable[[], object]) -> None:
        if self._started:
            self._try(send)

    def _try(self, send: Callable[[], Returned]) -> Returned | None:
        """What it returns; None where it fails, after which nothing is sent any more."""
        if self._lost:
            return None
        try:
            return send()
        except Exception as error:  # whatever a network, a disk or a package raises
            self._lost = True
            LOG.warning("tracker %s: %s; the search goes on without it", self._name, one_line(error))
            return None


def trackers(given: str | Tracker | None) -> list[Tracked]:
    """The one that is asked for, if any."""
    return [] if given is None else [Tracked(given)]


def _finite(values: Mapping[str, float | str]) -> dict[str, float | str]:
    return {name: value for name, value in values.items() if isinstance(value, str) or math.isfinite(value)}


def _known(kept: Names | None) -> dict[str, str]:
    content = None if kept is None else kept.read(KEPT)
    known = {} if content is None else json.loads(content)
    return {str(name): str(value) for name, value in known.items()}


def _keep(kept: Names | None, names: Mapping[str, str]) -> None:
    if kept is not None:
        kept.write(KEPT, json.dumps(names, indent=2).encode())
