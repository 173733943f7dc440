"""A search that fails is tried in other ways (Section II.D: what a failure says is that this attempt failed).

The first attempt is the strategy itself, so that a search that succeeds is what it is without the others. Each of these
answers one way in which searches fail:

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
from typing import Any

from weightstring.errors import InvalidSetting
from weightstring.path import Evidence, Reason
from weightstring.search.chain import Chain, maximum
from weightstring.search.jobs import Descend, Evolve, Job, Result, renamed
from weightstring.search.methods.breadth_first import BreadthFirst
from weightstring.search.methods.curves import Bezier
from weightstring.search.methods.greedy import Greedy
from weightstring.search.methods.lowered import Lowered
from weightstring.search.methods.relay import Relay
from weightstring.search.methods.reoptimized import Reoptimized
from weightstring.search.strategy import Onward, Persists, Strategy, Task, require_numbers

FIRST = "as asked"
"""The name of the first attempt."""


@dataclass(frozen=True)
class Ended:
    """An attempt that failed: why, its best string, and where it stood."""

    reason: Reason
    best: Chain
    evidence: Evidence


@dataclass(frozen=True)
class PersistentState:
    """The attempt under way, counted from 0, and the one before it that came lowest."""

    task: Task
    search: Any
    number: int = 0
    lowest: Ended | None = None


@dataclass(frozen=True)
class Persistent:
    """A strategy, and what is tried where it fails.

    Args:
        strategy: the first attempt.
        others: the further attempts, in order, each by a name in words; None: those that suit the strategy, see
            :mod:`weightstring.search.methods.persistent`.
        beads: of an attempt, ends counted; the next begins where a round could exceed them. The last one has as many
            as the limits of the search allow.

    Raises:
        InvalidSetting: the attempts are no strategies by name, or there is no room for a bead.

    >>> list(Persistent(Greedy()).others)[0]
    'a lower aim'
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

    def _runs(self, state: PersistentState) -> Strategy[Any]:
        return self._attempts[state.number][1]

    @property
    def frees_ends(self) -> bool:
        """Whether the strategy lets the ends move."""
        return bool(getattr(self.strategy, "frees_ends", False))

    def start(self, task: Task) -> PersistentState:
        """The first attempt begins."""
        return PersistentState(task, self.strategy.start(task))

    def onward(self, task: Task, chain: Chain) -> PersistentState:
        """The first attempt begins from this string, if it can."""
        first = self.strategy
        return PersistentState(task, first.onward(task, chain) if isinstance(first, Onward) else first.start(task))

    def propose(self, state: PersistentState) -> tuple[Job, ...]:
        """What the attempt under way proposes, at places of its own."""
        jobs = self._runs(state).propose(state.search)
        return tuple(renamed(job, _prefix(state) + job.name) for job in jobs)

    def absorb(self, state: PersistentState, results: Mapping[str, Result]) -> PersistentState:
        """The attempt goes on."""
        named = {name.removeprefix(_prefix(state)): result for name, result in results.items()}
        return replace(state, search=self._runs(state).absorb(state.search, named))

    def after(self, state: PersistentState, reason: Reason) -> PersistentState | None:
        """The attempt has failed: the next one begins."""
        runs = self._runs(state)
        if isinstance(runs, Persists) and (following := runs.after(state.search, reason)) is not None:
            return replace(state, search=following)
        if state.number + 1 == len(self._attempts):
            return None
        ended = Ended(reason, runs.best(state.search), runs.evidence(state.search))
        lowest = min((one for one in (state.lowest, ended) if one is not None), key=lambda one: maximum(one.best))
        search = self._attempts[state.number + 1][1].start(state.task)
        return PersistentState(state.task, search, state.number + 1, lowest)

    def attempt(self, state: PersistentState) -> str:
        """Its name."""
        return self._attempts[state.number][0]

    def failure(self, state: PersistentState) -> Reason | None:
        """That of the attempt under way; of the last one, that of the attempt that came lowest."""
        reason = self._runs(state).failure(state.search)
        if state.number + 1 < len(self._attempts):
            return reason or ("beads" if self._crowded(state) else None)
        return state.lowest.reason if reason and state.lowest and self._lower_before(state) else reason

    def _crowded(self, state: PersistentState) -> bool:
        """Whether the attempt's next round could exceed its beads."""
        beads = len(self.chain(state)) + 1
        jobs = self._runs(state).propose(state.search)
        grown = [job.evolution.motion.beads(len(job.evolution.thetas)) for job in jobs if isinstance(job, Evolve)]
        adding = sum(isinstance(job, Descend) for job in jobs)
        return bool(adding or grown) and max(beads, *grown, 0) + adding > self.beads

    def level(self, state: PersistentState) -> float:
        """What the attempt holds its string to."""
        return self._runs(state).level(state.search)

    def chain(self, state: PersistentState) -> Chain:
        """Its string as it stands."""
        return self._runs(state).chain(state.search)

    def best(self, state: PersistentState) -> Chain:
        """The string with the lowest maximum of all attempts."""
        best = self._runs(state).best(state.search)
        return state.lowest.best if self._lower_before(state) and state.lowest else best

    def evidence(self, state: PersistentState) -> Evidence:
        """Of the attempt whose string that is."""
        lower = self._lower_before(state) and state.lowest
        return lower.evidence if lower else self._runs(state).evidence(state.search)

    def _lower_before(self, state: PersistentState) -> bool:
        return state.lowest is not None and maximum(state.lowest.best) < maximum(self._runs(state).best(state.search))


def usual(strategy: Strategy[Any]) -> dict[str, Strategy[Any]]:
    """What is tried where a strategy fails.

    >>> usual(BreadthFirst())
    {'by greedy search': Greedy(...)}
    """
    if not isinstance(strategy, Greedy):
        return {"by greedy search": Greedy()}
    lower = replace(strategy, alpha=min(strategy.alpha, LOWER))
    return {
        "a lower aim": Lowered(lower, 0.5),
        "a far lower aim": Lowered(lower, 0.05),
        "the midpoint": replace(strategy, insert="midpoint"),
        "another optimizer": Reoptimized(strategy),
        "a string that sinks first": Relay(BreadthFirst(), strategy),
        "a Bézier fit first": Relay(Bezier(bends=3), strategy),
        "more room": replace(strategy, max_depth=2 * strategy.max_depth, stall_depths=2 * strategy.stall_depths),
    }


LOWER = 0.5
"""α of the attempts that aim lower."""


def _prefix(state: PersistentState) -> str:
    """Of the places of an attempt's jobs: an attempt draws minibatches of its own."""
    return f"{state.number}:" if state.number else ""
