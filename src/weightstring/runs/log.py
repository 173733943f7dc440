"""How searches get on, as lines of JSON in a file: for programs, where a display is for a person."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime

from weightstring.codec import finite_or_none
from weightstring.errors import StoreFailed
from weightstring.failures import one_line
from weightstring.launched import launched
from weightstring.runs.costs import Estimate
from weightstring.runs.progress import EVERY, Display, display
from weightstring.runs.result import Result
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


class Logged:
    """A display that writes down what it is told, and shows it by another."""

    def __init__(self, log: Log, shown: Display) -> None:
        self._log, self._shown = log, shown
        self._latest: tuple[int, int] | None = None
        self._told = time.monotonic()

    def stage(self, name: str, seconds: float | None = None) -> None:
        """Another stage begins."""
        self._log.write("stage", stage=name, expected_seconds=seconds)
        self._shown.stage(name, seconds)

    def estimated(self, estimate: Estimate) -> None:
        """What the search takes."""
        self._log.write("estimate", evaluation_seconds=estimate.evaluation, step_seconds=estimate.step)
        self._shown.estimated(estimate)

    def event(self, event: Event) -> None:
        """One line for each round, with what the rounds before it found and took, and one a minute within it."""
        place = event.finished, event.round
        if place != self._latest or time.monotonic() - self._told >= EVERY:
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
        self._shown.event(event)

    def measuring(self) -> None:
        """Show it."""
        self._shown.measuring()

    def result(self, result: Result) -> None:
        """A search is over."""
        outcome = result.outcome
        self._log.write(
            "result",
            outcome=type(outcome).__name__.lower(),
            reason=getattr(outcome, "reason", None),
            threshold=result.threshold,
            level=result.largest,
            beads=len(result.string),
            length=result.string.normalized_length,
            rounds=len(result.history),
            steps=result.steps,
            evaluations=result.evaluations,
            seconds=result.seconds,
            certified=result.certificate is not None and result.certificate.holds,
        )


@contextmanager
def logged(path: str | None, run: str, words: list[str]) -> Iterator[Logged | None]:
    """Within the context searches of a run are written down in a file; how it ends is its last line.

    Args:
        path: the file; None: there is none.
        run: its name.
        words: the command.

    Yields:
        The display to search with; None without a file.

    Raises:
        StoreFailed: the file cannot be written.
    """
    if path is None:
        yield None
        return
    log = Log(path, run)
    try:
        log.write("begin", command=words)
        with display(None) as shown:
            yield Logged(log, shown)
    except KeyboardInterrupt:
        log.write("interrupted")
        raise
    except Exception as error:
        log.write("failed", kind=type(error).__name__, why=one_line(error))
        raise
    else:
        log.write("end")
    finally:
        log.close()
