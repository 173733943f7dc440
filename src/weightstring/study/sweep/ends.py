"""The ends of a sweep's strings: networks trained side by side, each to every threshold on its way down.

One that never reaches a threshold is counted there and replaced by the next seed. The network of a seed at a threshold
depends on that seed alone: where ends are carried, it has been at every higher threshold of the sweep before. So any
process may train any block of seeds, and more thresholds or pairs later train only what is missing.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import torch

from weightstring.arrays import Theta, Thetas
from weightstring.descent import Check, Descended, Descents, Start, batch_width
from weightstring.path import Objective, no_worse
from weightstring.protocol import Independent
from weightstring.randomness import derive_seed
from weightstring.study.sweep.forms import Sweepable
from weightstring.study.sweep.networks import KeptNetworks, Networks
from weightstring.study.sweep.plan import Plan
from weightstring.study.sweep.selection import Selection, Settled

KEEP_EVERY = 60.0
"""Seconds after which networks that are done are written down: as much is lost where a process is killed."""


@dataclass
class GivenEnds:
    """Checkpoints in place of trained networks: at each threshold those that reach it, in their order.

    Args:
        problem: whose models.
        plan: which quantity counts.
        thetas: these models, numbered from 0.
        kept: where it is written down which of them reach a threshold.
    """

    problem: Sweepable
    plan: Plan
    thetas: Sequence[Theta]
    kept: KeptNetworks

    def missing(self) -> list[int]:
        """The one block there is, where it is not written down."""
        return [] if all(self.kept.told(0, level) == self._settled(level) for level in self.plan.levels) else [0]

    def train(self, blocks: Collection[int] | None = None) -> None:
        """Write down which of them reach each threshold."""
        for level in self.plan.levels:
            self.kept.tell(0, level, self._settled(level))

    def chosen(self, level: float) -> tuple[list[int], bool]:
        """Numbers of those that are paired at a threshold."""
        return [*self._settled(level).reached][: 2 * self.plan.pairs], True

    def failed(self, level: float) -> tuple[int, ...]:
        """Numbers of those over a threshold."""
        return tuple(self._settled(level).failed)

    def thetas_of(self, level: float, seeds: Sequence[int]) -> Thetas:
        """The models of these numbers (n, P)."""
        return torch.stack([self.thetas[seed] for seed in seeds])

    def _settled(self, level: float) -> Settled:
        below = [no_worse(height, level) for height in self._heights]
        return Settled(*(tuple(i for i, held in enumerate(below) if held == wanted) for wanted in (True, False)))

    @cached_property
    def _heights(self) -> list[float]:
        heights: list[float] = Objective(self.problem, self.plan.bind)(torch.stack(list(self.thetas))).tolist()
        return heights


@dataclass
class EndTrainer:
    """Trains networks and keeps them.

    Args:
        problem: whose networks.
        plan: to which thresholds.
        folder: where they are kept; None: in memory.
        block: seeds in a block of work.
        above: further thresholds of the sweep, which carried networks pass on their way.
        on_check: told how far training is; it may raise.
    """

    problem: Sweepable
    plan: Plan
    folder: Path | None = None
    block: int = 64
    above: Collection[float] = ()
    on_check: Callable[[Check], None] = lambda check: None
    kept: KeptNetworks = field(init=False)

    def __post_init__(self) -> None:
        self.kept = KeptNetworks(self.folder, self.block, self.problem)

    def missing(self) -> list[int]:
        """Blocks in which a seed must be trained, as far as is known now; none: all networks are there."""
        return sorted({seed // self.block for seeds in self._missing().values() for seed in seeds})

    def train(self, blocks: Collection[int] | None = None) -> None:
        """Train what is missing in some blocks, or in all, until nothing is; only for who holds them.

        Raises:
            InvalidRun: what was kept is damaged.
            StoreFailed: the disk refuses.
        """
        while True:
            for level, missing in self._missing().items():
                if seeds := [seed for seed in missing if blocks is None or seed // self.block in blocks]:
                    self._train(level, seeds)
                    break
            else:
                return

    def chosen(self, level: float) -> tuple[list[int], bool]:
        """Seeds of the first networks that reach a threshold, as far as that is settled; whether these are all."""
        return self._selection.chosen(self.kept.settled(level))

    def failed(self, level: float) -> tuple[int, ...]:
        """Seeds of networks that were needed at a threshold and never reached it."""
        return self._selection.failures(self.kept.settled(level))

    def thetas_of(self, level: float, seeds: Sequence[int]) -> Thetas:
        """The networks of these seeds at a threshold (n, P)."""
        return self.kept.thetas(level, seeds)

    def at(self, level: float) -> Networks:
        """All networks that are paired at a threshold, once they are trained; the seeds of failures come with them."""
        seeds, _ = self.chosen(level)
        return Networks(tuple(seeds), self.thetas_of(level, seeds), self.failed(level))

    @property
    def _selection(self) -> Selection:
        count = 2 * self.plan.pairs
        return Selection(self.plan.seed, count, self.plan.tries * count)

    def _missing(self) -> dict[float, list[int]]:
        """Seeds to be trained by threshold, falling: those needed there, and those that pass it on their way down."""
        carried = self.plan.ends == "carried"
        levels = {*self.plan.levels, *(self.above if carried else ())}
        known = {level: self.kept.settled(level) for level in levels}
        lacking = {
            level: {seed for seed in self._selection.needed(known[level]) if seed not in known[level].reached}
            for level in self.plan.levels
        }
        found, passing = {}, set[int]()
        for level in sorted(levels):
            wanted = lacking.get(level, set()) | (passing if carried else set())
            found[level] = sorted(wanted - {*known[level].reached, *known[level].failed})
            passing |= lacking.get(level, set())
        return dict(reversed(found.items()))

    def _train(self, level: float, seeds: Sequence[int]) -> None:
        independent = isinstance(self.problem, Independent) and self.problem.independent
        descents = Descents[int, Descended](
            self.problem,
            Objective(self.problem, self.plan.bind),
            seed=derive_seed(self.plan.seed, "ends", repr(level)),
            recipe=self.problem.training_recipe,
            # After an interruption others are beside a network than before: that must not tell in its bits.
            width=batch_width(self.problem, len(seeds)) if independent else 1,
            on_check=self.on_check,
        )
        above = self._above(level)
        for seed in seeds:  # Minibatches by (seed, place), so that it matters to none who is trained beside it.
            start = self.kept.thetas(above[seed], [seed])[0] if seed in above else self.problem.initial(seed)
            descents.add(Start(start, level, level, f"end-{seed}", value=None), seed)
        descended: dict[int, Descended] = {}
        kept = time.monotonic()
        try:
            while not descents.idle:
                descended |= descents.advance()
                if descended and time.monotonic() - kept > KEEP_EVERY:
                    self._keep(level, descended)
                    descended, kept = {}, time.monotonic()
        finally:  # Those that are done are kept, whatever stops the others.
            self._keep(level, descended)

    def _keep(self, level: float, descended: Mapping[int, Descended]) -> None:
        reached = {seed: each.theta for seed, each in descended.items() if each.status == "reached"}
        self.kept.keep(level, reached, descended.keys() - reached.keys())

    def _above(self, level: float) -> dict[int, float]:
        """By seed the lowest threshold above from whose network it goes on; none where ends are not carried."""
        if self.plan.ends != "carried":
            return {}
        higher = sorted((other for other in {*self.plan.levels, *self.above} if other > level), reverse=True)
        return {seed: other for other in higher for seed in self.kept.settled(other).reached}
