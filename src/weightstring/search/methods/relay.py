"""Two strategies in turn: what one leaves behind is the other's first string.

The straight segment is but one place to begin from. A fitted curve, or a string that sank as a whole, may pass round
what lies between the ends on the straight way, though it is over the threshold somewhere itself.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

from weightstring.errors import InvalidSetting
from weightstring.path import Reason
from weightstring.search.chain import maximum
from weightstring.search.composite import Composite, Stage
from weightstring.search.methods.curves import Bezier
from weightstring.search.methods.greedy import Greedy
from weightstring.search.strategy import Onward, Strategy
from weightstring.search.string import Query, String


@dataclass(frozen=True)
class Turn(Stage):
    """The search whose turn it is, and the string that the one before it left."""

    left: String | None = None

    @property
    def string(self) -> String:
        """The search's string; to show the one that was left, as long as that is lower."""
        string = super().string
        if self.left is None or maximum(self.left.shown) >= maximum(string.shown):
            return string
        return replace(string, best=self.left.shown)


@dataclass(frozen=True)
class Relay(Composite[Turn]):
    """Let one strategy search, and where it fails, another from the best string that it has left.

    Args:
        first: the strategy that begins.
        then: the one that goes on; it must be able to begin from any string, as ``Greedy`` can.

    Raises:
        InvalidSetting: the second cannot.

    >>> Relay(Bezier(bends=3), Greedy()).then.alpha
    0.95
    """

    first: Strategy[Any] = field(default_factory=Bezier)
    then: Strategy[Any] = field(default_factory=Greedy)

    def __post_init__(self) -> None:
        if not isinstance(self.then, Onward):
            raise InvalidSetting(
                f"Relay(then={type(self.then).__name__}(...)): it can begin from the straight segment alone; "
                "pass one with a method onward(task, chain), such as Greedy"
            )

    def start(self, query: Query) -> Turn:
        """The first begins."""
        return self.settled(Turn(query, self.first, self.first.start(query)))

    def following(self, stage: Turn, reason: Reason | None) -> Turn | None:
        """Where the first fails, the second begins."""
        if stage.number or not reason:
            return None
        assert isinstance(self.then, Onward)
        search = self.then.onward(stage.query, stage.string.shown)
        return replace(stage, strategy=self.then, search=search, number=1, left=stage.string)

    def after(self, stage: Turn, reason: Reason) -> Turn | None:
        """The second, too, where the first is ended for want of room for its beads."""
        return super().after(stage, reason) or self.following(stage, reason)

    def give_up(self, stage: Turn) -> Reason | None:
        """Where the second does; the first's failure ends nothing."""
        return super().give_up(stage) if stage.number else None
