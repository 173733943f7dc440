"""Spread the beads of a string evenly along it, where it stays as low.

Beads that sink gather in some places and leave others bare; a bare stretch is where the next level is missed.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch

from weightstring.descent import Evolution, Evolved, Tied, constraint
from weightstring.path import WeightString
from weightstring.search.chain import Bead, Chain, beads_of, with_beads, with_measured
from weightstring.search.jobs import Descend, Job, JobResult


def evenly(chain: Chain, moves: int) -> Chain:
    """The beads at equal distances along the string; their heights are not known yet."""
    beads = list(beads_of(chain))
    string = WeightString(None, [bead.theta for bead in beads])
    for row in range(1, len(beads) - 1):
        beads[row] = Bead(f"{beads[row].name.partition('.')[0]}.{moves}", string.at(row / len(chain)), math.inf)
    return with_beads(chain, beads)


def propose(chain: Chain, moves: int, level: float) -> tuple[Job, ...]:
    """Find the heights of the beads, then measure the links."""
    if not _finite(chain):
        thetas = torch.stack([bead.theta for bead in beads_of(chain)])
        inner = tuple(range(1, len(thetas) - 1))
        return (Descend(Evolution(_name(moves), thetas, inner, Tied(constraint("free")), -math.inf, math.inf, 0)),)
    return tuple(link.measure(level) for link in chain if link.measured is None)


def absorb(chain: Chain, moves: int, results: Mapping[str, JobResult]) -> tuple[Chain, bool]:
    """The chain with the heights of its beads, then of its links; and whether it can be judged."""
    evolved = results.get(_name(moves))
    if not isinstance(evolved, Evolved):
        return with_measured(chain, results), True
    beads = list(beads_of(chain))
    for row, value in enumerate(evolved.values, 1):
        beads[row] = Bead(beads[row].name, evolved.thetas[row - 1], value)
    known = with_beads(chain, beads)
    return known, not _finite(known)


def _finite(chain: Chain) -> bool:
    return all(math.isfinite(bead.value) for bead in beads_of(chain)[1:-1])


def _name(moves: int) -> str:
    return f"respace/{moves}"
