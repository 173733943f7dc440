"""Lower the ends first, within the threshold: what lies between two low models is easier to find.

An end that was trained until it reached L0 stands on the rim of the set where the loss is at most L0. There the set may
be narrow and curved, and descents from beside it lead elsewhere; beads crowd. Further down there is room. So each end A
gets a leg A, A1, A2, …: beads by descent, each a step lower than the last, the segments between them under L0. A
strategy searches between the lowest beads of both legs. Leg, string and leg are one string from end to end.

A step that leads to a segment over L0 is taken again, a quarter as long and at a quarter of the learning rate: along a
gradient small enough steps stay below where they start.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from weightstring.descent import Descended, Start
from weightstring.errors import InvalidSetting
from weightstring.path import Reason, no_worse
from weightstring.search import pruning
from weightstring.search.chain import Bead, Chain, Link
from weightstring.search.composite import Composite, Rest, Stage
from weightstring.search.jobs import Descend, Job, JobResult, Measured
from weightstring.search.methods.greedy import Greedy
from weightstring.search.pruning import Pruning
from weightstring.search.starts import aim
from weightstring.search.strategy import Strategy, require_numbers
from weightstring.search.string import Query, String

FIRST = 1 / 4
"""The first step, as a share of the way down."""
SHORTEST = 1 / 256
"""The shortest step."""
SHORTER = 4
"""By how much a step is shorter than one that failed."""


@dataclass(frozen=True)
class Leg:
    """The way down from an end.

    Args:
        end: where it begins.
        chain: its links, under the threshold, from the end down.
        step: the next step, as a share of the way from the end to the level aimed at.
        rate: factor on the learning rate of the next descent.
        tried: descents so far; names the next bead.
        link: the segment to the bead that was found last, not measured yet.
        thinning: the leg while it loses the beads that it does not need; the leg is over then.
    """

    end: Bead
    chain: Chain = ()
    step: float = FIRST
    rate: float = 1.0
    tried: int = 0
    link: Link | None = None
    thinning: Pruning | None = None

    @property
    def lowest(self) -> Bead:
        """Where it has come to."""
        return self.chain[-1].right if self.chain else self.end

    def jobs(self, level: float, threshold: float) -> tuple[Job, ...]:
        """Go a step lower, measure the segment to there, or what can be left out."""
        if self.thinning is not None:
            return pruning.propose(self.thinning)
        if self.link is not None:
            return (self.link.measure(threshold),)
        here = self.lowest
        down = max(level, here.value - self.step * (self.end.value - level))
        return (Descend(Start(here.theta, down, down, f"{self.end.name}/down{self.tried}", self.rate, here.value)),)

    def after(self, results: Mapping[str, JobResult], level: float, threshold: float) -> Leg:
        """The leg after a round."""
        if self.thinning is not None:
            thinner = pruning.absorb(self.thinning, results)
            return replace(self, thinning=thinner, chain=thinner.chain)
        if self.link is not None:
            return self._measured(results[self.link.name], level, threshold)
        found = results[f"{self.end.name}/down{self.tried}"]
        assert isinstance(found, Descended)
        bead = Bead(f"{self.end.name}.{self.tried}", found.theta, found.value)
        more = replace(self, tried=self.tried + 1)
        if not found.value < self.lowest.value:
            return more._shorter(threshold)
        return replace(more, link=Link(self.lowest, bead))

    def _measured(self, result: JobResult, level: float, threshold: float) -> Leg:
        assert isinstance(result, Measured)
        assert self.link is not None
        if not result.accepted:
            return replace(self, link=None)._shorter(threshold)
        longer = replace(self, chain=(*self.chain, replace(self.link, measured=result)), link=None)
        if no_worse(longer.lowest.value, level):
            return longer.over(threshold)
        return replace(longer, step=min(1.0, 2 * self.step), rate=min(1.0, 2 * self.rate))

    def _shorter(self, threshold: float) -> Leg:
        shorter = replace(self, step=self.step / SHORTER, rate=self.rate / SHORTER)
        return shorter if shorter.step >= SHORTEST else self.over(threshold)

    def over(self, threshold: float) -> Leg:
        """The leg as it is, but for beads that it does not need."""
        return replace(self, link=None, thinning=Pruning(self.chain, threshold, {}))

    @property
    def done(self) -> bool:
        """Whether nothing is left to do."""
        return self.thinning is not None and not pruning.propose(self.thinning)


@dataclass(frozen=True)
class Legs:
    """Both legs: the state of the way down."""

    query: Query
    legs: tuple[Leg, Leg]

    @property
    def done(self) -> bool:
        """Whether both are."""
        return all(leg.done for leg in self.legs)

    @property
    def string(self) -> String:
        """The legs and what lies between them at first."""
        first, second = (leg.lowest for leg in self.legs)
        between = replace(self.query, ends=(first, second)).first
        return String(self.query, self.around(between), self.query.threshold, prunes=False)

    def around(self, between: Chain) -> Chain:
        """Leg, string and leg."""
        first, second = (leg.chain for leg in self.legs)
        return (*first, *between, *(_reversed(link) for link in reversed(second)))


@dataclass(frozen=True)
class _Down(Strategy[Legs]):
    """The way down: legs, nothing between them."""

    alpha: float
    anyway: bool

    def start(self, query: Query) -> Legs:
        """Both legs begin; one whose end is low already is over."""
        low = aim(query.threshold, self.alpha)
        legs = (Leg(end) for end in query.ends)
        first, second = (leg.over(query.threshold) if no_worse(leg.end.value, low) else leg for leg in legs)
        return Legs(query, (first, second))

    def propose(self, state: Legs) -> tuple[Job, ...]:
        """The next step of each leg."""
        level, threshold = aim(state.query.threshold, self.alpha), state.query.threshold
        return tuple(job for leg in state.legs if not leg.done for job in leg.jobs(level, threshold))

    def absorb(self, state: Legs, results: Mapping[str, JobResult]) -> Legs:
        """The legs grow."""
        level, threshold = aim(state.query.threshold, self.alpha), state.query.threshold
        first, second = (leg if leg.done else leg.after(results, level, threshold) for leg in state.legs)
        return replace(state, legs=(first, second))

    def give_up(self, state: Legs) -> Reason | None:
        """``descent_failed`` where neither end was lowered, if that was all that was wanted."""
        lowered = any(leg.chain for leg in state.legs)
        return "descent_failed" if state.done and not lowered and not self.anyway else None


@dataclass(frozen=True)
class Between(Stage):
    """The search under way, and the legs on both sides of it once they are there."""

    legs: Legs | None = None

    @property
    def string(self) -> String:
        """The string from end to end."""
        own = super().string
        if self.legs is None:
            return own
        best = None if own.best is None else self.legs.around(own.best)
        return replace(own, query=self.query, chain=self.legs.around(own.chain), best=best)


@dataclass(frozen=True)
class LowerEnds(Composite[Between]):
    """A strategy that searches from ends that were lowered first, along paths under the threshold.

    Args:
        strategy: what searches between the lowered ends.
        alpha: in (0, 1); the ends are lowered to α L0, or as far as descents lead. One that is as low already stays.
        anyway: search also where neither end was lowered. Where the strategy itself has failed already, as in
            ``Persistent``, that would be the same search once more.

    Raises:
        InvalidSetting: α is out of range.

    >>> LowerEnds(Greedy(), alpha=0.25).strategy.alpha
    0.95
    """

    strategy: Strategy[Any] = field(default_factory=Greedy)
    alpha: float = 0.5
    anyway: bool = True

    def __post_init__(self) -> None:
        require_numbers(self, ("alpha",))
        if not 0 < self.alpha < 1:
            raise InvalidSetting(f"LowerEnds(alpha={self.alpha}): give a share of the threshold in (0, 1)")

    def start(self, query: Query) -> Between:
        """Both legs begin."""
        down = _Down(self.alpha, self.anyway)
        return self.settled(Between(query, down, down.start(query)))

    def following(self, stage: Between, reason: Reason | None) -> Between | None:
        """After the legs the search between them, after that the whole string, which loses superfluous beads."""
        if reason or isinstance(stage.strategy, Rest):
            return None
        if stage.legs is not None:
            string = stage.string.passed_on(stage.query, stage.string.chain)
            return Between(stage.query, Rest(), string, number=2)
        legs = stage.search
        assert isinstance(legs, Legs)
        first, second = (leg.lowest for leg in legs.legs)
        search = self.strategy.start(replace(stage.query, ends=(first, second)))
        return Between(stage.query, self.strategy, search, number=1, legs=legs)


def _reversed(link: Link) -> Link:
    """The same segment from its other end."""
    return replace(link, left=link.right, right=link.left, measured=link.measured and link.measured.reversed)
