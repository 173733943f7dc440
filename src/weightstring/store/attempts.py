"""What a search tried in turn, told from its history."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from weightstring.path import Reason
from weightstring.store.records import RoundRecord


class Attempt(NamedTuple):
    """One of several ways in which a search was tried.

    Args:
        name: in words.
        ended: why another followed it; None for the last one.
        steps: gradient steps it took.
    """

    name: str
    ended: Reason | None
    steps: int


def attempts(history: Sequence[RoundRecord]) -> tuple[Attempt, ...]:
    """The attempts of a search, in order; none where its strategy makes but one.

    >>> attempts(())
    ()
    """
    tried: list[Attempt] = []
    for record in history:
        if record.attempt is None:
            continue
        if record.ended is not None and tried:
            tried[-1] = tried[-1]._replace(ended=record.ended)
        if record.ended is not None or not tried:
            tried.append(Attempt(record.attempt, None, 0))
        tried[-1] = tried[-1]._replace(name=record.attempt, steps=tried[-1].steps + record.steps)
    return tuple(tried)


def told(tried: Sequence[Attempt], connected: bool) -> str | None:
    """What was tried, in one line; None where the first attempt was the only one.

    >>> told([Attempt("as asked", "stalled", 90), Attempt("the midpoint", None, 40)], connected=True)
    'found by the midpoint (40 steps), after: as asked (stalled, 90 steps)'
    """
    if len(tried) < 2:
        return None
    *before, last = tried
    failed = "; ".join(f"{attempt.name} ({attempt.ended}, {attempt.steps} steps)" for attempt in before)
    return (
        f"found by {last.name} ({last.steps} steps), after: {failed}"
        if connected
        else f"tried in vain: {failed}; {last.name} ({last.steps} steps)"
    )
