"""What a step costs, by how many models take it: whether more of them could be taken along.

Where most of a step is overhead, twice as many models take little longer. That differs from engine to engine and from
problem to problem, so it is measured. It decides what is begun before it is due, never what comes of it.
"""

from __future__ import annotations

import math

WORTH = 1.25
"""By how much longer a step of twice as many models may take."""


class Pace:
    """The least seconds of a step so far, by the models that took it in powers of 2.

    >>> pace = Pace()
    >>> pace.note(3, 0.001), pace.has_room(3)
    (None, True)
    >>> pace.note(7, 0.002), pace.has_room(3), pace.has_room(7)
    (None, False, True)
    """

    def __init__(self) -> None:
        self._least: dict[int, float] = {}

    def note(self, models: int, seconds: float) -> None:
        """Take in what a step of so many models took."""
        power = (models - 1).bit_length()
        self._least[power] = min(seconds, self._least.get(power, math.inf))

    def has_room(self, models: int) -> bool:
        """Whether twice as many would take little longer, as far as is known."""
        power = (models - 1).bit_length()
        now, then = self._least.get(power), self._least.get(power + 1)
        return now is None or then is None or then <= WORTH * now
