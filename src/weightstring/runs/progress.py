"""What a search shows while it runs: a line on a terminal, nothing elsewhere."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Protocol, runtime_checkable

from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from weightstring.descent import Check
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
        text = f"round {event.round + 1}: {event.beads} beads, {event.open} open"
        if event.descents is not None and event.descents.running:
            text += f"; {_descending(event.descents)}"
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
        BarColumn(bar_width=12),
        TimeElapsedColumn(),
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
