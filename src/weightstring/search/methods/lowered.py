"""Aim far below the threshold: a string under a lower one is a string under it too.

Beads that stop just under the threshold may stand at the rim of a plateau that lies just above it, such as that of a
ReLU network whose units are all dead for an example: the segments between them cross it, and no descent leads down
from there. Beads that lie far lower have left it behind.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

from weightstring.errors import InvalidSetting
from weightstring.path import Reason
from weightstring.search.composite import Composite, Rest, Stage
from weightstring.search.methods.greedy import Greedy
from weightstring.search.strategy import Strategy, require_numbers
from weightstring.search.string import Query


@dataclass(frozen=True)
class Lowered(Composite[Stage]):
    """A strategy that searches under a lower threshold than is asked for: e + share · (L0 − e), e the higher end.

    Args:
        strategy: what searches there.
        share: in (0, 1).

    Raises:
        InvalidSetting: the share is out of range.

    >>> Lowered(Greedy(), share=0.1).strategy.alpha
    0.95
    """

    strategy: Strategy[Any] = field(default_factory=Greedy)
    share: float = 0.5

    def __post_init__(self) -> None:
        require_numbers(self, ("share",))
        if not 0 < self.share < 1:
            raise InvalidSetting(f"Lowered(share={self.share}): give a share of the excess over the ends in (0, 1)")

    def start(self, query: Query) -> Stage:
        """The search under the lower threshold begins."""
        higher = max(end.value for end in query.ends)
        level = higher + self.share * (query.threshold - higher)
        return self.settled(Stage(query, self.strategy, self.strategy.start(replace(query, threshold=level))))

    def following(self, stage: Stage, reason: Reason | None) -> Stage | None:
        """The string that was found loses the beads that it does not need under the real threshold."""
        if reason or stage.number:
            return None
        string = stage.string.passed_on(stage.query, stage.string.chain)
        return replace(stage, strategy=Rest(), search=string, number=1)
