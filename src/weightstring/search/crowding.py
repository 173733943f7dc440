"""Models that were given and lie too high get help: an end at the threshold itself, a waypoint over it.

Beside an end that lies at L0, or little below, beads would crowd without end: every segment from there rises over L0
at once. Where a segment at such an end is still open after two splits, a bead is sought by descent from the end; beside
a waypoint likewise. A waypoint over L0 can be on no string: the bead that a descent from it finds takes its place at
once, and where that finds none the string leads past it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from itertools import pairwise

from weightstring.descent import Descended
from weightstring.path import no_worse
from weightstring.search.chain import Bead, Link, beads_of
from weightstring.search.jobs import JobResult
from weightstring.search.starts import aim, neighbour_name
from weightstring.search.string import String

DEPTH = 2
"""Depth from which a model in (α L0, L0] gets a neighbour: most never need one, and its descent is long."""


def crowded(string: String, link: Link, alpha: float) -> Bead | None:
    """The model at an open link, of those that were given, that is to get a neighbour or to be replaced."""
    if not link.open:
        return None
    level = aim(string.query.threshold, alpha)
    given = (bead for bead in string.query.beads if bead is link.left or bead is link.right)
    waiting = (bead for bead in given if bead.name not in string.neighboured)
    high = (bead for bead in waiting if _too_high(string, bead) or (link.depth >= DEPTH and bead.value > level))
    return next(high, None)


def with_neighbours(string: String, results: Mapping[str, JobResult], alpha: float) -> String:
    """The string with the neighbours that were found; a model that leads nowhere lower gets none."""
    chain: list[Link] = []
    for link in string.chain:
        given = crowded(string, link, alpha)
        beside = None if given is None else results.get(neighbour_name(given))
        if given is None or not isinstance(beside, Descended) or _too_high(string, given):
            chain.append(link)
            continue
        string = replace(string, neighboured=(*string.neighboured, given.name))
        if beside.value < given.value:
            bead = Bead(f"{given.name}'", beside.theta, beside.value)
            chain += [Link(link.left, bead, link.depth), Link(bead, link.right, link.depth)]
        else:
            chain.append(link)
    return _lowered(replace(string, chain=tuple(chain)), results)


def _too_high(string: String, bead: Bead) -> bool:
    """Whether it is a waypoint over the threshold; an end there is free, or was refused."""
    waypoint = any(bead is each for each in string.query.through)
    return waypoint and not no_worse(bead.value, string.query.threshold)


def _lowered(string: String, results: Mapping[str, JobResult]) -> String:
    """The string with what was found below them in place of waypoints over the threshold, or past these."""
    if not string.query.through:
        return string
    rows: list[tuple[int, Bead]] = []
    for row, bead in enumerate(beads_of(string.chain)):
        found = results.get(neighbour_name(bead)) if _too_high(string, bead) else None
        if not isinstance(found, Descended):
            rows.append((row, bead))
        elif no_worse(found.value, string.query.threshold):
            rows.append((row, Bead(f"{bead.name}'", found.theta, found.value)))
    links = []
    for (i, left), (j, right) in pairwise(rows):
        first, *more = string.chain[i:j]
        stays = not more and first.left is left and first.right is right
        links.append(first if stays else Link(left, right, max(link.depth for link in (first, *more))))
    return replace(string, chain=tuple(links))
