"""What a display is, and what it says: how far a search is, and the time left where that is known."""

from __future__ import annotations

import logging
import time
from contextlib import AbstractContextManager
from typing import Protocol, runtime_checkable

from weightstring.descent import Check
from weightstring.runs.costs import Estimate
from weightstring.search import Event
from weightstring.text import seconds_in_words

LOG = logging.getLogger("weightstring")
"""Where a search without a terminal says now and then how it gets on, at level INFO."""
EVERY = 60.0
"""Seconds between two lines in a log."""


@runtime_checkable
class Display(Protocol):
    """Told how a search gets on."""

    def stage(self, name: str, seconds: float | None = None) -> None:
        """Another stage begins, which takes so many seconds, where that is known."""

    def estimated(self, estimate: Estimate) -> None:
        """What the search takes, before it begins; told where a person would wait for it."""

    def event(self, event: Event) -> None:
        """Something was done in the round under way."""

    def measuring(self) -> None:
        """Another batch of the finished string's curve was measured."""


@runtime_checkable
class Concluding(Display, Protocol):
    """A display that leaves a line when it closes."""

    def answered(self, words: str) -> None:
        """All is over, with this verdict."""


@runtime_checkable
class Opening(Protocol):
    """What tells several, one of which is a display."""

    def showing(self) -> AbstractContextManager[Display]:
        """Within the context that display is open."""


class Silent:
    """Shows nothing."""

    def stage(self, name: str, seconds: float | None = None) -> None:
        """Show nothing."""

    def estimated(self, estimate: Estimate) -> None:
        """Show nothing."""

    def event(self, event: Event) -> None:
        """Show nothing."""

    def measuring(self) -> None:
        """Show nothing."""


class Countdown:
    """The time left of what is known to end."""

    def __init__(self) -> None:
        self.segment: float | None = None
        """Seconds that a segment takes to be measured."""
        self._round: int | None = None
        self._ends: float | None = None
        self._finished: tuple[float, int] | None = None
        self._counted = 0

    def start(self, seconds: float | None) -> None:
        """Something that takes so many seconds begins; None: nobody knows."""
        self._round = None
        self._ends = None if seconds is None else time.monotonic() + seconds

    def follow(self, event: Event) -> None:
        """In a round of segments to be measured, all take alike; how long models descend is not known.

        Of many searches the others take as long as those that are over took, one with another.
        """
        if event.searches > 1:
            self._pace(event)
        elif event.descents is not None or self.segment is None:
            self.start(None)
        elif event.round != self._round:
            self.start(self.segment * event.jobs)
            self._round = event.round

    def _pace(self, event: Event) -> None:
        now = time.monotonic()
        if self._finished is None:
            self._finished = now, event.finished
        began, before = self._finished
        if event.finished > max(before, self._counted):
            each = (now - began) / (event.finished - before)
            self._counted, self._ends = event.finished, now + each * (event.searches - event.finished)

    @property
    def words(self) -> str:
        """What is left; nothing where it is not known, or less than a second."""
        left = 0.0 if self._ends is None else self._ends - time.monotonic()
        return f"{seconds_in_words(left)} left" if left >= 1 else ""


def words_of(event: Event) -> str:
    """The round under way, and the string before it."""
    text = f"round {event.round + 1}: {event.beads} beads, {event.open} open"
    if event.descents is not None and event.descents.running:
        text += f"; {descending(event.descents)}"
    return text


def descending(check: Check) -> str:
    """How far models descend."""
    return f"step {check.steps}, lowest {check.lowest:.4g}"
