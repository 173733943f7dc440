"""What a search shows while it runs: a line on a terminal, nothing elsewhere."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol, runtime_checkable

from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from weightstring.search import Event


@runtime_checkable
class Display(Protocol):
    """Told how a search gets on."""

    def event(self, event: Event) -> None:
        """Something was done in the round under way."""

    def measuring(self) -> None:
        """Another batch of the finished string's curve was measured."""


class Silent:
    """Shows nothing."""

    def event(self, event: Event) -> None:
        """Show nothing."""

    def measuring(self) -> None:
        """Show nothing."""


class TerminalDisplay:
    """A progress bar for each round, with the state of the string beside it."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._bar = progress.add_task("searching", total=None)

    def event(self, event: Event) -> None:
        """Move the bar."""
        text = f"round {event.round + 1}: {event.beads} beads, {event.open} segments open"
        self._progress.update(self._bar, description=text, total=event.jobs, completed=event.done)

    def measuring(self) -> None:
        """Say so."""
        self._progress.update(self._bar, description="measuring the string", total=None)


@contextmanager
def display(wanted: bool | Display | None) -> Iterator[Display]:
    """The display for ``wanted``: True, False, None (only on a terminal), or one of the caller's own."""
    if wanted is None:
        wanted = sys.stderr.isatty()
    if wanted is True:
        with terminal() as progress:
            yield TerminalDisplay(progress)
    else:
        yield wanted or Silent()


def terminal() -> Progress:
    """A bar on standard error that is gone when it is done."""
    return Progress(
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(bar_width=20),
        TimeElapsedColumn(),
        console=Console(stderr=True),
        transient=True,
    )


@contextmanager
def working(what: str) -> Iterator[None]:
    """Say on a terminal that something takes a while."""
    if not sys.stderr.isatty():
        yield
        return
    with terminal() as progress:
        progress.add_task(what, total=None)
        yield
