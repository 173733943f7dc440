"""The ends of a sweep's strings: networks trained side by side, each to every threshold on its way down.

One that never reaches a threshold is counted there and replaced by the next seed. What was trained is kept on disk, so
that more thresholds or pairs later, or the same after an interruption, train only what is missing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import islice
from pathlib import Path

import torch

from weightstring.arrays import Theta
from weightstring.descent import Check, Descended, Descents, Start, batch_width
from weightstring.path import Objective, no_worse
from weightstring.protocol import Independent
from weightstring.randomness import derive_seed
from weightstring.study.sweep.forms import Sweepable
from weightstring.study.sweep.networks import Networks, levels_kept, read_networks, write_networks
from weightstring.study.sweep.plan import Plan


@dataclass
class GivenEnds:
    """Checkpoints in place of trained networks: at each threshold those that reach it, in their order.

    Args:
        problem: whose models.
        plan: which quantity counts.
        thetas: these models, numbered from 0.
    """

    problem: Sweepable
    plan: Plan
    thetas: Sequence[Theta]

    def at(self, level: float, count: int) -> Networks:
        """The first ``count`` of them at a threshold; numbers of those over it come with them."""
        seeds = tuple(number for number, height in enumerate(self._heights) if no_worse(height, level))
        failed = tuple(number for number in range(len(self.thetas)) if number not in seeds)
        models = torch.stack(list(self.thetas))
        return Networks(seeds[:count], models[list(seeds[:count])], failed)

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
        on_check: told how far training is; it may raise.
    """

    problem: Sweepable
    plan: Plan
    folder: Path | None
    on_check: Callable[[Check], None] = lambda check: None
    _known: dict[float, Networks] = field(default_factory=dict)

    def at(self, level: float, count: int) -> Networks:
        """The first ``count`` networks that reach a threshold, or as many as do; seeds of failures come with them.

        Raises:
            InvalidRun: what was kept is damaged.
            StoreFailed: the disk refuses.
        """
        while True:
            known = self._read(level)
            reached, wanted = set(known.seeds), self._wanted(known, count)
            if missing := [seed for seed in wanted if seed not in reached]:
                self._train(level, missing, known)
            else:  # Both rise, so that those wanted come first.
                return Networks(known.seeds[: len(wanted)], known.thetas[: len(wanted)], known.failed)

    def _wanted(self, known: Networks, count: int) -> list[int]:
        """The first ``count`` seeds that have not failed: the same ones, whatever was trained before or interrupted."""
        failed = set(known.failed)
        tried = range(self.plan.seed, self.plan.seed + self.plan.tries * count)
        return list(islice((seed for seed in tried if seed not in failed), count))

    def _train(self, level: float, seeds: Sequence[int], known: Networks) -> None:
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
        for seed in seeds:  # Minibatches by (seed, place), so that it matters to none who is trained beside it.
            descents.add(Start(self._start(seed, level), level, level, f"end-{seed}", value=None), seed)
        descended: dict[int, Descended] = {}
        try:
            while not descents.idle:
                descended |= descents.advance()
        finally:  # Those that are done are kept, whatever stops the others.
            if descended:
                self._keep(level, _with(known, descended))

    def _start(self, seed: int, level: float) -> Theta:
        """The same seed's network at the lowest threshold above, where ends are carried; else a random one."""
        above = sorted(other for other in self._levels() if other > level)
        for higher in above if self.plan.ends == "carried" else ():
            known = self._read(higher)
            if seed in known.seeds:
                return known.thetas[known.seeds.index(seed)]
        return self.problem.initial(seed)

    def _levels(self) -> list[float]:
        return list(self._known) if self.folder is None else levels_kept(self.folder)

    def _read(self, level: float) -> Networks:
        if level not in self._known:
            kept = None if self.folder is None else read_networks(self.folder, level, self.problem)
            if kept is None:
                return Networks((), self.problem.initial(0).new_empty(0, self.problem.size))
            self._known[level] = kept
        return self._known[level]

    def _keep(self, level: float, networks: Networks) -> None:
        if self.folder is not None:
            write_networks(self.folder, level, networks)
        self._known[level] = networks


def _with(known: Networks, descended: Mapping[int, Descended]) -> Networks:
    """What was known and what was trained since, seeds rising."""
    reached = dict(zip(known.seeds, known.thetas, strict=True))
    reached |= {seed: each.theta for seed, each in descended.items() if each.status == "reached"}
    seeds = tuple(sorted(reached))
    failed = {seed for seed, each in descended.items() if each.status != "reached"}
    thetas = torch.stack([reached[seed] for seed in seeds]) if seeds else known.thetas
    return Networks(seeds, thetas, tuple(sorted({*known.failed, *failed})))
