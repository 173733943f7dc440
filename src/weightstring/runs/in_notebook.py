"""How a search gets on in a notebook: one line under the cell, changed in place, and in the end what was found.

A display of IPython's own is updated, by its identifier: every frontend renders that, without widgets, and keeps the
last state with the notebook.
"""

from __future__ import annotations

import sys
import time
from html import escape
from importlib import import_module
from types import TracebackType
from typing import Any

from weightstring.runs.costs import Estimate
from weightstring.runs.showing import Countdown, words_of
from weightstring.search import Event
from weightstring.text import seconds_in_words

PAUSE = 0.25
"""Seconds at least between two changes: each is a message to the browser."""


def in_notebook() -> bool:
    """Whether this runs in the kernel of a notebook.

    >>> in_notebook()
    False
    """
    python = sys.modules.get("IPython")
    shell = None if python is None else python.get_ipython()
    return getattr(shell, "kernel", None) is not None


class NotebookDisplay:
    """A line with a bar, updated in place; when it closes, the verdict and the time it took."""

    def __init__(self) -> None:
        self._began = time.monotonic()
        self._shown = -PAUSE
        self._handle: Any = None
        self._countdown = Countdown()
        self._estimate = ""
        self._stage = "beginning"
        self._done: tuple[int, int] | None = None
        self._answer = ""

    def stage(self, name: str, seconds: float | None = None) -> None:
        """Name it."""
        self._countdown.start(seconds)
        self._stage, self._done = name, None
        self._show()

    def estimated(self, estimate: Estimate) -> None:
        """Say it while the search goes on."""
        self._countdown.segment = estimate.segment
        self._estimate = str(estimate)
        self._show()

    def event(self, event: Event) -> None:
        """Move the bar."""
        self._countdown.follow(event)
        self._stage, self._done = words_of(event), (event.done, event.jobs)
        self._show()

    def measuring(self) -> None:
        """Let the time pass."""
        self._show()

    def answered(self, words: str) -> None:
        """What is left when it closes."""
        self._answer = words

    def __enter__(self) -> NotebookDisplay:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        took = seconds_in_words(time.monotonic() - self._began)
        last = self._answer or f"stopped while {self._stage}" if kind is None else f"{kind.__name__} at: {self._stage}"
        self._update(f"{last}, {took}", f"<div>{escape(last)}, {took}</div>")

    def _show(self) -> None:
        if time.monotonic() - self._shown < PAUSE:
            return
        passed, left = seconds_in_words(time.monotonic() - self._began), self._countdown.words
        words = "; ".join(filter(None, (self._stage, passed, left)))
        bar = ""
        if self._done is not None and self._done[1]:
            bar = f'<progress value="{self._done[0]}" max="{self._done[1]}" style="width: 8em"></progress> '
        above = f'<pre style="margin: 0">{escape(self._estimate)}</pre>' if self._estimate else ""
        self._update(words, f"{above}<div>{bar}{escape(words)}</div>")

    def _update(self, text: str, html: str) -> None:
        content = {"text/plain": text, "text/html": html}
        if self._handle is None:
            display: Any = import_module("IPython.display").display
            self._handle = display(content, raw=True, display_id=True)
        else:
            self._handle.update(content, raw=True)
        self._shown = time.monotonic()
