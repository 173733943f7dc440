"""Make a string shorter without leaving the threshold: three moves, in turn until its length stops falling.

- *cut*: a corner is replaced by the chord between two points on its sides, if that is under the threshold;
- *relax*: a bead starts again half-way between where it is and the midpoint of its neighbours, on their
  hyperplane, descends there to the threshold by even steps, and stays if the string is shorter and low enough;
- *drop*: a bead whose neighbours' own segment is under the threshold goes.

Odd and even beads take turns, so that no move depends on another of the same round.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from weightstring.descent import Descended, Hyperplane, Start, Tether
from weightstring.path import Reason, Segment
from weightstring.search import pruning
from weightstring.search.chain import Bead, Chain, Link, beads_of, detour, length
from weightstring.search.jobs import Descend, Job, JobResult, Measure, Measured
from weightstring.search.methods.even import evenly
from weightstring.search.pruning import Pruning
from weightstring.search.starts import aim
from weightstring.search.strategy import Strategy
from weightstring.search.string import Query, String

PHASES = ("cut", "cut", "relax", "relax", "drop")
"""One cycle: the odd beads, the even ones, the same again, and all."""
FRACTIONS = (1 / 2, 1 / 4, 1 / 8, 1 / 16)
"""How far along its sides a corner is cut off: after a failure less."""


@dataclass(frozen=True)
class Work(String):
    """A string that is being shortened.

    Args:
        phase: which of :data:`PHASES` is under way, counted over all cycles.
        began: its length when the cycle began.
        failed: how often a bead's corner could not be cut.
        relaxed: beads that descended and are to be measured, by the row that each is to take the place of.
        jobs: what the phase wants done.
        done: whether the length has stopped falling.
    """

    phase: int = 0
    began: float = 0.0
    failed: Mapping[str, int] = field(default_factory=dict)
    relaxed: Mapping[int, Bead] | None = None
    jobs: tuple[Job, ...] = ()
    done: bool = False


@dataclass(frozen=True)
class Shortening(Strategy[Work]):
    """The work on a string that was found; the settings are those of :class:`weightstring.Shortened`."""

    tolerance: float
    cycles: int
    most: int
    alpha: float

    def start(self, query: Query) -> Work:
        """The segment between the ends cannot be shortened."""
        return Work.straight(query)

    def begun(self, query: Query, chain: Chain) -> Work:
        """The work on this string begins."""
        return self._settled(Work(query, chain, query.threshold, prunes=False, began=length(chain)))

    def propose(self, work: Work) -> tuple[Job, ...]:
        """The moves of the phase under way."""
        return () if work.done else work.jobs

    def absorb(self, work: Work, results: Mapping[str, JobResult]) -> Work:
        """A move stays where it makes the string shorter and is low enough."""
        kind = PHASES[work.phase % len(PHASES)]
        if kind == "cut":
            work = self._cut(work, results)
        elif kind == "drop":
            thinner = pruning.absorb(Pruning(work.chain, work.level, work.known), results)
            phase = work.phase + (not pruning.propose(thinner))
            work = replace(work, chain=thinner.chain, known=thinner.shortcuts, phase=phase)
        elif work.relaxed is None:
            work = self._descended(work, results)
        else:
            work = self._relaxed(work, results)
        return self._settled(work)

    def give_up(self, work: Work) -> Reason | None:
        """Never: the string stays one."""
        return None

    def _settled(self, work: Work) -> Work:
        """The work at the next phase in which there is something to do."""
        while not work.done and not (jobs := self._jobs(work)):
            work = replace(work, phase=work.phase + 1, relaxed=None)
            if work.phase % len(PHASES) == 0:
                now = length(work.chain)
                over = work.began - now <= self.tolerance * now or work.phase >= self.cycles * len(PHASES)
                work = replace(work, began=now, done=over)
        return work if work.done else replace(work, jobs=jobs)

    def _jobs(self, work: Work) -> tuple[Job, ...]:
        kind = PHASES[work.phase % len(PHASES)]
        if kind == "cut":
            return tuple(job for row in self._corners(work) for job in _cut_jobs(work, row, work.level))
        if kind == "drop":
            return pruning.propose(Pruning(work.chain, work.level, work.known))
        if work.relaxed is None:
            return tuple(self._descent(work, row) for row in _turn(work))
        links = [link for row, bead in work.relaxed.items() for link in _around(work.chain, row, bead)]
        return tuple(link.measure(work.level, looks="verdict") for link in links)

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
            and FRACTIONS[tries] * detour(work.chain[row - 1], work.chain[row]) > worth
        ]

    def _cut(self, work: Work, results: Mapping[str, JobResult]) -> Work:
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
        return replace(work, chain=tuple(links), failed=failed, phase=phase + 1)

    def _descent(self, work: Work, row: int) -> Descend:
        """Start again half-way to the neighbours' midpoint."""
        left, bead, right = beads_of(work.chain)[row - 1 : row + 2]
        start = Segment(bead.theta, Segment(left.theta, right.theta).point(0.5)).point(0.5)
        tether = Tether(Hyperplane(), left.theta, right.theta)
        level = aim(work.level, self.alpha)
        descent = Start(start, level, work.level, _relax_name(work, bead), tether=tether)
        return evenly(descent, Segment(left.theta, right.theta).length)

    def _descended(self, work: Work, results: Mapping[str, JobResult]) -> Work:
        """The beads that got to the threshold on a shorter way are to be measured."""
        beads, found = beads_of(work.chain), {}
        for row in _turn(work):
            result = results[_relax_name(work, beads[row])]
            if isinstance(result, Descended) and result.status == "reached":
                bead = Bead(f"r{work.phase}.{row}", result.theta, result.value)
                if _way(work.chain, row, bead) < _way(work.chain, row, beads[row]):
                    found[row] = bead
        return replace(work, relaxed=found) if found else replace(work, phase=work.phase + 1)

    def _relaxed(self, work: Work, results: Mapping[str, JobResult]) -> Work:
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


def _way(chain: Chain, row: int, bead: Bead) -> float:
    """The length of the way over a bead between the neighbours of a row."""
    return length(_around(chain, row, bead))


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
    return [Measure(f"{name}/{k}", segment, None, threshold, looks="verdict") for k, segment in enumerate(segments)]


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
