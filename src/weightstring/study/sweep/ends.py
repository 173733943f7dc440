"""The ends of a sweep's strings: networks trained side by side, each to every threshold on its way down.

One that never reaches a threshold is counted there and replaced by the next seed. What was trained is kept on disk, so
that more thresholds or pairs later, or the same after an interruption, train only what is missing.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import islice
from pathlib import Path

import msgspec
import torch

from weightstring.arrays import Theta, Thetas, Values
from weightstring.descent import Check, Descended, Descents, Start, batch_width
from weightstring.errors import InvalidRun
from weightstring.path import no_worse
from weightstring.protocol import Independent
from weightstring.randomness import derive_seed
from weightstring.store import replace_file
from weightstring.store.beads import read_beads, write_beads
from weightstring.store.files import writing
from weightstring.store.members import member
from weightstring.study.sweep.directory import GO_ON
from weightstring.study.sweep.forms import Sweepable
from weightstring.study.sweep.plan import Plan
from weightstring.study.sweep.records import EndsRecord, levels_kept, read_ends


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

    def at(self, level: float, count: int) -> Trained:
        """The first ``count`` of them at a threshold; numbers of those over it come with them."""
        seeds = tuple(number for number, own in enumerate(self._heights) if no_worse(own, level))
        failed = tuple(number for number in range(len(self.thetas)) if number not in seeds)
        models = torch.stack(list(self.thetas))
        return Trained(seeds[:count], models[list(seeds[:count])], failed)

    @cached_property
    def _heights(self) -> list[float]:
        measured = self.problem.measure(torch.stack(list(self.thetas)), (self.plan.bind,))[self.plan.bind]
        return [value if math.isfinite(value) else math.inf for value in measured.tolist()]


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
    _known: dict[float, Trained] = field(default_factory=dict)

    def at(self, level: float, count: int) -> Trained:
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
                return Trained(known.seeds[: len(wanted)], known.thetas[: len(wanted)], known.failed)

    def _wanted(self, known: Trained, count: int) -> list[int]:
        """The first ``count`` seeds that have not failed: the same ones, whatever was trained before or interrupted."""
        failed = set(known.failed)
        tried = range(self.plan.seed, self.plan.seed + self.plan.tries * count)
        return list(islice((seed for seed in tried if seed not in failed), count))

    def _train(self, level: float, seeds: Sequence[int], known: Trained) -> None:
        independent = isinstance(self.problem, Independent) and self.problem.independent
        descents = Descents(
            self.problem,
            self._height,
            seed=derive_seed(self.plan.seed, "ends", repr(level)),
            recipe=self.problem.recipe,
            # After an interruption others are beside a network than before: that must not tell in its bits.
            width=batch_width(self.problem, len(seeds)) if independent else 1,
            on_check=self.on_check,
        )
        for seed in seeds:  # Minibatches by (seed, place), so that it matters to none who is trained beside it.
            descents.add(Start(self._start(seed, level), level, level, f"end-{seed}", value=None))
        found: dict[int, Descended] = {}
        try:
            while not descents.idle:
                found |= {seeds[number]: each for number, each in descents.advance().items()}
        finally:  # Those that are done are kept, whatever stops the others.
            if found:
                self._keep(level, _with(known, found))

    def _start(self, seed: int, level: float) -> Theta:
        """The same seed's network at the lowest threshold above, where ends are carried; else a random one."""
        above = sorted(own for own in self._levels() if own > level)
        for own in above if self.plan.ends == "carried" else ():
            known = self._read(own)
            if seed in known.seeds:
                return known.thetas[known.seeds.index(seed)]
        return self.problem.initial(seed)

    def _height(self, thetas: Thetas) -> Values:
        values = self.problem.measure(thetas, (self.plan.bind,))[self.plan.bind]
        return torch.where(values.isfinite(), values, torch.inf)

    def _levels(self) -> list[float]:
        return list(self._known) if self.folder is None else levels_kept(self.folder)

    def _read(self, level: float) -> Trained:
        nothing = Trained((), self.problem.initial(0).new_empty(0, self.problem.size))
        if level in self._known or self.folder is None:
            return self._known.get(level, nothing)
        told = read_ends(self.folder, level)
        if told is None:
            return nothing
        thetas = self._networks(level, told, self.folder) if told.seeds else nothing.thetas
        self._known[level] = Trained(told.seeds, thetas.to(self.problem.device), told.failed)
        return self._known[level]

    def _networks(self, level: float, told: EndsRecord, folder: Path) -> Thetas:
        remedy = f"delete {level!r}.json beside it, and its networks are trained again"
        path = folder / told.networks
        if not _names_its_own(level, told.networks):
            raise InvalidRun(
                f"{folder}/{level!r}.json: names the networks {told.networks!r:.200}, not its own; {remedy}"
            )
        try:
            thetas = read_beads(member(folder, told.networks), told.sha256)
        except InvalidRun as problem:
            raise InvalidRun(f"{problem}; {remedy}") from None
        if thetas.shape != (len(told.seeds), self.problem.size) or thetas.dtype != self.problem.dtype:
            raise InvalidRun(f"{path}: not the {len(told.seeds)} networks of {level!r}.json; {remedy}")
        return thetas

    def _keep(self, level: float, trained: Trained) -> None:
        if self.folder is not None:
            with writing(self.folder / f"{level!r}.json", GO_ON):
                _write(self.folder, level, trained)
        self._known[level] = trained


def _with(known: Trained, found: Mapping[int, Descended]) -> Trained:
    """What was known and what was found, seeds rising."""
    reached = dict(zip(known.seeds, known.thetas, strict=True))
    reached |= {seed: each.theta for seed, each in found.items() if each.status == "reached"}
    seeds = tuple(sorted(reached))
    failed = {seed for seed, each in found.items() if each.status != "reached"}
    thetas = torch.stack([reached[seed] for seed in seeds]) if seeds else known.thetas
    return Trained(seeds, thetas, tuple(sorted({*known.failed, *failed})))


def _names_its_own(level: float, networks: str) -> bool:
    """Whether a file of networks is called as :func:`_write` calls it, and so lies beside the list that names it."""
    count = networks.removeprefix(f"{level!r}-").removesuffix(".safetensors")
    return count.isdecimal() and networks == f"{level!r}-{count}.safetensors"


def _write(folder: Path, level: float, trained: Trained) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    # Under a name of its own, so that until the list below names it the earlier ones are still whole.
    file = f"{level!r}-{len(trained.seeds) + len(trained.failed)}.safetensors"
    sha256 = write_beads(folder / file, trained.thetas) if trained.seeds else ""
    told = EndsRecord(seeds=trained.seeds, failed=trained.failed, networks=file, sha256=sha256)
    replace_file(folder / f"{level!r}.json", msgspec.json.encode(told))
    for earlier in folder.glob(f"{level!r}-*.safetensors"):
        if earlier.name != file:
            earlier.unlink()
