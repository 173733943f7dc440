"""Beads that do not reach their level are replaced, each time at another learning rate.

A bead between others goes, and what is inserted at the maximum of the segment between its neighbours descends afresh. A
free end begins again where it first was. A replacement at the same rate would mostly repeat what has just failed.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from weightstring.path import no_worse
from weightstring.search.chain import Bead, Chain, Link, beads_of, with_beads

RATES = (1.0, 3.0, 0.3)
"""Factors on the recipe's learning rate: at first, and after each replacement."""


def rate(retried: int) -> float:
    """The factor on the learning rate after so many replacements."""
    return RATES[retried % len(RATES)]


def stuck(chain: Chain, level: float) -> list[int]:
    """The rows of the beads that are over a level."""
    return [row for row, bead in enumerate(beads_of(chain)) if not no_worse(bead.value, level)]


def without(chain: Chain, stuck: Sequence[int], ends: tuple[Bead, Bead], moves: int) -> Chain:
    """The chain without the beads that are stuck; an end goes back to where it first was.

    Args:
        chain: the chain.
        stuck: their rows.
        ends: the first ends.
        moves: rounds of descent so far; names an end that begins again.
    """
    beads = list(beads_of(chain))
    last = len(beads) - 1
    for row, end in zip((0, last), ends, strict=True):
        if row in stuck:
            beads[row] = Bead(f"{end.name}.{moves}r", end.theta, end.value)
    kept = [row for row in range(last + 1) if row in (0, last) or row not in stuck]
    links = tuple(
        chain[i] if j == i + 1 else Link(beads[i], beads[j], max(link.depth for link in chain[i:j]))
        for i, j in pairwise(kept)
    )
    return with_beads(links, [beads[row] for row in kept])
