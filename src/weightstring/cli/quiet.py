"""``--quiet``: only the verdict. The program is told once; whatever is beside a verdict asks here."""

from __future__ import annotations

import sys
from contextvars import ContextVar

_ASKED: ContextVar[bool] = ContextVar("quiet", default=False)


def be_quiet(asked: bool) -> None:
    """From here on only verdicts are printed, or all of it."""
    _ASKED.set(asked)


def is_quiet() -> bool:
    """Whether only verdicts are printed."""
    return _ASKED.get()


def note(words: str) -> None:
    """A line on standard error beside the verdict; errors are no notes."""
    if not is_quiet():
        print(f"weightstring: {words}", file=sys.stderr)
