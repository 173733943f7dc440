"""Breadth-first evolution (Section II.C, its second half): a whole string sinks, all beads side by side.

0. The string is the segment between two models, random or trained.
1. All beads descend to a common level, tied to their neighbours; one that is under it waits.
2. Where a segment still exceeds (1 + α1) times the level, a bead is inserted at its maximum.
3. Once every bead and every segment is low enough, beads that have become superfluous are dropped and the
   level falls; until the segments are under L0, or the string's maximum stops falling.

The *ceiling* is what segments are held to, (1 + α1) times the level; the last ceiling is L0.

Beads that do not reach a level are replaced (``replacing``). Where a level cannot be reached even so, the best string
so far is taken up again with half the fall. The lowest maximum that was reached bounds Γ (3) from above, as far as
samples can tell.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal, get_args

import torch

from weightstring.descent import Constraint, Evolution, Evolved, Tied, Updates, constraint, require_updates
from weightstring.errors import InvalidSetting
from weightstring.path import Evidence, Reason, no_worse
from weightstring.search import pruning
from weightstring.search.account import Account
from weightstring.search.chain import Bead, Chain, Link, beads_of, held_to, is_string, maximum, with_beads
from weightstring.search.jobs import Descend, Job, JobResult
from weightstring.search.methods import replacing, respacing
from weightstring.search.pruning import Pruning
from weightstring.search.starts import aim, inside
from weightstring.search.strategy import Strategy, require_numbers
from weightstring.search.string import Query, String

Ends = Literal["held", "free"]


@dataclass(frozen=True)
class BreadthFirstState(String):
    """A string that is sinking; its level is the ceiling of its segments.

    Args:
        fall: the share by which the next ceiling is to be lower.
        moves: rounds of descent so far; names the next one.
        due: whether beads are to descend before anything is measured.
        inserted: rounds of insertion at this level.
        retried: rounds of replacement at this level.
        missed: levels in succession that were not reached.
        tops: the string's maximum after each level, reached or not.
        over: how many of its segments were over the level's ceiling then.
        thinning: the string while it loses its superfluous beads.
        respaced: the string with its beads spread evenly, while that is tried.
    """

    fall: float = 0.2
    moves: int = 0
    due: bool = False
    inserted: int = 0
    retried: int = 0
    missed: int = 0
    tops: tuple[float, ...] = ()
    over: tuple[int, ...] = ()
    thinning: Pruning | None = None
    respaced: Chain | None = None

    @property
    def unmeasured(self) -> tuple[Link, ...]:
        """No link is measured before the beads have descended that are to."""
        return () if self.due else super().unmeasured

    @property
    def evidence(self) -> Evidence:
        """With the string's maximum level by level."""
        return Account(self.tops, self.over, self.account.failures, self.missed).evidence(self.shown)


