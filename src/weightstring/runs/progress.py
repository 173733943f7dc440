"""What a search shows while it runs: one bar on a terminal, a line a minute in a log."""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Protocol, runtime_checkable

from rich.console import Console
from rich.progress import BarColumn, Progress, ProgressColumn, SpinnerColumn, Task, TextColumn, TimeElapsedColumn
from rich.text import Text

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


class TerminalDisplay:
    """One bar for all stages, with the state of the string beside it, and the time left where that is known."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._countdown = Countdown()
        self._bar = progress.add_task("beginning", total=None, countdown=self._countdown)

    def stage(self, name: str, seconds: float | None = None) -> None:
        """Name it."""
        self._countdown.start(seconds)
        self._progress.update(self._bar, description=name, total=None, completed=0)

    def estimated(self, estimate: Estimate) -> None:
        """Print it above the bar."""
        self._countdown.segment = estimate.segment
        self._progress.console.print(str(estimate), highlight=False, markup=False, soft_wrap=True)

    def event(self, event: Event) -> None:
        """Move the bar."""
        self._countdown.follow(event)
        self._progress.update(self._bar, description=_words(event), total=event.jobs, completed=event.done)

    def measuring(self) -> None:
        """The clock counts down by itself."""


class LogDisplay:
    """A line a minute for a log, and none for what is over sooner."""

    def __init__(self) -> None:
        self._told = time.monotonic()
        self._stage = ""
        self._countdown = Countdown()

    def stage(self, name: str, seconds: float | None = None) -> None:
        """Remember it."""
        self._stage = name
        self._countdown.start(seconds)

    def estimated(self, estimate: Estimate) -> None:
        """Write it down."""
        self._countdown.segment = estimate.segment
        for line in str(estimate).splitlines():
            LOG.info(line)

    def event(self, event: Event) -> None:
        """Write it down if a minute has passed."""
        self._countdown.follow(event)
        self._tell(_words(event))

    def measuring(self) -> None:
        """The same."""
        self._tell(self._stage)

    def _tell(self, words: str) -> None:
        if time.monotonic() - self._told >= EVERY:
            self._told = time.monotonic()
            left = self._countdown.words
            LOG.info("%s", f"{words}; {left}" if left else words)


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

    def start(self, seconds: float | None) -> None:
        """Something that takes so many seconds begins; None: nobody knows."""
        self._round = None
        self._ends = None if seconds is None else time.monotonic() + seconds

    def follow(self, event: Event) -> None:
        """In a round of segments to be measured, all take alike; how long models descend is not known."""
        if event.descents is not None or self.segment is None:
            self.start(None)
        elif event.round != self._round:
            self.start(self.segment * event.jobs)
            self._round = event.round

    @property
    def words(self) -> str:
        """What is left; nothing where it is not known, or less than a second."""
        left = 0.0 if self._ends is None else self._ends - time.monotonic()
        return f"{seconds_in_words(left)} left" if left >= 1 else ""


class _TimeLeft(ProgressColumn):
    """What a task's countdown says, where it has one."""

    def render(self, task: Task) -> Text:
        """Its words now."""
        return Text(task.fields["countdown"].words if "countdown" in task.fields else "")


def _words(event: Event) -> str:
    text = f"round {event.round + 1}: {event.beads} beads, {event.open} open"
    if event.descents is not None and event.descents.running:
        text += f"; {_descending(event.descents)}"
    return text


@contextmanager
def display(wanted: bool | Display | None) -> Iterator[Display]:
    """The display for ``wanted``: True, False, None (a terminal's, or else a log's), or one of the caller's own."""
    if wanted is True or (wanted is None and sys.stderr.isatty()):
        with terminal() as progress:
            yield TerminalDisplay(progress)
    else:
        yield LogDisplay() if wanted is None else wanted or Silent()


def terminal() -> Progress:
    """A bar on standard error that is gone when it is done."""
    return Progress(
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(bar_width=12),
        TimeElapsedColumn(),
        _TimeLeft(),
        console=Console(stderr=True),
        transient=True,
    )


@contextmanager
def training(what: str) -> Iterator[Callable[[Check], None]]:
    """Show on a terminal how a training gets on; quiet elsewhere."""
    if not sys.stderr.isatty():
        yield lambda check: None
        return
    with terminal() as progress:
        bar = progress.add_task(what, total=None)
        yield lambda check: progress.update(bar, description=f"{what}: {_descending(check)}")


def _descending(check: Check) -> str:
    return f"step {check.steps}, lowest {check.lowest:.4g}"
