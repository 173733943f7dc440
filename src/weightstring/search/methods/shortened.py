"""Shorten a string under the threshold that it was found for.

A search bounds the length of the shortest path, the paper's central measure, only from above. Once a string is
there, another is looked for between the same ends by even steps (:mod:`weightstring.search.methods.even`), and the
shorter of the two is taken and made shorter still (:mod:`weightstring.search.methods.shortening`). That takes many
times as long as the search; quickly, the string that was found is drawn tight alone
(:mod:`weightstring.search.methods.tightening`).
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

from weightstring.errors import InvalidSetting
from weightstring.path import Reason
from weightstring.search.chain import Chain, length
from weightstring.search.composite import Around, Stage
from weightstring.search.methods.even import Even
from weightstring.search.methods.greedy import Greedy
from weightstring.search.methods.shortening import Shortening
from weightstring.search.methods.tightening import Tightening
from weightstring.search.strategy import Strategy, require_numbers
from weightstring.search.string import Query, String


@dataclass(frozen=True)
class Shorter(Stage):
    """The search for a string, another by even steps once it was found, and the work on the shorter one.

    Args:
        found: the string that the search has found.
    """

    found: String | None = None

    @property
    def string(self) -> String:
        """The search's string, until the work on the shorter one begins."""
        string = super().string
        if self.found is None:
            return string
        shown = string.chain if self.number == 2 else self.found.chain
        passed_on = self.found.passed_on(self.query, shown) if self.number == 2 else self.found
        return replace(passed_on, length_before=length(self.found.chain))


@dataclass(frozen=True)
class Shortened(Around[Shorter]):
    """A strategy whose string is shortened afterwards.

    Args:
        strategy: what finds the string.
        again: whether another is looked for by even steps.
        tolerance: a cycle that shortens the string by less than this share is the last.
        cycles: cycles at most.
        most: no corner is cut on a string of so many beads.
        alpha: relaxed beads aim at α L0.
        quick: whether the string is drawn tight and nothing else is done; the other settings count for nothing then.

    Raises:
        InvalidSetting: a setting is out of range.

    >>> Shortened(Greedy(alpha=0.9)).strategy.alpha
    0.9
    """

    strategy: Strategy[Any] = field(default_factory=Greedy)
    again: bool = True
    tolerance: float = 0.01
    cycles: int = 20
    most: int = 64
    alpha: float = 0.95
    quick: bool = False

    def __post_init__(self) -> None:
        require_numbers(self, ("tolerance", "cycles", "most", "alpha"))
        if not 0 < self.tolerance < 1 or not 0 < self.alpha <= 1 or self.cycles < 1 or self.most < 2:
            raise InvalidSetting(
                f"Shortened(tolerance={self.tolerance}, cycles={self.cycles}, most={self.most}, alpha={self.alpha}): "
                "give a share in (0, 1), at least 1 cycle, at least 2 beads, and alpha in (0, 1]"
            )

    def start(self, query: Query) -> Shorter:
        """The search begins."""
        return self.settled(Shorter(query, self.strategy, self.strategy.start(query)))

    def following(self, stage: Shorter, reason: Reason | None) -> Shorter | None:
        """Another search, if the first has found a string that is not straight; then the work on the shorter one."""
        if stage.number == 2 or (reason and stage.number == 0):
            return None
        chain = stage.search.string.chain
        if stage.found is not None:
            kept = stage.found.chain
            return self._worked(stage, kept if reason else min(kept, chain, key=length))
        stage = replace(stage, found=stage.string)
        if self.quick:
            tight = Tightening()
            return replace(stage, strategy=tight, search=tight.begun(stage.query, chain), number=2)
        if len(chain) == 1 or not self.again:
            return self._worked(stage, chain)
        ends = (chain[0].left, chain[-1].right)  # where free ones have come to
        even = Even(alpha=self.alpha)
        return replace(stage, strategy=even, search=even.start(replace(stage.query, ends=ends)), number=1)

    def _worked(self, stage: Shorter, chain: Chain) -> Shorter:
        work = Shortening(self.tolerance, self.cycles, self.most, self.alpha)
        return replace(stage, strategy=work, search=work.begun(stage.query, chain), number=2)
