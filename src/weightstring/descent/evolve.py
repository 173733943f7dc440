"""Descend models that move together, such as all beads of a string side by side (Section II.C).

Each moving row stops, and spends no further gradient, as soon as it is at the level; the others go on.
Several evolutions share every batch of gradients.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Collection, Hashable, Sequence
from dataclasses import dataclass, field, replace
from typing import ClassVar

import torch
from torch import Tensor

from weightstring.arrays import Thetas
from weightstring.codec import Loss, Record
from weightstring.descent.allowance import Allowances
from weightstring.descent.minibatches import Minibatches, minibatches
from weightstring.descent.motion import Look, Motion
from weightstring.descent.optimizers import Optimizers
from weightstring.descent.watch import Height, Status, Watch, look_at
from weightstring.protocol import Gradient, LossProblem, Recipe
from weightstring.randomness import generator

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


class Evolutions:
    """Evolutions under way side by side.

    Args:
        problem: the loss; its training gradient is followed.
        height: the measured quantity.
        seed: with each evolution's place, determines all that is random.
        recipe: optimizer and limits.
        screening: a cheap estimate of the height.
        on_step: called after every step; it may raise.
        allowed: steps that may be taken.

    Raises:
        InvalidSetting: the recipe's optimizer or options are unknown.
    """

    def __init__(
        self,
        problem: LossProblem,
        height: Height,
        *,
        seed: int,
        recipe: Recipe,
        screening: Height | None = None,
        on_step: Callable[[], None] = lambda: None,
        allowed: Allowances | None = None,
    ) -> None:
        self._problem = problem
        self._height = height
        self._screening = screening
        self._seed = seed
        self._recipe = recipe
        self._on_step = on_step
        self._running: dict[int, _Run] = {}
        self._added = 0
        self._allowed = allowed or Allowances()
        self._owners: dict[int, Hashable] = {}

    def add(self, evolution: Evolution, owner: Hashable = None) -> int:
        """Begin one; the number by which its result is known.

        Args:
            evolution: what is to move.
            owner: whose allowance it takes its steps from.
        """
        self._owners[self._added] = owner
        self._running[self._added] = _Run(self._problem, self._seed, self._recipe, evolution)
        self._added += 1
        return self._added - 1

    def cancel(self, numbers: Collection[int]) -> None:
        """Give evolutions up: they have no result."""
        self._running = {number: run for number, run in self._running.items() if number not in numbers}

    @property
    def idle(self) -> bool:
        """Whether none is under way."""
        return not self._running

    @property
    def running(self) -> int:
        """Models that move."""
        return sum(len(run.moving) for run in self._running.values())

    def advance(self) -> dict[int, Evolved]:
        """Go on until the next measurement; the evolutions that are over then, by number.

        Where somebody's allowance is spent, nothing is done until his evolutions are cancelled.
        """
        self._check([run for run in self._running.values() if run.steps == 0])
        for _ in range(min((run.steps_to_check for run in self._running.values() if run.moving), default=0)):
            each: Counter[Hashable] = Counter()
            for number, run in self._running.items():
                each[self._owners[number]] += run.evolution.motion.cost(run.moving) if run.moving else 0
            if self._allowed.steps(each, 1) == 0:
                return {}
            self._step()
            self._allowed.take(each)
            self._on_step()
        self._check([run for run in self._running.values() if run.steps and run.is_due])
        over = {number: run for number, run in self._running.items() if run.is_over}
        self.cancel(over)
        return {number: self._finished(run) for number, run in over.items()}

    def _step(self) -> None:
        for phase in range(max(run.evolution.motion.phases for run in self._running.values())):
            stepping = [run for run in self._running.values() if run.begin(phase)]
            if not stepping:
                continue
            looks = [run.look for run in stepping]
            rows = [minibatch.draw() for run in stepping for minibatch in run.minibatches()]
            gradient = self._problem.gradient(
                torch.cat([look.models for look in looks]), torch.stack(rows) if rows else None
            )
            sizes = [len(look.models) for look in looks]
            parts = zip(torch.split(gradient.losses, sizes), torch.split(gradient.gradients, sizes), strict=True)
            for run, (losses, gradients) in zip(stepping, parts, strict=True):
                run.follow(Gradient(losses, gradients))
        for run in self._running.values():
            run.steps += 1

    def _check(self, runs: Sequence[_Run]) -> None:
        """Measure the moving rows; those at the level wait from now on."""
        aimed = [run for run in runs if run.aimed and run.moving]
        for most in dict.fromkeys(run.evolution.steps for run in aimed):
            group = [run for run in aimed if run.evolution.steps == most]
            watches = [watch for run in group for watch in run.watches_moving]
            steps = [run.steps for run in group for _ in run.moving]
            rows = torch.cat([run.thetas[run.moving] for run in group])
            patience = max(1, self._recipe.patience // SHORTER)
            recipe = replace(self._recipe, max_steps=most, patience=patience)
            look_at(watches, rows, steps, self._height, self._screening, recipe)
        for run in runs:
            run.settle()

    def _finished(self, run: _Run) -> Evolved:
        probes = run.evolution.motion.probes(run.thetas)
        thetas = torch.cat([run.reached, probes])
        unknown = probes if run.aimed else thetas
        measured = self._height(unknown).tolist() if len(unknown) else []
        known = [watch.best_value for watch in run.watches] if run.aimed else []
        statuses: list[Status] = [watch.status or "exhausted" for watch in run.watches]
        evaluations = sum(watch.evaluations for watch in run.watches) + len(unknown)
        return Evolved(thetas, (*known, *measured), tuple(statuses), run.gradients, evaluations, tuple(run.trace))


@dataclass
class _Run:
    """One evolution under way."""

    problem: LossProblem
    seed: int
    recipe: Recipe
    evolution: Evolution
    steps: int = 0
    gradients: int = 0
    trace: list[tuple[float | None, ...]] = field(default_factory=list)

    def __post_init__(self) -> None:
        evolution = self.evolution
        self.moving = list(evolution.moving)
        self.thetas = evolution.thetas.detach().clone()
        self.aimed = math.isfinite(evolution.aim)
        self._random = generator(self.seed, "motion", evolution.place)
        self._optimizers = Optimizers(self.recipe)
        self._drawn: dict[int, Minibatches] = {}
        placed = evolution.motion.place(self.thetas, self.thetas[self.moving], self.moving)
        known: list[float | None] = [None] * len(self.moving)
        if evolution.values is not None and torch.equal(placed, self.thetas[self.moving]):
            known = [value if math.isfinite(value) else None for value in evolution.values]
        self.thetas[self.moving] = placed
        self.watches = [
            Watch(k, evolution.aim, evolution.limit, placed[k].clone(), value) for k, value in enumerate(known)
        ]
        self._leaves = self._leaves_of(self.moving)
        for leaf, _ in self._leaves:
            self._optimizers.add(leaf, evolution.rate)

    def _leaves_of(self, moving: Sequence[int]) -> list[tuple[Tensor, list[int]]]:
        """Leaves of the optimizer, each with the rows that it stands for: rows of one leaf move at once."""
        phases = self.evolution.motion.phases
        groups = [[row for row in moving if _phase(row, phases) == phase] for phase in range(phases)]
        if not self._optimizers.stacks:
            groups = [[row] for row in moving]
        made = []
        for group in filter(None, groups):
            rows = self.thetas[group] if self._optimizers.stacks else self.thetas[group[0]].clone()
            made.append((rows.requires_grad_(), group))
        return made

    @property
    def watches_moving(self) -> list[Watch]:
        return [self.watches[self.evolution.moving.index(row)] for row in self.moving]

    @property
    def reached(self) -> Thetas:
        """What the moving rows reached: at best where there is a level, in the end where there is none."""
        rows = list(self.evolution.moving)
        return torch.stack([watch.best for watch in self.watches]) if self.aimed else self.thetas[rows]

    @property
    def is_due(self) -> bool:
        return self.steps_to_check == 0 or self.steps % self.recipe.check_every == 0

    @property
    def steps_to_check(self) -> int:
        every = self.recipe.check_every
        return max(0, min(every - self.steps % every, self.evolution.steps - self.steps))

    @property
    def is_over(self) -> bool:
        return not self.moving or self.steps >= self.evolution.steps

    def begin(self, phase: int) -> bool:
        """Look where gradients are wanted in a phase; whether anything moves in it."""
        phases = self.evolution.motion.phases
        self._turn = [row for row in self.moving if _phase(row, phases) == phase]
        if self._turn:
            self.look: Look = self.evolution.motion.look(self.thetas, self._turn, self._random)
        return bool(self._turn)

    def minibatches(self) -> list[Minibatches]:
        """The minibatches of the models looked at."""
        names = self._turn if self.look.shares is None else range(len(self.look.models))
        made = []
        for name in names:
            if name not in self._drawn:
                drawn = minibatches(self.problem, self.seed, f"{self.evolution.place}/{name}")
                if drawn is None:
                    return []
                self._drawn[name] = drawn
            made.append(self._drawn[name])
        return made

    def follow(self, gradient: Gradient) -> None:
        """Take the step of this phase."""
        motion, turn = self.evolution.motion, self._turn
        self.gradients += len(self.look.models)
        directed = motion.direct(self.thetas, turn, self.look, gradient)
        seen = Gradient(gradient.losses, directed)
        if self.recipe.clip is not None:
            norms = directed.norm(dim=1, keepdim=True)
            directed = directed * (self.recipe.clip / norms).clamp(max=1)
        position = {row: k for k, row in enumerate(turn)}
        moved = []
        for leaf, rows in self._leaves:
            leaf.grad = None
            if rows[0] in position:
                leaf.grad = directed[[position[row] for row in rows]].view_as(leaf)
                moved.append((leaf, rows))
        self._optimizers.step()
        after = torch.stack([theta for leaf, rows in moved for theta in leaf.detach().view(len(rows), -1)])
        assert [row for _, rows in moved for row in rows] == turn
        placed = motion.place(self.thetas, motion.step(self.thetas, after, turn, seen), turn)
        self.thetas[turn] = placed
        for (leaf, _), part in zip(moved, torch.split(placed, [len(rows) for _, rows in moved]), strict=True):
            leaf.data.copy_(part.view_as(leaf))

    def settle(self) -> None:
        """Let the rows wait that are at the level, or beyond hope."""
        if not self.aimed or not self.moving:
            return
        watched = dict(zip(self.moving, self.watches_moving, strict=True))
        self.trace.append(tuple(watched[row].last if row in watched else None for row in self.evolution.moving))
        for row, watch in watched.items():
            if watch.status is not None:
                self.thetas[row] = watch.best
        self.moving = [row for row, watch in watched.items() if watch.status is None]
        left: list[tuple[Tensor, list[int]]] = []
        for leaf, rows in self._leaves:
            kept = [k for k, row in enumerate(rows) if row in self.moving]
            if len(kept) == len(rows):
                left.append((leaf, rows))
            elif kept:
                left.append((self._optimizers.keep(leaf, kept), [rows[k] for k in kept]))
            else:
                self._optimizers.remove(leaf)
        self._leaves = left


def _phase(row: int, phases: int) -> int:
    """In which part of a step a row moves: of two, the odd rows in the first.

    >>> [_phase(row, 2) for row in range(4)]
    [1, 0, 1, 0]
    """
    return (row + phases - 1) % phases
