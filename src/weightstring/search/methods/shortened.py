"""Shorten a string under the threshold that it was found for.

A search bounds the length of the shortest path, the paper's central measure, only from above. Once a string is
there, another is looked for between the same ends by even steps (:mod:`weightstring.search.methods.even`), and the
shorter of the two is taken. Then three moves make it shorter still, in turn until its length stops falling:

- *cut*: a corner is replaced by the chord between two points on its sides, if that is under the threshold;
- *relax*: a bead starts again half-way between where it is and the midpoint of its neighbours, on their
  hyperplane, descends there to the threshold by even steps, and stays if the string is shorter and low enough;
- *drop*: a bead whose neighbours' own segment is under the threshold goes.

Odd and even beads take turns, so that no move depends on another of the same round.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from weightstring.descent import Descended, Hyperplane, Start, Tether
from weightstring.errors import InvalidSetting
from weightstring.path import Evidence, Reason, Segment
from weightstring.search import pruning
from weightstring.search.chain import Bead, Chain, Link, beads_of
from weightstring.search.jobs import Descend, Job, Measure, Measured, Result
from weightstring.search.methods.even import Even, evenly
from weightstring.search.methods.greedy import Greedy, GreedyState
from weightstring.search.pruning import Pruning
from weightstring.search.starts import aim
from weightstring.search.strategy import Persists, Strategy, Task

PHASES = ("cut", "cut", "relax", "relax", "drop")
"""One cycle: the odd beads, the even ones, the same again, and all."""
FRACTIONS = (1 / 2, 1 / 4, 1 / 8, 1 / 16)
"""How far along its sides a corner is cut off: after a failure less."""


@dataclass(frozen=True)
class Work:
    """A string that is being shortened.

    Args:
        chain: the string.
        phase: which of :data:`PHASES` is under way, counted over all cycles.
        began: its length when the cycle began.
        created: beads made so far; names the next one.
        failed: how often a bead's corner could not be cut.
        relaxed: beads that descended and are to be measured, by the row that each is to take the place of.
        shortcuts: segments between a bead's neighbours that were measured.
        jobs: what the phase wants done.
        done: whether the length has stopped falling.
    """

    chain: Chain
    phase: int
    began: float
    created: int = 0
    failed: Mapping[str, int] = field(default_factory=dict)
    relaxed: Mapping[int, Bead] | None = None
    shortcuts: Mapping[str, Link] = field(default_factory=dict)
    jobs: tuple[Job, ...] = ()
    done: bool = False


@dataclass(frozen=True)
class ShortenedState:
    """The search for a string, another by even steps once it was found, and the work on the shorter one."""

    task: Task
    search: Any
    again: GreedyState | None = None
    work: Work | None = None
    before: float | None = None


@dataclass(frozen=True)
class Shortened:
    """A strategy whose string is shortened afterwards.

    Args:
        strategy: what finds the string.
        again: whether another is looked for by even steps.
        tolerance: a cycle that shortens the string by less than this share is the last.
        cycles: cycles at most.
        most: no corner is cut on a string of so many beads.
        alpha: relaxed beads aim at α L0.

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

    def __post_init__(self) -> None:
        if not 0 < self.tolerance < 1 or not 0 < self.alpha <= 1 or self.cycles < 1 or self.most < 2:
            raise InvalidSetting(
                f"Shortened(tolerance={self.tolerance}, cycles={self.cycles}, most={self.most}, alpha={self.alpha}): "
                "give a share in (0, 1), at least 1 cycle, at least 2 beads, and alpha in (0, 1]"
            )

    @property
    def frees_ends(self) -> bool:
        """Whether the strategy lets the ends move."""
        return bool(getattr(self.strategy, "frees_ends", False))

    def start(self, task: Task) -> ShortenedState:
        """The search begins."""
        return self._begun(ShortenedState(task, self.strategy.start(task)))

    def propose(self, state: ShortenedState) -> tuple[Job, ...]:
        """What the search proposes; afterwards the moves of the phase under way."""
        if state.again is not None:
            return self._even.propose(state.again)
        if state.work is None:
            return self.strategy.propose(state.search)
        return () if state.work.done else state.work.jobs

    def absorb(self, state: ShortenedState, results: Mapping[str, Result]) -> ShortenedState:
        """The searches go on; afterwards a move stays where it makes the string shorter and is low enough."""
        if state.again is not None:
            return self._chosen(state, self._even.absorb(state.again, results))
        if state.work is None:
            return self._begun(replace(state, search=self.strategy.absorb(state.search, results)))
        work, kind = state.work, PHASES[state.work.phase % len(PHASES)]
        if kind == "cut":
            work = self._cut(work, results)
        elif kind == "drop":
            thinner = pruning.absorb(Pruning(work.chain, state.task.threshold, work.shortcuts), results)
            again = bool(pruning.propose(thinner))
            work = replace(work, chain=thinner.chain, shortcuts=thinner.shortcuts, phase=work.phase + (not again))
        elif work.relaxed is None:
            work = self._descended(work, results)
        else:
            work = self._relaxed(work, results)
        return replace(state, work=self._settled(state.task, work))

    def after(self, state: ShortenedState, reason: Reason) -> ShortenedState | None:
        """What the search tries next, where it can."""
        if state.before is not None or not isinstance(self.strategy, Persists):
            return None
        following = self.strategy.after(state.search, reason)
        return None if following is None else self._begun(replace(state, search=following))

    def attempt(self, state: ShortenedState) -> str | None:
        """What the search tries."""
        return self.strategy.attempt(state.search) if isinstance(self.strategy, Persists) else None

    def failure(self, state: ShortenedState) -> Reason | None:
        """That of the search."""
        return self.strategy.failure(state.search)

    def level(self, state: ShortenedState) -> float:
        """That of the search; afterwards the threshold."""
        return self.strategy.level(state.search) if state.work is None else state.task.threshold

    def chain(self, state: ShortenedState) -> Chain:
        """The string as it stands."""
        return self.strategy.chain(state.search) if state.work is None else state.work.chain

    def best(self, state: ShortenedState) -> Chain:
        """That of the search; afterwards the string as it stands."""
        return self.strategy.best(state.search) if state.work is None else state.work.chain

    def evidence(self, state: ShortenedState) -> Evidence:
        """That of the search."""
        return self.strategy.evidence(state.search)

    def length_before(self, state: ShortenedState) -> float | None:
        """How long the string was that the search found; None before it was."""
        return state.before

    def _begun(self, state: ShortenedState) -> ShortenedState:
        """Look for another string, if the search has found one that is not straight."""
        if self.strategy.failure(state.search) or self.strategy.propose(state.search):
            return state
        chain = self.strategy.chain(state.search)
        state = replace(state, before=_length(chain))
        if len(chain) == 1 or not self.again:
            return self._worked(state, chain)
        ends = (chain[0].left, chain[-1].right)  # where free ones have come to
        return self._chosen(state, self._even.start(replace(state.task, ends=ends)))

    @property
    def _even(self) -> Even:
        return Even(alpha=self.alpha)

    def _chosen(self, state: ShortenedState, again: GreedyState) -> ShortenedState:
        """Begin the work on the shorter string, once the second search is over."""
        failed = self._even.failure(again)
        if not failed and self._even.propose(again):
            return replace(state, again=again)
        chain = self.strategy.chain(state.search)
        other = chain if failed else self._even.chain(again)
        return self._worked(replace(state, again=None), min(chain, other, key=_length))

    def _worked(self, state: ShortenedState, chain: Chain) -> ShortenedState:
        """Begin the work on a string."""
        return replace(state, work=self._settled(state.task, Work(chain, 0, _length(chain))))

    def _settled(self, task: Task, work: Work) -> Work:
        """The work at the next phase in which there is something to do."""
        while not work.done and not (jobs := self._jobs(task, work)):
            work = replace(work, phase=work.phase + 1, relaxed=None)
            if work.phase % len(PHASES) == 0:
                length = _length(work.chain)
                over = work.began - length <= self.tolerance * length or work.phase >= self.cycles * len(PHASES)
                work = replace(work, began=length, done=over)
        return work if work.done else replace(work, jobs=jobs)

    def _jobs(self, task: Task, work: Work) -> tuple[Job, ...]:
        kind = PHASES[work.phase % len(PHASES)]
        if kind == "cut":
            return tuple(job for row in self._corners(work) for job in _cut_jobs(work, row, task.threshold))
        if kind == "drop":
            return pruning.propose(Pruning(work.chain, task.threshold, work.shortcuts))
        if work.relaxed is None:
            return tuple(self._descent(task, work, row) for row in _turn(work))
        links = [link for row, bead in work.relaxed.items() for link in _around(work.chain, row, bead)]
        return tuple(link.measure(task.threshold) for link in links)

    def _corners(self, work: Work) -> list[int]:
        """The beads of this turn whose corners may still be cut, and are worth it."""
        beads = beads_of(work.chain)
        if len(beads) >= self.most:
            return []
        worth = self.tolerance / len(beads) * work.began
        return [
            row
            for row in _turn(work)
            if (tries := work.failed.get(beads[row].name, 0)) < len(FRACTIONS)
            and FRACTIONS[tries] * _detour(work.chain, row) > worth
        ]

    def _cut(self, work: Work, results: Mapping[str, Result]) -> Work:
        """Replace the corners whose cut is under the threshold on all three of its segments."""
        beads = beads_of(work.chain)
        fresh: dict[int, list[Link]] = {}
        failed = dict(work.failed)
        for row in self._corners(work):
            jobs = _cut_jobs(work, row, 0.0)
            measured = [results[job.name] for job in jobs]
            if all(isinstance(one, Measured) and one.accepted for one in measured):
                fresh[row] = _cut_links(work, row, [one for one in measured if isinstance(one, Measured)])
            else:
                failed[beads[row].name] = failed.get(beads[row].name, 0) + 1
        links: list[Link] = []
        for i, link in enumerate(work.chain):
            if i + 1 in fresh:
                links += fresh[i + 1]
            elif i not in fresh:
                links.append(link)
        phase = work.phase if fresh or failed != work.failed else work.phase + 1
        # One try each in a turn: the next phase begins, and what failed is tried less far in the next cycle.
        return replace(work, chain=tuple(links), created=work.created + len(fresh), failed=failed, phase=phase + 1)

    def _descent(self, task: Task, work: Work, row: int) -> Descend:
        """Start again half-way to the neighbours' midpoint."""
        left, bead, right = beads_of(work.chain)[row - 1 : row + 2]
        start = Segment(bead.theta, Segment(left.theta, right.theta).point(0.5)).point(0.5)
        tether = Tether(Hyperplane(), left.theta, right.theta)
        level = aim(task.threshold, self.alpha)
        descent = Start(start, level, task.threshold, _relax_name(work, bead), tether=tether)
        return evenly(descent, Segment(left.theta, right.theta).length)

    def _descended(self, work: Work, results: Mapping[str, Result]) -> Work:
        """The beads that got to the threshold on a shorter way are to be measured."""
        beads, found = beads_of(work.chain), {}
        for row in _turn(work):
            result = results[_relax_name(work, beads[row])]
            if isinstance(result, Descended) and result.status == "reached":
                bead = Bead(f"r{work.phase}.{row}", result.theta, result.value)
                if _way(work.chain, row, bead) < _way(work.chain, row, beads[row]):
                    found[row] = bead
        return replace(work, relaxed=found) if found else replace(work, phase=work.phase + 1)

    def _relaxed(self, work: Work, results: Mapping[str, Result]) -> Work:
        """The beads stay whose two segments are under the threshold."""
        links = list(work.chain)
        for row, bead in (work.relaxed or {}).items():
            pair = []
            for link in _around(work.chain, row, bead):
                result = results[link.name]
                pair.append(replace(link, measured=result) if isinstance(result, Measured) else link)
            if all(link.measured is not None and link.measured.accepted for link in pair):
                links[row - 1 : row + 1] = pair
        return replace(work, chain=tuple(links), relaxed=None, phase=work.phase + 1)


