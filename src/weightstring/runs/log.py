"""How searches get on, as lines of JSON in a file: for programs, where a display is for a person."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime

from weightstring.codec import finite_or_none
from weightstring.errors import StoreFailed
from weightstring.failures import one_line
from weightstring.launched import launched
from weightstring.runs.costs import Estimate
from weightstring.runs.listening import Ended, Follower, Listeners, listening
from weightstring.runs.showing import EVERY
from weightstring.search import Event


class Log:
    """A file to which whole lines are appended, each by one write: several processes may share it.

    Args:
        path: the file, made if it is not there; what it holds stays.
        run: the run or sweep that every line names.

    Raises:
        StoreFailed: the file cannot be written.
    """

    def __init__(self, path: str | os.PathLike[str], run: str) -> None:
        self._path, self._run = path, run
        place = launched()
        self._common: Mapping[str, object] = {} if place is None else {"rank": place.rank, "ranks": place.of}
        try:
            self._file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
        except OSError as problem:
            raise self._refused(problem) from None

    def write(self, event: str, **fields: object) -> None:
        """Append a line; numbers that are not finite are null.

        Raises:
            StoreFailed: the disk refuses.
        """
        now = datetime.now(UTC).isoformat(timespec="milliseconds")
        line = {"time": now, "event": event, "run": self._run, **self._common, **fields}
        told = {name: finite_or_none(value) if isinstance(value, float) else value for name, value in line.items()}
        try:
            os.write(self._file, (json.dumps(told) + "\n").encode())
        except OSError as problem:
            raise self._refused(problem) from None

    def close(self) -> None:
        """Write no more."""
        os.close(self._file)

    def _refused(self, problem: OSError) -> StoreFailed:
        return StoreFailed(f"--log {self._path}: cannot be written: {problem.strerror}; name another file")


class Logged(Follower):
    """Writes down what it is told.

    Args:
        log: where.
        words: the command.
    """

    def __init__(self, log: Log, words: Sequence[str]) -> None:
        self._log = log
        self._latest: tuple[int, int] | None = None
        self._told = time.monotonic()
        log.write("begin", command=list(words))

    def stage(self, name: str, seconds: float | None = None) -> None:
        """Another stage begins."""
        self._log.write("stage", stage=name, expected_seconds=seconds)

    def estimated(self, estimate: Estimate) -> None:
        """What the search takes."""
        self._log.write("estimate", evaluation_seconds=estimate.evaluation, step_seconds=estimate.step)

    def event(self, event: Event) -> None:
        """One line for each round, with what the rounds before it found and took, and one a minute within it."""
        place = event.finished, event.round
        if place == self._latest and time.monotonic() - self._told < EVERY:
            return
        fields = {
            "round": event.round + 1,
            "beads": event.beads,
            "open": event.open,
            "level": event.level,
            "steps": event.steps,
            "seconds": event.seconds,
            "jobs": event.jobs,
            "done": event.done,
        }
        if event.descents is not None and event.descents.running:
            fields |= {"descending": event.descents.steps, "lowest": event.descents.lowest}
        if event.searches > 1:
            fields |= {"searches": event.searches, "finished": event.finished}
        self._log.write("round" if place != self._latest else "progress", **fields)
        self._latest, self._told = place, time.monotonic()

    def ended(self, ended: Ended) -> None:
        """A search is over; pairs of a sweep have rows of their own."""
        if ended.search:
            self._log.write("result", **ended.fields)

    def closed(self, error: BaseException | None) -> None:
        """How it ended."""
        if isinstance(error, KeyboardInterrupt):
            self._log.write("interrupted")
        elif isinstance(error, Exception):
            self._log.write("failed", kind=type(error).__name__, why=one_line(error))
        elif error is None:
            self._log.write("end")
        self._log.close()


@contextmanager
def logged(path: str | os.PathLike[str], run: str, words: Sequence[str] = ()) -> Iterator[Listeners]:
    """Within the context searches of a run are written down in a file, and shown as ever; how it ends is its last line.

    Args:
        path: the file.
        run: its name.
        words: the command.

    Yields:
        What to pass as ``progress=``.

    Raises:
        StoreFailed: the file cannot be written.
    """
    with listening(None, Logged(Log(path, run), words)) as told:
        yield told
