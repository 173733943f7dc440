"""Models that move together while they descend, such as all beads of a string side by side (Section II.C).

Each moving row stops, and spends no further gradient, as soon as it is at the level; the others go on.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Collection, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

import torch
from torch import Tensor

from weightstring.arrays import Thetas
from weightstring.codec import Loss, Record
from weightstring.descent.group import Entry, Scene, clipped, is_due, steps_to_check
from weightstring.descent.leaves import Leaves, phase_of
from weightstring.descent.minibatches import Minibatches, minibatches
from weightstring.descent.motion import Foretold, Look, Motion
from weightstring.descent.optimizers import Optimizers
from weightstring.descent.plateau import Height, PlateauMonitor, Status
from weightstring.descent.stepping import Blend, Stepping
from weightstring.protocol import Gradient
from weightstring.randomness import generator
from weightstring.recipe import Recipe

SHORTER = 4
"""By how much patience is shorter than with a single descent: the levels follow each other closely."""


@dataclass(frozen=True)
class Evolution:
    """What is to move, how, and until when.

    Args:
        place: names it; all that is random depends on (seed, place) alone.
        thetas: all models (n, P), also those that stay.
        moving: the rows that may move.
        motion: how.
        aim: the height at which a row stops at once; −inf: it goes on to the end.
        limit: the height that a row must reach to count.
        steps: after which the evolution ends whatever it has reached.
        values: the heights of the moving rows, where they are known; not finite where one is not.
        rate: factor on the recipe's learning rate.
    """

    place: str
    thetas: Thetas
    moving: tuple[int, ...]
    motion: Motion
    aim: float
    limit: float
    steps: int
    values: tuple[float, ...] | None = None
    rate: float = 1.0

    waits: ClassVar[bool] = False

    @property
    def result(self) -> type[Evolved]:
        """What comes of it."""
        return Evolved

    def at(self, place: str) -> Evolution:
        """The same evolution by another name."""
        return replace(self, place=place)

    def content(self) -> Iterable[object]:
        """The models, how they move, and how far."""
        yield from (self.thetas, self.place, self.moving, self.motion, self.aim, self.limit)
        yield from (self.steps, self.values, self.rate)

    def adds(self, beads: int) -> int:
        """As many as the string that comes of it has more."""
        return max(0, self.motion.beads(len(self.thetas)) - beads)

    def fits(self, result: Evolved) -> bool:
        """Whether as many rows moved."""
        return len(result.statuses) == len(self.moving)

    @property
    def alike(self) -> None:
        """It shares a leaf with no other."""

    def strides(self, recipe: Recipe) -> bool:
        """Never: its rows see each other."""
        return False

    @classmethod
    def begin(cls, entries: Sequence[Entry], scene: Scene, stacks: bool) -> Together:
        """The models of one evolution."""
        (entry,) = entries
        return Together(entry, scene, stacks)


class Evolved(Record, frozen=True, eq=False, tag="evolved"):
    """Where an evolution ended.

    ``thetas`` (k, P) are the moving rows, then the motion's probes, ``values`` their heights; ``statuses`` says
    how each moving row ended. ``steps`` counts gradients. ``trace`` holds, for each measurement on the way,
    the height of each moving row, None once it waits.
    """

    thetas: Tensor
    values: tuple[Loss, ...]
    statuses: tuple[Status, ...]
    steps: int
    evaluations: int
    trace: tuple[tuple[Loss | None, ...], ...] = ()

    largest: ClassVar[None] = None

    def __post_init__(self) -> None:
        if self.thetas.ndim != 2 or not len(self.statuses) <= len(self.values) == len(self.thetas):
            raise ValueError(f"{len(self.values)} heights and {len(self.statuses)} statuses, but not as many models")


class Together:
    """One evolution under way: its models, and leaves for those rows that move, one for each phase of a step."""

    in_place = False

    def __init__(self, entry: Entry, scene: Scene, stacks: bool) -> None:
        """Begin; ``stacks``: rows may share a leaf."""
        scene = scene._replace(recipe=scene.recipe.untuned)
        self._entry, self._scene, self._stacks = entry, scene, stacks
        evolution: Evolution = entry.descent
        self.evolution = evolution
        self.steps, self.until, self.rate = 0, evolution.steps, evolution.rate
        self.phases = evolution.motion.phases
        self._moving = list(evolution.moving)
        self._models = evolution.thetas.detach().clone()
        self._aimed = math.isfinite(evolution.aim)
        self._gradients = 0
        self._trace: list[tuple[float | None, ...]] = []
        self._random = generator(scene.seed, "motion", evolution.place)
        self._drawn: dict[int, Minibatches] = {}
        self._turn: list[int] = []
        placed = evolution.motion.place(self._models, self._models[self._moving], self._moving)
        known: list[float | None] = [None] * len(self._moving)
        if evolution.values is not None and torch.equal(placed, self._models[self._moving]):
            known = [value if math.isfinite(value) else None for value in evolution.values]
        self._models[self._moving] = placed
        patience = max(1, scene.recipe.patience // SHORTER)
        self._monitors = {
            row: PlateauMonitor(evolution.aim, evolution.limit, placed[k].clone(), patience, evolution.steps, known[k])
            for k, row in enumerate(evolution.moving)
        }
        self._leaves = Leaves.of(self._models, self._moving, self.phases, stacks)

    @property
    def leaves(self) -> list[Tensor]:
        """Those of the rows that move."""
        return self._leaves.tensors

    @property
    def monitors(self) -> list[PlateauMonitor]:
        """Those of the rows that move; none where they have no level to reach."""
        return [self._monitors[row] for row in self._moving] if self._aimed else []

    @property
    def thetas(self) -> Thetas:
        """The rows that move."""
        return self._models[self._moving]

    @property
    def running(self) -> int:
        """Rows that move."""
        return len(self._moving)

    def ahead(self) -> int:
        """To where the recipe wants to look."""
        return steps_to_check(self, self._scene.recipe.check_every)

    @property
    def due(self) -> bool:
        """Whether it does now."""
        return is_due(self, self._scene.recipe.check_every)

    def costs(self) -> Counter[Hashable]:
        """As many gradients as its motion needs."""
        return Counter({self._entry.owner: self.evolution.motion.cost(self._moving)})

    @property
    def models(self) -> Thetas:
        """Where its motion wants gradients."""
        return self._look.models

    def look(self, phase: int) -> bool:
        """Whether rows move in a phase; the motion then says where it looks."""
        self._turn = [row for row in self._moving if phase_of(row, self.phases) == phase]
        if self._turn:
            self._look: Look = self.evolution.motion.look(self._models, self._turn, self._random)
        return bool(self._turn)

    def minibatches(self) -> Sequence[Minibatches]:
        """One for each row, or for each model looked at where these are not the rows themselves."""
        return self._of_models(self._turn if self._look.shares is None else range(len(self._look.models)))

    def _of_models(self, names: Sequence[int]) -> list[Minibatches]:
        for name in names:
            if name not in self._drawn:
                drawn = minibatches(self._scene.problem, self._scene.seed, f"{self.evolution.place}/{name}")
                if drawn is None:
                    return []
                self._drawn[name] = drawn
        return [self._drawn[name] for name in names]

    def follow(self, gradient: Gradient) -> None:
        """What its motion makes of the gradients."""
        self._gradients += len(self._look.models)
        turn = self._turn
        directed = self.evolution.motion.direct(self._models, turn, self._look, gradient)
        self._seen = Gradient(gradient.losses, directed)
        directed = clipped(directed, self._scene.recipe.clip)
        for leaf, part in self._leaves.shared(turn, directed):
            leaf.grad = part.clone(memory_format=torch.contiguous_format)  # what is seen must stay

    def place(self) -> None:
        """Where its motion puts them."""
        motion, turn = self.evolution.motion, self._turn
        after = motion.step(self._models, self._leaves.rows(turn), turn, self._seen)
        placed = motion.place(self._models, after, turn)
        self._models[turn] = placed
        for leaf, part in self._leaves.shared(turn, placed):
            leaf.data.copy_(part)

    def leap(self, steps: int, problem: Stepping, optimizers: Optimizers) -> bool:
        """Take so many steps in one call where its motion is one that the problem knows; whether they were taken."""
        motion = self.evolution.motion
        if not self._stacks or not getattr(problem, "ties", False) or not isinstance(motion, Foretold):
            return False
        if not motion.holds(self._models, self._moving):
            return False
        ((leaf, rows),) = self._leaves.parts
        update = optimizers.update(leaf, self._models.shape[1], steps)
        if update is None:
            return False
        tie = motion.tie(self._models, rows, steps, self._random)
        points = range(tie.weights.shape[1]) if isinstance(tie, Blend) else rows
        drawn = [each.draws(steps) for each in self._of_models(points)]
        problem.stride(leaf.detach(), torch.stack(drawn) if drawn else None, replace(update, tie=tie))
        self._gradients += steps * len(points)
        self.steps += steps
        return True

    def finish(self, optimizers: Optimizers, height: Height) -> Mapping[Hashable, Evolved]:
        """Rows wait that are at the level, or beyond hope; the result, once all do or the steps are over."""
        if self._aimed:
            moving = set(self._moving)
            heights = [self._monitors[row].last if row in moving else None for row in self.evolution.moving]
            self._trace.append(tuple(heights))
            self._let_wait([row for row in self._moving if self._monitors[row].status is not None], optimizers)
        if self._moving and self.steps < self.until:
            return {}
        evolved = self._result(height)
        self.cancel([self._entry.key], optimizers)
        return {self._entry.key: evolved}

    def cancel(self, keys: Collection[Hashable], optimizers: Optimizers) -> None:
        """Give it up."""
        if self._entry.key in keys:
            self._moving = []
            for leaf in self.leaves:
                optimizers.remove(leaf)

    def _let_wait(self, waiting: Collection[int], optimizers: Optimizers) -> None:
        for row in waiting:
            self._models[row] = self._monitors[row].best
        self._moving = [row for row in self._moving if row not in waiting]
        self._leaves.release(waiting, optimizers)

    def _result(self, height: Height) -> Evolved:
        """What the rows reached: at best where there is a level, in the end where there is none."""
        monitors = list(self._monitors.values())
        rows = list(self.evolution.moving)
        reached = torch.stack([each.best for each in monitors]) if self._aimed else self._models[rows]
        probes = self.evolution.motion.probes(self._models)
        thetas = torch.cat([reached, probes])
        unknown = probes if self._aimed else thetas
        measured = height(unknown).tolist() if len(unknown) else []
        known = [each.best_value for each in monitors] if self._aimed else []
        statuses: list[Status] = [each.status or "exhausted" for each in monitors]
        evaluations = sum(each.evaluations for each in monitors) + len(unknown)
        values = (*known, *measured)
        return Evolved(thetas, values, tuple(statuses), self._gradients, evaluations, tuple(self._trace))
