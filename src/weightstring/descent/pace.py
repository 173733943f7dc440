"""What a step costs: whether it is mostly overhead, so that more models could be taken along.

That differs from engine to engine and from problem to problem, so it is measured. It decides what is begun before it is
due, never what comes of it.
"""

from __future__ import annotations

import math

FEW = 32
"""Models from which on no step counts as mostly overhead."""
SHARE = 1.25
"""How many times as long as the shortest step so far one may take that is mostly overhead."""


class Pace:
    """The seconds of the last step, and of the shortest so far.

    >>> pace = Pace()
    >>> pace.note(0.001), pace.has_room(1)
    (None, True)
    >>> pace.note(0.003), pace.has_room(4)
    (None, False)
    """

    def __init__(self) -> None:
        self._last, self._least = 0.0, math.inf

    def note(self, seconds: float) -> None:
        """Take in what a step took."""
        self._last, self._least = seconds, min(seconds, self._least)

    def has_room(self, models: int) -> bool:
        """Whether a step of so many models is mostly overhead."""
        return models < FEW and self._last <= SHARE * self._least