def _turn(work: Work) -> list[int]:
    """The inner beads whose turn it is."""
    return [row for row in range(1, len(work.chain)) if row % 2 != work.phase % 2]


def _detour(chain: Chain, row: int) -> float:
    """What a corner costs: the way over a bead less the straight one."""
    left, right = chain[row - 1].segment, chain[row].segment
    return left.length + right.length - Segment(left.a, right.b).length


def _way(chain: Chain, row: int, bead: Bead) -> float:
    """The length of the way over a bead between the neighbours of a row."""
    return math.fsum(link.segment.length for link in _around(chain, row, bead))


def _around(chain: Chain, row: int, bead: Bead) -> tuple[Link, Link]:
    """The two links that a bead makes in the place of the one at a row."""
    left, right = chain[row - 1], chain[row]
    return Link(left.left, bead, left.depth), Link(bead, right.right, right.depth)


def _relax_name(work: Work, bead: Bead) -> str:
    return f"relax/{work.phase}/{bead.name}"


def _cut_segments(work: Work, row: int) -> list[Segment]:
    """The sides of a corner up to the cut, and the cut between them."""
    beads = beads_of(work.chain)
    fraction = FRACTIONS[work.failed.get(beads[row].name, 0)]
    left, right = work.chain[row - 1].segment, work.chain[row].segment
    first, second = left.point(1 - fraction), right.point(fraction)
    return [Segment(left.a, first), Segment(first, second), Segment(second, right.b)]


def _cut_jobs(work: Work, row: int, threshold: float) -> list[Measure]:
    name = f"cut/{work.phase}/{beads_of(work.chain)[row].name}"
    segments = _cut_segments(work, row)
    return [Measure(f"{name}/{k}", segment, None, threshold) for k, segment in enumerate(segments)]


def _cut_links(work: Work, row: int, measured: list[Measured]) -> list[Link]:
    """The links over a cut corner."""
    left, right = work.chain[row - 1], work.chain[row]
    middle = measured[1]
    assert middle.ends is not None
    names = (f"c{work.phase}.{row}a", f"c{work.phase}.{row}b")
    segment = _cut_segments(work, row)[1]
    first = Bead(names[0], segment.a, middle.ends[0])
    second = Bead(names[1], segment.b, middle.ends[1])
    depth = max(left.depth, right.depth)
    pairs = ((left.left, first), (first, second), (second, right.right))
    return [Link(a, b, depth, measured=one) for (a, b), one in zip(pairs, measured, strict=True)]


def _length(chain: Chain) -> float:
    return math.fsum(link.segment.length for link in chain)
