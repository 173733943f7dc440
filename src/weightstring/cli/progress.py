"""What long work takes, said before it, and the time left while it lasts: a bar on a terminal, else a line a minute."""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from weightstring.arrays import Theta
from weightstring.cli.quiet import is_quiet, note
from weightstring.protocol import LossProblem
from weightstring.runs.estimate import PATIENCE
from weightstring.runs.showing import EVERY
from weightstring.text import seconds_in_words


def foretell(problem: LossProblem, theta: Theta, what: str, evaluations: int, least: bool = False) -> None:
    """Say how long so many evaluations take, where a person would wait: one is measured for it, a dear one twice.

    Args:
        problem: the loss.
        theta: a model (P,).
        what: the work, in words.
        evaluations: models that are measured.
        least: whether there may be more.
    """
    if is_quiet():
        return
    each = math.inf
    for _ in range(2):  # the first also chooses an engine; where even that is short, there is nothing to say
        if each * evaluations <= PATIENCE:
            return
        started = time.perf_counter()
        problem.measure(theta.unsqueeze(0))
        each = time.perf_counter() - started
    if each * evaluations > PATIENCE:
        how = "at least" if least else "some"
        note(
            f"{what}: {how} {seconds_in_words(each * evaluations)}, "
            f"{evaluations} evaluations of {seconds_in_words(each)}"
        )


class Pace:
    """Time left of alike parts, by what those that are done have taken."""

    def __init__(self) -> None:
        self._started = time.monotonic()

    def left(self, done: int, of: int) -> str:
        """In words; nothing where none is done, or where it is less than a second.

        >>> Pace().left(0, 9), Pace().left(9, 9)
        ('', '')
        """
        seconds = (time.monotonic() - self._started) / done * (of - done) if done else 0.0
        return f"{seconds_in_words(seconds)} left" if seconds >= 1 else ""


@contextmanager
def telling() -> Iterator[Callable[[int, int, float], None]]:
    """Says how far a proof is, and how long the intervals that wait take at least: a line that goes when it ends."""
    from weightstring.runs.progress import rewritable

    shown, told, pace, rewrites = 0.0, time.monotonic(), Pace(), rewritable()

    def tell(done: int, waiting: int, largest: float) -> None:
        nonlocal shown, told
        left = pace.left(done, done + waiting)
        words = f"{done} intervals proved, {waiting} waiting, bound {largest:.6g}" + (left and f"; at least {left}")
        now = time.monotonic()
        if is_quiet():
            return
        if rewrites and now - shown > 0.2:
            shown = now
            print(f"\r{words}\x1b[K", end="", file=sys.stderr)
        elif not rewrites and now - told >= EVERY:
            told = now
            note(words)

    try:
        yield tell
    finally:
        if shown:
            print("\r\x1b[K", end="", file=sys.stderr)


@contextmanager
def counting(what: str) -> Iterator[Callable[[int, int], None]]:
    """Is told how many of how many are done: a bar and the time left on a terminal, elsewhere a line a minute."""
    from weightstring.runs.progress import rewritable, terminal

    pace, told = Pace(), time.monotonic()

    def tell(done: int, of: int) -> None:
        nonlocal told
        if time.monotonic() - told >= EVERY:
            told, left = time.monotonic(), pace.left(done, of)
            note(f"{what}: {done} of {of}" + (left and f"; {left}"))

    if is_quiet() or not rewritable():
        yield tell
        return

    with terminal() as progress:
        bar = progress.add_task(what, total=None)

        def move(done: int, of: int) -> None:
            left = pace.left(done, of)
            words = f"{what}: {done} of {of}" + (left and f", {left}")
            progress.update(bar, completed=done, total=of, description=words)

        yield move
