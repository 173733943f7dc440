"""A search that fails is tried in other ways (Section II.D: what a failure says is that this attempt failed).

The first attempt is the strategy itself, so that a search that succeeds is what it is without the others. Each of these
answers one way in which searches fail:

- *lower ends*: the ends stand on the rim of the set under the threshold (``lower_ends``).
- *a lower aim*: beads that stop just under the threshold stand at the rim of a plateau (``lowered``). It also makes a
  higher threshold no harder than a lower one: what connects under that is tried under this.
- *the midpoint*: t* leads back into the same dead end, again and again.
- *another optimizer*: descents creep, or circle about what they look for.
- *a string that sinks first* and *a Bézier fit first*: the straight way leads nowhere; another first string may.
- *more room*: depth and beads ran out while the string still came lower.

That one attempt ends and another begins stands in the journal. The attempts share the limits of the search. Beads that
crowd end an attempt as well, but the last.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

from weightstring.errors import InvalidSetting
from weightstring.path import Reason
from weightstring.search.chain import Chain, maximum
from weightstring.search.composite import Around, Stage
from weightstring.search.methods.breadth_first import BreadthFirst
from weightstring.search.methods.curves import Bezier
from weightstring.search.methods.greedy import Greedy
from weightstring.search.methods.lower_ends import LowerEnds
from weightstring.search.methods.lowered import Lowered
from weightstring.search.methods.relay import Relay
from weightstring.search.methods.reoptimized import Reoptimized
from weightstring.search.rounds import due
from weightstring.search.strategy import Onward, Strategy, require_numbers
from weightstring.search.string import Query, String

FIRST = "as asked"
"""The name of the first attempt."""


@dataclass(frozen=True)
class Attempt(Stage):
    """The attempt under way, counted from 0.

    Args:
        lowest: of the attempts before it, the string of the one that came lowest,
        ended: and why that ended.
    """

    lowest: String | None = None
    ended: Reason | None = None

    @cached_property
    def lower(self) -> String | None:
        """The string of an earlier attempt, where none since came lower."""
        if self.lowest is None or maximum(self.lowest.shown) >= maximum(self.search.string.shown):
            return None
        return self.lowest

    @cached_property
    def string(self) -> String:  # asked for several times a round
        """The attempt's string; to show the best of all attempts, with its evidence."""
        string, lower = self.search.string, self.lower
        return replace(lower, chain=string.chain, level=string.level, best=lower.shown) if lower else string


@dataclass(frozen=True)
class Persistent(Around[Attempt]):
    """A strategy, and what is tried where it fails.

    Args:
        strategy: the first attempt.
        others: the further attempts, in order, each by a name in words; None: those that suit the strategy, see
            :mod:`weightstring.search.methods.persistent`.
        beads: of an attempt, ends counted; the next begins where a round could exceed them. The last one has as many
            as the limits of the search allow.

    Raises:
        InvalidSetting: the attempts are no strategies by name, or there is no room for a bead.

    >>> list(Persistent(Greedy()).others)[:2]
    ['lower ends', 'a lower aim']
    """

    strategy: Strategy[Any] = field(default_factory=Greedy)
    others: Mapping[str, Strategy[Any]] | None = None
    beads: int = 64

    def __post_init__(self) -> None:
        require_numbers(self, ("beads",))
        if self.beads < 2:
            raise InvalidSetting(f"Persistent(beads={self.beads}): a string has at least its two ends")
        others = usual(self.strategy) if self.others is None else self.others
        if not isinstance(others, Mapping) or not all(isinstance(other, Strategy) for other in others.values()):
            raise InvalidSetting(f"Persistent(others={others!r:.80}): give strategies by name, {{'a lower aim': ...}}")
        if {FIRST, "name"} & others.keys():
            raise InvalidSetting(f"Persistent(others={list(others)}): call none of them {FIRST!r} or 'name'")
        object.__setattr__(self, "others", dict(others))

    @property
    def _attempts(self) -> list[tuple[str, Strategy[Any]]]:
        assert self.others is not None
        return [(FIRST, self.strategy), *self.others.items()]

    def start(self, query: Query) -> Attempt:
        """The first attempt begins."""
        return Attempt(query, self.strategy, self.strategy.start(query))

    def onward(self, query: Query, chain: Chain) -> Attempt:
        """The first attempt begins from this string, if it can."""
        first = self.strategy
        return Attempt(query, first, first.onward(query, chain) if isinstance(first, Onward) else first.start(query))

    def settled(self, stage: Attempt) -> Attempt:
        """The attempt itself: that the next one begins is written down, see :meth:`after`."""
        return stage

    def following(self, stage: Attempt, reason: Reason | None) -> Attempt | None:
        """The next attempt, where this one has failed."""
        number = stage.number + 1
        if reason is None or number == len(self._attempts):
            return None
        lowest, ended, string = stage.lowest, stage.ended, stage.search.string
        if lowest is None or maximum(string.shown) < maximum(lowest.shown):
            lowest, ended = string, reason
        strategy = self._attempts[number][1]
        return Attempt(stage.query, strategy, strategy.start(stage.query), number, f"{number}:", lowest, ended)

    def after(self, stage: Attempt, reason: Reason) -> Attempt | None:
        """The attempt has failed: it has another way itself, or the next one begins."""
        return super().after(stage, reason) or self.following(stage, reason)

    def attempt(self, stage: Attempt) -> str:
        """Its name."""
        return self._attempts[stage.number][0]

    def give_up(self, stage: Attempt) -> Reason | None:
        """Where the attempt under way does; of the last one, for the reason of the attempt that came lowest."""
        reason = super().give_up(stage)
        if stage.number + 1 < len(self._attempts):
            return reason or ("beads" if self._crowded(stage) else None)
        return stage.ended if reason and stage.lower else reason

    def _crowded(self, stage: Attempt) -> bool:
        """Whether the attempt's next round could exceed its beads."""
        beads = len(stage.string.chain) + 1
        jobs = due(stage.strategy, stage.search)
        growing = any(job.descends for job in jobs)
        return growing and beads + sum(job.adds(beads) for job in jobs) > self.beads


def usual(strategy: Strategy[Any]) -> dict[str, Strategy[Any]]:
    """What is tried where a strategy fails.

    >>> usual(BreadthFirst())
    {'by greedy search': Greedy(...)}
    """
    if not isinstance(strategy, Greedy):
        return {"by greedy search": Greedy()}
    lower = replace(strategy, alpha=min(strategy.alpha, LOWER))
    return {
        "lower ends": LowerEnds(strategy, anyway=False),
        "a lower aim": Lowered(lower, 0.5),
        "a far lower aim": Lowered(lower, 0.05),
        "the midpoint": LowerEnds(replace(strategy, insert="midpoint")),
        "another optimizer": Reoptimized(strategy),
        "a string that sinks first": Relay(BreadthFirst(), strategy),
        "a Bézier fit first": Relay(Bezier(bends=3), strategy),
        "more room": LowerEnds(
            replace(strategy, max_depth=2 * strategy.max_depth, stall_depths=2 * strategy.stall_depths)
        ),
    }


LOWER = 0.5
"""α of the attempts that aim lower."""