@dataclass(frozen=True)
class BreadthFirst(Strategy[BreadthFirstState]):
    """Breadth-first evolution of a string.

    Args:
        alpha1: α1 > 0; segments may exceed the level of the beads by this share.
        constraint: what ties beads to their neighbours; see :mod:`weightstring.descent.constraint`.
        updates: ``"jacobi"`` (all beads move from one snapshot) or ``"red-black"`` (odd ones first).
        ends: ``"held"``, or ``"free"`` for ends that descend with the string, such as random models.
        fall: the share of the string's maximum by which the level falls from one stage to the next.
        inserts: rounds of insertion at one level, after which it counts as not reached.
        retries: how often at one level beads that did not reach it are replaced.
        respace: spread the beads evenly along the string after each level, where that stays under it.
        patience: levels in succession that are not reached until the string is stalled, and
        tolerance: the share by which its maximum must have fallen meanwhile if it is not.

    Raises:
        InvalidSetting: a setting is out of range.

    >>> BreadthFirst(ends="free").constraint
    'hyperplane'
    """

    alpha1: float = 0.05
    constraint: str | Constraint = "hyperplane"
    updates: Updates = "jacobi"
    ends: Ends = "held"
    fall: float = 0.2
    inserts: int = 4
    retries: int = 4
    respace: bool = False
    patience: int = 2
    tolerance: float = 0.02

    def __post_init__(self) -> None:
        require_numbers(self, ("alpha1", "fall", "tolerance", "inserts", "retries", "patience"))
        if not 0 < self.alpha1 < math.inf:
            raise InvalidSetting(f"BreadthFirst(alpha1={self.alpha1}): must be positive and finite")
        if not (0 < self.fall < 1 and 0 < self.tolerance < 1):
            raise InvalidSetting(
                f"BreadthFirst(fall={self.fall}, tolerance={self.tolerance}): both are shares in (0, 1)"
            )
        for name, least in (("inserts", 1), ("patience", 1), ("retries", 0)):
            if getattr(self, name) < least:
                raise InvalidSetting(f"BreadthFirst({name}={getattr(self, name)}): must be at least {least}")
        if self.ends not in get_args(Ends):
            raise InvalidSetting(f"BreadthFirst(ends={self.ends!r}): choose 'held' or 'free'")
        require_updates(self.updates)
        tie = self.constraint if isinstance(self.constraint, str) else self.constraint.name
        object.__setattr__(self, "constraint", constraint(tie).name)

    @property
    def frees_ends(self) -> bool:
        """Whether the ends may begin above the threshold, since they descend too."""
        return self.ends == "free"

    def start(self, query: Query) -> BreadthFirstState:
        """The string leads straight through what was given; its first ceiling is the threshold itself."""
        return replace(BreadthFirstState.first(query, prunes=False), fall=self.fall)

    def propose(self, state: BreadthFirstState) -> tuple[Job, ...]:
        """Spread or drop beads, where that is under way; else let them descend."""
        if state.respaced is not None:
            return respacing.propose(state.respaced, state.moves, state.level)
        if state.thinning is not None:
            return pruning.propose(state.thinning)
        return (self._evolve(state),) if state.due else ()

    def absorb(self, state: BreadthFirstState, results: Mapping[str, JobResult]) -> BreadthFirstState:
        """The string after a round."""
        if state.respaced is not None:
            respaced, judged = respacing.absorb(state.respaced, state.moves, results)
            if not judged:
                return replace(state, respaced=respaced)
            chain = respaced if is_string(respaced) else state.chain
            return self._thin(replace(state, chain=chain, respaced=None, moves=state.moves + 1))
        if state.thinning is not None:
            thinner = pruning.absorb(state.thinning, results)
            if pruning.propose(thinner):
                return replace(state, thinning=thinner)
            return self._lower(replace(state, chain=thinner.chain, thinning=None))
        evolved = results[self._move_name(state)]
        assert isinstance(evolved, Evolved)
        return self._moved(state, evolved)

    def _evolve(self, state: BreadthFirstState) -> Descend:
        """Step 1: what is over the level descends to it."""
        assert isinstance(self.constraint, str)
        beads, moving = beads_of(state.chain), self._moving(state)
        thetas, values = torch.stack([bead.theta for bead in beads]), tuple(beads[row].value for row in moving)
        motion, rate = Tied(constraint(self.constraint), self.updates), replacing.rate(state.retried)
        name, level = self._move_name(state), self._aim(state)
        return Descend(Evolution(name, thetas, moving, motion, level, state.level, STEPS, values, rate))

    def _moved(self, state: BreadthFirstState, evolved: Evolved) -> BreadthFirstState:
        """The beads are where they descended to; the segments beside them are to be measured again."""
        beads, moving = list(beads_of(state.chain)), self._moving(state)
        for row, theta, value in zip(moving, evolved.thetas, evolved.values, strict=True):
            beads[row] = Bead(f"{beads[row].name.partition('.')[0]}.{state.moves}", theta, value)
        missed = [value for value in evolved.values if not no_worse(value, state.level)]
        moved = replace(state, chain=with_beads(state.chain, beads), moves=state.moves + 1, due=False)
        moved = replace(moved, account=state.account.failed(min(missed), again=False)) if missed else moved
        return moved if moved.unmeasured else self.measured(moved)

    def measured(self, state: BreadthFirstState) -> BreadthFirstState:
        """What follows from a string that is measured on all its segments."""
        first = state.best is None
        top = maximum(state.chain)
        if first or top < maximum(state.best or ()):
            state = replace(state, best=state.chain)
        if first and not is_string(state.chain):  # the straight segment sets the first level
            return self._lower(replace(state, tops=(top,), over=(1,)))
        stuck = replacing.stuck(state.chain, state.level)
        if not stuck and is_string(state.chain):
            return self._settled(state)
        if stuck and state.retried < self.retries:
            return self._replaced(state, stuck)
        if stuck or state.inserted >= self.inserts:
            return self._missed(state)
        return self._inserted(state)

    def _inserted(self, state: BreadthFirstState) -> BreadthFirstState:
        """Step 2: a bead at the maximum of every segment over the ceiling."""
        chain: list[Link] = []
        for link in state.chain:
            if link.measured is not None and link.open:
                bead = Bead(f"{state.created}", link.segment.point(inside(link.measured.top.t)), math.inf)
                chain += link.split(bead)
                state = replace(state, created=state.created + 1)
            else:
                chain.append(link)
        return replace(state, chain=tuple(chain), inserted=state.inserted + 1, due=True)

    def _replaced(self, state: BreadthFirstState, stuck: Sequence[int]) -> BreadthFirstState:
        chain = replacing.without(state.chain, stuck, state.query.ends, state.moves)
        ends_too = not {0, len(state.chain)}.isdisjoint(stuck)
        return replace(state, chain=chain, retried=state.retried + 1, due=ends_too)

    def _settled(self, state: BreadthFirstState) -> BreadthFirstState:
        """Step 3: the level is reached."""
        fresh = replace(state, missed=0, fall=self.fall, tops=(*state.tops, maximum(state.chain)))
        fresh = replace(fresh, over=(*state.over, 0))
        if self.respace and len(state.chain) > 2:
            return replace(fresh, respaced=respacing.evenly(state.chain, state.moves))
        return self._thin(fresh)

    def _thin(self, state: BreadthFirstState) -> BreadthFirstState:
        """Drop the beads without which the string is under the next level's ceiling already."""
        following = self._next_ceiling(maximum(state.chain), state)
        thinning = Pruning(state.chain, following, {})
        if pruning.propose(thinning):
            return replace(state, thinning=thinning)
        return self._lower(state)

    def _missed(self, state: BreadthFirstState) -> BreadthFirstState:
        """The level was not reached: back to the best string, for a smaller fall."""
        opened = sum(link.open for link in state.chain)
        state = replace(
            state,
            missed=state.missed + 1,
            fall=state.fall / 2,
            tops=(*state.tops, maximum(state.chain)),
            over=(*state.over, opened),
        )
        assert state.best is not None
        return self._lower(replace(state, chain=state.best))

    def _lower(self, state: BreadthFirstState) -> BreadthFirstState:
        """The next ceiling, a share under the string's maximum but not under the threshold."""
        ceiling = self._next_ceiling(maximum(state.chain), state)
        lower = replace(state, chain=held_to(state.chain, ceiling), level=ceiling, inserted=0, retried=0)
        if self._reached_threshold(lower):
            return lower
        # Where every bead is under the new level already, the segments are not.
        return replace(lower, due=True) if self._moving(lower) else self.measured(lower)

    def _next_ceiling(self, top: float, state: BreadthFirstState) -> float:
        threshold = state.query.threshold
        if not math.isfinite(top):
            return max(threshold, 2 * max(abs(bead.value) for bead in state.query.ends))
        return max(threshold, top - state.fall * max(abs(top), top - threshold))

    def _move_name(self, state: BreadthFirstState) -> str:
        return f"descend/{state.moves}"

    def _aim(self, state: BreadthFirstState) -> float:
        return aim(state.level, 1 / (1 + self.alpha1))

    def _moving(self, state: BreadthFirstState) -> tuple[int, ...]:
        """The beads over the level; the others wait."""
        beads, level = beads_of(state.chain), self._aim(state)
        rows = range(len(beads)) if self.frees_ends else range(1, len(beads) - 1)
        return tuple(row for row in rows if not no_worse(beads[row].value, level))

    def _reached_threshold(self, state: BreadthFirstState) -> bool:
        """Whether the string is under the threshold, and as thin as it gets."""
        settled = state.thinning is None and state.respaced is None
        beads = beads_of(state.chain)
        low = all(no_worse(bead.value, state.query.threshold) for bead in beads)
        return settled and low and is_string(state.chain) and no_worse(maximum(state.chain), state.query.threshold)

    def give_up(self, state: BreadthFirstState) -> Reason | None:
        """``stalled`` once the string's maximum has stopped falling."""
        if state.missed < self.patience or state.best is None:
            return None
        then = min(state.tops[: -self.patience], default=math.inf)
        now = maximum(state.best)
        return "stalled" if now > then - self.tolerance * abs(then) or state.missed >= 3 * self.patience else None


STEPS = 10_000
"""Steps of one descent to a level at most; patience ends it earlier."""
