"""Short strings: beads that descend by steps of one length.

How long a string is, is largely the optimizer's: one that scales each coordinate moves a bead in every direction that
has the least gradient, and none of that way leads down. The steepest way does, and steps of one length, a small share
of the segment's, do not pass the threshold by far, however steep the loss is.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from weightstring.descent import Start
from weightstring.search.chain import Link
from weightstring.search.jobs import Descend
from weightstring.search.methods.greedy import Greedy
from weightstring.search.strategy import Strategy
from weightstring.search.string import String

STRIDE = 1 / 128
"""Length of a step, as a share of the distance of a bead's neighbours."""


@dataclass(frozen=True)
class Even(Greedy):
    """Greedy Dynamic String Sampling by even steps, see :attr:`weightstring.Recipe.even`, whatever the recipe says.

    The settings are those of :class:`~weightstring.search.methods.greedy.Greedy`.

    Raises:
        InvalidSetting: a setting is out of range.

    >>> Even().alpha
    0.95
    """

    def descent(self, string: String, link: Link) -> Descend:
        """The next descent for an open link, by even steps."""
        start = super().descent(string, link).descent
        assert isinstance(start, Start)
        return evenly(start, link.segment.length)

    @classmethod
    def compared(cls, name: str) -> Mapping[str, Strategy[Any]]:
        """Nothing: it is what shortens the strings of the others."""
        return {}


def evenly(start: Start, distance: float) -> Descend:
    """A descent by steps of about :data:`STRIDE` times a distance.

    Lengths are powers of 2: descents of one length share an optimizer's step.
    """
    length = max(start.rate * STRIDE * distance, sys.float_info.min)
    return Descend(replace(start, rate=2.0 ** round(math.log2(length))), "even")
