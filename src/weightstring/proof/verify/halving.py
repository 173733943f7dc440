"""One interval of a certificate, proved again: halved until each part of it is."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from weightstring.proof.certificate import Piece

MOST_PARTS = 1 << 14
"""Parts into which an interval is cut, at most."""

PATIENCE = 4
"""How many times more often than they prove an interval generators may fail."""

AGAIN = 8
"""At every so many intervals the plain bound goes first again."""

Bound = Callable[[int, float, float], float]
"""(segment, low, high) → an upper bound there."""


@dataclass
class Bounds:
    """Two bounds, of which the one that is nearer for its price goes first.

    By generators deep networks are bounded many times nearer, at up to twice the price, and others as the plain bound
    does. So they are tried where that does not prove an interval, and go first from where they did.

    Args:
        plain: without generators.
        finer: with them; None: there are none.

    >>> bounds = Bounds(lambda segment, low, high: 4 * (high - low), lambda segment, low, high: high - low)
    >>> [bounds.prove(0, 0.0, high, 1.0) for high in (1.0, 2.0, 0.25)], bounds.finer_first
    ([True, False, True], True)
    """

    plain: Bound
    finer: Bound | None = None
    finer_first: bool = False
    patience: int = PATIENCE
    asked: int = 0

    def prove(self, segment: int, low: float, high: float, target: float) -> bool:
        """Whether either shows that nothing on the interval is above the target."""
        self.asked += 1
        finer = self.finer if self.patience > 0 else None
        if finer is None or not self.finer_first or self.asked % AGAIN == 0:
            if self.plain(segment, low, high) <= target:
                self.finer_first = False
                return True
            if finer is None:
                return False
        proved = finer(segment, low, high) <= target
        self.patience += 1 if proved else -1
        self.finer_first |= proved
        return proved


def failure_of(piece: Piece, bounds: Bounds, deadline: float) -> str | None:
    """What is wrong with an interval; None if its bound is proved."""
    waiting = [(piece.low, piece.high)]
    where = f"segment {piece.segment}, t from {piece.low:.6g} to {piece.high:.6g}"
    parts = 1
    while waiting:
        low, high = waiting.pop()
        if bounds.prove(piece.segment, low, high, piece.bound):
            continue
        middle = (low + high) / 2
        value = bounds.plain(piece.segment, middle, middle)
        if not value <= piece.bound:
            said = "refuted: the value" if not value <= piece.bound + 1e-6 * abs(piece.bound) else "not proved: a bound"
            return f"{said} at t = {middle:.6g} is {value!r}, above the bound {piece.bound!r} of {where}"
        parts += 1
        if parts > MOST_PARTS or not low < middle < high or time.perf_counter() > deadline:
            return f"not proved in {parts} parts or in time: the bound {piece.bound!r} of {where}"
        waiting += [(low, middle), (middle, high)]
    return None
