"""Ends at the threshold itself get a neighbour of their own.

Beside an end that lies at L0, or little below, beads would crowd without end: every segment from there rises over L0
at once. Where a segment at such an end is still open after two splits, a bead is sought by descent from the end.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from weightstring.descent import Descended
from weightstring.search.chain import Bead, Link
from weightstring.search.jobs import JobResult
from weightstring.search.starts import aim, neighbour_name
from weightstring.search.string import String

DEPTH = 2
"""Depth from which an end in (α L0, L0] gets a neighbour: most never need one, and its descent is long."""


def crowded_end(string: String, link: Link, alpha: float) -> Bead | None:
    """The end of an open link that is to get a neighbour."""
    if not link.open or link.depth < DEPTH:
        return None
    level = aim(string.query.threshold, alpha)
    ends = (end for end in string.query.ends if end is link.left or end is link.right)
    return next((end for end in ends if end.value > level and end.name not in string.neighboured), None)


def with_neighbours(string: String, results: Mapping[str, JobResult], alpha: float) -> String:
    """The string with the neighbours that were found; an end that leads nowhere lower gets none."""
    chain: list[Link] = []
    for link in string.chain:
        end = crowded_end(string, link, alpha)
        beside = None if end is None else results.get(neighbour_name(end))
        if end is None or not isinstance(beside, Descended):
            chain.append(link)
            continue
        string = replace(string, neighboured=(*string.neighboured, end.name))
        if beside.value < end.value:
            bead = Bead(f"{end.name}'", beside.theta, beside.value)
            chain += [Link(link.left, bead, link.depth), Link(bead, link.right, link.depth)]
        else:
            chain.append(link)
    return replace(string, chain=tuple(chain))
