"""The journal: what a run's state is rebuilt from."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import count
from typing import Annotated, Any, NamedTuple, Protocol, runtime_checkable

import msgspec

from weightstring.arrays import Thetas
from weightstring.codec import Record
from weightstring.errors import InvalidRun
from weightstring.path import Reason
from weightstring.store.files import UNREADABLE, one_line
from weightstring.store.names import Names
from weightstring.store.records import Seconds


class Round(NamedTuple):
    """One finished round of a search.

    ``jobs`` are the jobs' names and ``results`` their results, in the same order, as dictionaries that only the jobs
    themselves can read; ``thetas`` (k, P) holds the models that came of them. A round that was given up has no jobs;
    ``steps`` are the gradient steps that were lost with it. Neither has one at which an attempt ``ended`` and the
    strategy's next one begins.
    """

    jobs: tuple[str, ...]
    results: tuple[object, ...]
    thetas: Thetas | None
    seconds: float
    steps: int = 0
    ended: Reason | None = None


@runtime_checkable
class Journal(Protocol):
    """Where a search writes its finished rounds and finds those of an earlier session."""

    def replay(self) -> list[Round]:
        """The rounds written so far."""

    def append(self, finished: Round) -> Thetas | None:
        """Write a round; when this returns, it survives a power cut.

        Returns:
            The round's models from where they are kept, to be used in place of those handed in.
        """


class Unkept:
    """The journal of a search that is not kept."""

    def replay(self) -> list[Round]:
        """Nothing was kept."""
        return []

    def append(self, finished: Round) -> Thetas | None:
        """Keep nothing: the search's state holds all that it needs, the round's models too."""
        return finished.thetas


class Line(Record, frozen=True, kw_only=True):
    """One line of the journal: a finished round."""

    round: int
    jobs: tuple[str, ...]
    """The jobs' names."""
    results: tuple[Any, ...]
    """Their results, in the same order; the jobs read them."""
    beads: str | None
    """SHA-256 of the round's bead file; null in a round without descents."""
    seconds: Seconds
    steps: Annotated[int, msgspec.Meta(ge=0, le=2**62)] = 0
    """Gradient steps that were lost with a round that was given up."""
    ended: Reason | None = None
    """Why the strategy's next attempt begins here, in a line without jobs."""


class Rounds(Names):
    """A journal under names: a round's models, then its line; with that, it counts."""

    _count: int | None = None

    def replay(self) -> list[Round]:
        """The finished rounds, each checked against its models.

        Raises:
            InvalidRun: a round or its models are damaged or were changed.
        """
        rounds = []
        for number, (place, content) in enumerate(self._lines()):
            try:
                line = msgspec.json.decode(content, type=Line)
            except UNREADABLE as problem:
                raise InvalidRun(f"{place} is damaged ({one_line(problem)}); restore it or start afresh") from None
            if line.round != number:
                raise InvalidRun(f"{place} is round {line.round}; lines are missing")
            thetas = None if line.beads is None else self.models(_round_name(number), line.beads)
            rounds.append(Round(line.jobs, line.results, thetas, line.seconds, line.steps, line.ended))
        return rounds

    def append(self, finished: Round) -> Thetas | None:
        """Write a round: its models, then its line; with that, it counts.

        A run that goes on has no verdict until it ends again.

        Returns:
            The round's models as they are kept, so that those handed in need not be; None where it has none.

        Raises:
            InvalidRun: something of an earlier round was damaged or removed meanwhile; the round does not count.
            StoreFailed: the disk refuses; the round does not count, or it was written whole.
        """
        name, beads = self._write_round(finished)
        return None if beads is None else self.models(name, beads)

    def _write_round(self, finished: Round) -> tuple[str, str | None]:
        """The same; under which name its models are kept, and their digest."""
        for name in ("result.json", "report.html"):
            self.remove(name)
        number = self._begin_line()
        name = _round_name(number)
        beads = None if finished.thetas is None else self.keep(name, finished.thetas)
        line = Line(
            round=number,
            jobs=finished.jobs,
            results=finished.results,
            beads=beads,
            seconds=max(0.0, finished.seconds),  # A clock may be put back.
            steps=finished.steps,
            ended=finished.ended,
        )
        self._write_line(number, msgspec.json.encode(line))
        return name, beads

    def _lines(self) -> Iterable[tuple[str, bytes]]:
        """The rounds as they were written, each with its place in words."""
        for number in count():
            content = self.read(_line(number))
            if content is None:
                return
            yield f"{self}/{_line(number)}: line {number + 1}", content

    def _begin_line(self) -> int:
        """The number of the round that is written next."""
        if self._count is None:
            self._count = next(number for number in count() if not self.has(_line(number)))
        return self._count

    def _write_line(self, number: int, content: bytes) -> None:
        self.write(_line(number), content)
        self._count = number + 1


def _line(number: int) -> str:
    return f"journal/{number:06d}.json"


def _round_name(number: int) -> str:
    return f"round-{number:04d}"
