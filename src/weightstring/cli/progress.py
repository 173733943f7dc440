"""How far a proof is, or what is counted, on a terminal."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def telling() -> Iterator[Callable[[int, int, float], None]]:
    """A line on a terminal that says how far a proof is, and goes when it ends."""
    shown = 0.0

    def tell(done: int, waiting: int, largest: float) -> None:
        nonlocal shown
        if sys.stderr.isatty() and time.monotonic() - shown > 0.2:
            shown = time.monotonic()
            print(f"\r{done} intervals proved, {waiting} waiting, bound {largest:.6g}\x1b[K", end="", file=sys.stderr)

    try:
        yield tell
    finally:
        if shown:
            print("\r\x1b[K", end="", file=sys.stderr)


@contextmanager
def counting(what: str) -> Iterator[Callable[[int, int], None]]:
    """A bar on a terminal that is told how many of how many are done; quiet elsewhere."""
    if not sys.stderr.isatty():
        yield lambda done, of: None
        return
    from weightstring.runs.progress import terminal

    with terminal() as progress:
        bar = progress.add_task(what, total=None)
        yield lambda done, of: progress.update(bar, completed=done, total=of, description=f"{what}: {done} of {of}")
