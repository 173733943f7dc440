r"""Running statistics that are functions of θ: each a mean over the chunks of the training inputs, enclosed.

On a chunk BatchNorm normalises by the chunk's own mean and biased variance, and what it averages is that mean and the
unbiased variance, as ``torch.optim.swa_utils.update_bn`` does. Both are functions of σ like any other activation:

    m(p + e) = m(p) ± min(mean E, ‖e‖/√d),      √var(p + e) = √var(p) ± ‖e‖/√d,

over the d numbers of a channel in the chunk. So one pass over the training inputs, chunk by chunk with all examples of
a chunk together, gives enclosures (I, 1, C) of all statistics, by which a second pass bounds the loss.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import pairwise

import torch

from weightstring.proof.enclose.enclosure import Enclosure
from weightstring.proof.enclose.intervals import Intervals
from weightstring.proof.enclose.products import Kept
from weightstring.proof.enclose.values import Population, Rows
from weightstring.proof.enclose.walking import Stretch, Walk

REMEMBERED = 64
"""Intervals whose statistics are kept: examples are bounded block after block on the same ones."""

Place = tuple[tuple[int, float, float], ...]


@dataclass(eq=False)
class Calibrating:
    """Running statistics on intervals.

    Args:
        walk: the program on the training inputs.
        population: the training examples, in chunks.
        kept: products of their inputs with first layers.
    """

    walk: Walk
    population: Population
    kept: Kept
    _found: dict[Place, dict[str, Enclosure]] = field(default_factory=dict)

    @property
    def largest(self) -> int:
        """Examples in the largest chunk."""
        blocks = self.population.blocks
        return max(high - low for low, high in pairwise(blocks))

    def statistics(self, place: Place, over: Stretch) -> dict[str, Enclosure]:
        """Those of a stretch of intervals, known by their place on the string."""
        if place not in self._found:
            while sum(map(len, self._found)) + len(place) > REMEMBERED and self._found:
                del self._found[next(iter(self._found))]
            self._found[place] = self._estimated(over)
        return self._found[place]

    def _estimated(self, over: Stretch) -> dict[str, Enclosure]:
        found: dict[str, list[Enclosure]] = {}
        blocks = self.population.blocks
        for low, high in pairwise(blocks):
            rows = Rows(self.population, torch.arange(low, high, device=self.population.targets.device))
            for name, estimate in self.walk.estimates(over, rows):
                found.setdefault(self.walk.program.statistics[name], []).append(estimate)
        # A layer that is used several times in a pass averages all of them.
        means = {full: _mean(estimates) for full, estimates in found.items()}
        return {name: means[full] for name, full in self.walk.program.statistics.items() if full in means}


def _mean(parts: list[Enclosure]) -> Enclosure:
    total = parts[0]
    for part in parts[1:]:
        total = total + part
    return total.scaled(1 / len(parts))


def place_of(intervals: Intervals) -> Place:
    """Where intervals lie, to be looked up by."""
    return tuple(zip(*(column.tolist() for column in (intervals.segments, intervals.low, intervals.high)), strict=True))
