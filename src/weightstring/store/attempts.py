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
    found: list[Attempt] = []
    for one in history:
        if one.attempt is None:
            continue
        if one.ended is not None and found:
            found[-1] = found[-1]._replace(ended=one.ended)
        if one.ended is not None or not found:
            found.append(Attempt(one.attempt, None, 0))
        found[-1] = found[-1]._replace(name=one.attempt, steps=found[-1].steps + one.steps)
    return tuple(found)


def told(found: Sequence[Attempt], connected: bool) -> str | None:
    """What was tried, in one line; None where the first attempt was the only one.

    >>> told([Attempt("as asked", "stalled", 90), Attempt("the midpoint", None, 40)], connected=True)
    'found by the midpoint (40 steps), after: as asked (stalled, 90 steps)'
    """
    if len(found) < 2:
        return None
    *before, last = found
    failed = "; ".join(f"{one.name} ({one.ended}, {one.steps} steps)" for one in before)
    return (
        f"found by {last.name} ({last.steps} steps), after: {failed}"
        if connected
        else f"tried in vain: {failed}; {last.name} ({last.steps} steps)"
    )
