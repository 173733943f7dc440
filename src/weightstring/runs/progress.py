"""What a search shows while it runs: one bar on a terminal, one line in a notebook, a line a minute in a log."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, Progress, ProgressColumn, SpinnerColumn, Task, TextColumn, TimeElapsedColumn
from rich.text import Text

from weightstring.descent import Check
from weightstring.runs.costs import Estimate
from weightstring.runs.in_notebook import NotebookDisplay, in_notebook
from weightstring.runs.showing import (
    EVERY,
    LOG,
    Countdown,
    Display,
    Opening,
    Silent,
    descending,
    words_of,
)
from weightstring.search import Event

DUMB = ("dumb", "unknown")
"""What a terminal is called that only adds lines."""


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
        self._progress.update(self._bar, description=words_of(event), total=event.jobs, completed=event.done)

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
        self._tell(words_of(event))

    def measuring(self) -> None:
        """The same."""
        self._tell(self._stage)

    def _tell(self, words: str) -> None:
        if time.monotonic() - self._told >= EVERY:
            self._told = time.monotonic()
            left = self._countdown.words
            LOG.info("%s", f"{words}; {left}" if left else words)


class _TimeLeft(ProgressColumn):
    """What a task's countdown says, where it has one."""

    def render(self, task: Task) -> Text:
        """Its words now."""
        return Text(task.fields["countdown"].words if "countdown" in task.fields else "")


@contextmanager
def display(wanted: bool | Display | None) -> Iterator[Display]:
    """The display for ``wanted``: True, False, None (a terminal's, a notebook's, else a log's), or the caller's own."""
    if isinstance(wanted, Opening):
        with wanted.showing() as shown:
            yield shown
    elif (wanted is None or wanted is True) and in_notebook():
        with NotebookDisplay() as cell:
            yield cell
    elif wanted is True or (wanted is None and rewritable()):
        with terminal() as progress:
            yield TerminalDisplay(progress)
    else:
        yield LogDisplay() if wanted is None else wanted or Silent()


def rewritable() -> bool:
    """Whether standard error is a terminal on which a line can be changed."""
    return sys.stderr.isatty() and os.environ.get("TERM", "").lower() not in DUMB


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
def training(what: str, shown: bool = True) -> Iterator[Callable[[Check], None]]:
    """Show on a terminal how a training gets on; quiet elsewhere."""
    if not shown or not rewritable():
        yield lambda check: None
        return
    with terminal() as progress:
        bar = progress.add_task(what, total=None)
        yield lambda check: progress.update(bar, description=f"{what}: {descending(check)}")
