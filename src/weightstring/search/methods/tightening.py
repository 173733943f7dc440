"""Draw a string tight, without a gradient: all its beads at once some way towards the straight line between its ends.

The share of the way is halved where a segment would be over the threshold, until too little is left to gain.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from itertools import pairwise

from weightstring.arrays import Theta, dot
from weightstring.path import Reason, Segment
from weightstring.search.chain import Bead, Chain, Link, beads_of, length
from weightstring.search.jobs import JobResult, Measure, Measured
from weightstring.search.strategy import Strategy
from weightstring.search.string import Query, String

FIRST = 1 / 8
"""How far beads are drawn at first, as a share of their distance from the line,"""
LEAST = 1 / 32
"""and at least."""


@dataclass(frozen=True)
class Tight(String):
    """A string that is being drawn tight.

    Args:
        share: how far its beads are to be drawn next.
        tries: how often they were.
    """

    share: float = FIRST
    tries: int = 0


@dataclass(frozen=True)
class Tightening(Strategy[Tight]):
    """The work on a string that was found."""

    def start(self, query: Query) -> Tight:
        """The segment between the ends is straight."""
        return self.begun(query, Tight.straight(query).chain)

    def begun(self, query: Query, chain: Chain) -> Tight:
        """The work on this string begins."""
        return Tight(query, chain, query.threshold, prunes=False)

    def propose(self, work: Tight) -> tuple[Measure, ...]:
        """Measure the string as it would be."""
        if work.share < LEAST or len(work.chain) == 1:
            return ()
        return tuple(
            Measure(_name(work, i), segment, None, work.level, looks="verdict")
            for i, segment in enumerate(_drawn(work))
        )

    def absorb(self, work: Tight, results: Mapping[str, JobResult]) -> Tight:
        """It stays where it is under the threshold and shorter; where not, half as far is tried."""
        segments = _drawn(work)
        measured = [results[_name(work, i)] for i in range(len(segments))]
        chain = _chain(work, segments, [each for each in measured if isinstance(each, Measured) and each.accepted])
        if len(chain) == len(work.chain) and length(chain) < length(work.chain):
            share = work.share if work.share == FIRST else work.share / 2
            return replace(work, chain=chain, tries=work.tries + 1, share=share)
        return replace(work, tries=work.tries + 1, share=work.share / 2)

    def give_up(self, work: Tight) -> Reason | None:
        """Never: the string stays one."""
        return None


def _name(work: Tight, row: int) -> str:
    return f"tight/{work.tries}/{row}"


def _drawn(work: Tight) -> list[Segment]:
    """The string's segments, with its inner beads so far towards the line."""
    first, *inner, last = (bead.theta for bead in beads_of(work.chain))
    beads = [first, *(Segment(theta, _foot(theta, first, last)).point(work.share) for theta in inner), last]
    return [Segment(a, b) for a, b in pairwise(beads)]


def _foot(theta: Theta, first: Theta, last: Theta) -> Theta:
    """The nearest point of the segment between two models."""
    way = last - first
    square = dot(way, way)
    return Segment(first, last).point(min(max(dot(theta - first, way) / square, 0.0), 1.0) if square else 0.0)


def _chain(work: Tight, segments: list[Segment], measured: list[Measured]) -> Chain:
    """The string through these segments; nothing where one of them is over the threshold."""
    if len(measured) < len(segments):
        return ()
    first, *_, last = beads_of(work.chain)
    beads = [first]
    for row, (segment, one) in enumerate(zip(segments[:-1], measured, strict=False)):
        assert one.ends is not None
        beads.append(Bead(f"t{work.tries}.{row}", segment.b, one.ends[1]))
    ways = zip(work.chain, pairwise([*beads, last]), measured, strict=True)
    return tuple(Link(left, right, link.depth, measured=one) for link, (left, right), one in ways)
