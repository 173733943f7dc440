"""The ends of a sweep's strings: networks trained side by side, each to every threshold on its way down.

One that never reaches a threshold is counted there and replaced by the next seed. What was trained is kept on disk, so
that more thresholds or pairs later train only what is missing.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch

from weightstring.arrays import Theta, Thetas, Values
from weightstring.descent import Check, Start, batch_width, descend
from weightstring.errors import InvalidRun
from weightstring.problem import ModuleProblem
from weightstring.randomness import derive_seed
from weightstring.store import replace_file
from weightstring.store.beads import read_beads, write_beads
from weightstring.sweeps.plan import Plan


@dataclass(frozen=True)
class Trained:
    """Networks at one threshold.

    Args:
        seeds: of those that reached it, in order.
        thetas: these networks (n, P).
        failed: seeds of those that did not.
    """

    seeds: tuple[int, ...]
    thetas: Thetas
    failed: tuple[int, ...] = ()


@dataclass
class Nursery:
    """Trains networks and keeps them.

    Args:
        problem: whose networks.
        plan: to which thresholds.
        folder: where they are kept; None: in memory.
        on_check: told how far training is; it may raise.
    """

    problem: ModuleProblem
    plan: Plan
    folder: Path | None
    on_check: Callable[[Check], None] = lambda check: None
    _known: dict[float, Trained] = field(default_factory=dict)

    def at(self, level: float, count: int) -> Trained:
        """``count`` networks at a threshold, or as many as reach it; seeds of failures come with them.

        Raises:
            InvalidRun: what was kept is damaged.
        """
        while True:
            known = self._read(level)
            if len(known.seeds) >= count:
                return Trained(known.seeds[:count], known.thetas[:count], known.failed)
            begun = len(known.seeds) + len(known.failed)
            if begun >= self.plan.tries * count:
                return known
            missing = count - len(known.seeds)
            seeds = range(self.plan.seed + begun, self.plan.seed + min(begun + missing, self.plan.tries * count))
            self._train(level, list(seeds), known)

    def _train(self, level: float, seeds: Sequence[int], known: Trained) -> None:
        starts = [
            Start(self._start(seed, level), level, level, f"end-{seed}", value=None)  # minibatches by (seed, place)
            for seed in seeds
        ]
        found = descend(
            self.problem,
            self._height,
            starts,
            seed=derive_seed(self.plan.seed, "ends", repr(level)),
            width=batch_width(self.problem, len(starts)),
            on_check=self.on_check,
        )
        reached = [each.status == "reached" for each in found]
        thetas = [each.theta for each, good in zip(found, reached, strict=True) if good]
        self._keep(
            level,
            Trained(
                (*known.seeds, *(seed for seed, good in zip(seeds, reached, strict=True) if good)),
                torch.cat([known.thetas, torch.stack(thetas)]) if thetas else known.thetas,
                (*known.failed, *(seed for seed, good in zip(seeds, reached, strict=True) if not good)),
            ),
        )

    def _start(self, seed: int, level: float) -> Theta:
        """The same seed's network at the lowest threshold above, where ends are carried; else a random one."""
        above = sorted(own for own in self._levels() if own > level)
        for own in above if self.plan.ends == "carried" else ():
            known = self._read(own)
            if seed in known.seeds:
                return known.thetas[known.seeds.index(seed)]
        return self.problem.initial(seed)

    def _height(self, thetas: Thetas) -> Values:
        values = self.problem.measure(thetas, (self.plan.quantity,))[self.plan.quantity]
        return torch.where(values.isfinite(), values, torch.inf)

    def _levels(self) -> list[float]:
        if self.folder is None or not self.folder.is_dir():
            return list(self._known)
        return [float(path.stem) for path in self.folder.glob("*.json")]

    def _read(self, level: float) -> Trained:
        nothing = Trained((), self.problem.initial(0).new_empty(0, self.problem.size))
        if level in self._known or self.folder is None:
            return self._known.get(level, nothing)
        path = self.folder / f"{level!r}.json"
        if not path.exists():
            return nothing
        try:
            told = json.loads(path.read_text())
            seeds, failed = tuple(map(int, told["seeds"])), tuple(map(int, told["failed"]))
            file, sha256 = str(told["networks"]), str(told["sha256"])
        except (ValueError, KeyError, TypeError) as error:
            raise InvalidRun(f"{path}: damaged: {error}; delete it, and its networks are trained again") from None
        thetas = read_beads(self.folder / file, sha256) if seeds else nothing.thetas
        if len(thetas) != len(seeds):
            raise InvalidRun(f"{path}: {len(thetas)} networks for {len(seeds)} seeds; delete it to train them again")
        self._known[level] = Trained(seeds, thetas.to(self.problem.device), failed)
        return self._known[level]

    def _keep(self, level: float, trained: Trained) -> None:
        self._known[level] = trained
        if self.folder is None:
            return
        self.folder.mkdir(parents=True, exist_ok=True)
        # Under a name of its own, so that until the list below names it the earlier ones are still whole.
        file = f"{level!r}-{len(trained.seeds) + len(trained.failed)}.safetensors"
        sha256 = write_beads(self.folder / file, trained.thetas) if trained.seeds else ""
        told = {"seeds": trained.seeds, "failed": trained.failed, "networks": file, "sha256": sha256}
        replace_file(self.folder / f"{level!r}.json", json.dumps(told).encode())
        for earlier in self.folder.glob(f"{level!r}-*.safetensors"):
            if earlier.name != file:
                earlier.unlink()
