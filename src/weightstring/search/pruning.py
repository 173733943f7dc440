"""Drop superfluous beads: those whose neighbours' own segment is under the threshold.

Beads are inserted before those beside them are where they end up. Once these are, many are no longer needed and only
make the string longer.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from itertools import pairwise

from weightstring.search.chain import Chain, Link, detour
from weightstring.search.jobs import JobResult, Measure, Measured


@dataclass(frozen=True)
class Pruning:
    """A finished chain being thinned out.

    Args:
        chain: what is left of it.
        threshold: L0.
        shortcuts: the segments between a bead's neighbours that were measured, by name.
    """

    chain: Chain
    threshold: float
    shortcuts: Mapping[str, Link]


def propose(state: Pruning) -> tuple[Measure, ...]:
    """Measure the shortcut past every bead that has none yet."""
    fresh = [link for link in _shortcuts(state.chain) if link.name not in state.shortcuts]
    return tuple(link.measure(state.threshold, looks="verdict") for link in fresh)


def absorb(state: Pruning, results: Mapping[str, JobResult]) -> Pruning:
    """Drop the beads that can go, those first whose loss shortens the string most.

    Two neighbours cannot go in one round, since each is an end of the other's shortcut. The order
    depends on lengths alone, so that a string and its reverse are thinned alike.
    """
    known = dict(state.shortcuts)
    for link in _shortcuts(state.chain):
        result = results.get(link.name)
        if isinstance(result, Measured):
            known[link.name] = replace(link, measured=result)
    shortcuts = [known[link.name] for link in _shortcuts(state.chain)]
    good = [i for i, link in enumerate(shortcuts) if link.measured is not None and link.measured.accepted]
    dropped: set[int] = set()
    for i in sorted(good, key=lambda i: -detour(state.chain[i], state.chain[i + 1])):
        if not {i - 1, i + 1} & dropped:
            dropped.add(i)
    return Pruning(_without(state.chain, shortcuts, dropped), state.threshold, known)


def _shortcuts(chain: Chain) -> list[Link]:
    """Shortcut i passes the bead between links i and i + 1."""
    return [Link(left.left, right.right, max(left.depth, right.depth)) for left, right in pairwise(chain)]


def _without(chain: Chain, shortcuts: list[Link], dropped: set[int]) -> Chain:
    links: list[Link] = []
    for i, link in enumerate(chain):
        if i - 1 in dropped:
            continue  # The shortcut that begins with the link before has taken its place.
        links.append(shortcuts[i] if i in dropped else link)
    return tuple(links)
