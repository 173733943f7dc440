"""Beads that descend side by side, each to its own level: step 3 of the greedy algorithm (Section II.B)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Hashable, Mapping, Sequence
from dataclasses import replace
from typing import ClassVar

import torch
from torch import Tensor
from torch.nn import functional

from weightstring.arrays import Thetas, room
from weightstring.codec import Loss, Record
from weightstring.descent.group import Entry, Scene, clipped, is_due, steps_to_check
from weightstring.descent.minibatches import Minibatches, minibatches
from weightstring.descent.optimizers import Optimizers
from weightstring.descent.plateau import Height, PlateauMonitor, Status
from weightstring.descent.stepping import Stepping
from weightstring.descent.stride import Step
from weightstring.descent.tether import Tethers
from weightstring.protocol import Gradient


class Descended(Record, frozen=True, eq=False, tag="descended"):
    """Where a descent ended: its best θ (P,) and height, how it went, and what it cost.

    ``status`` is reached (best height ≤ limit), exhausted (no more improvement, or max_steps) or
    diverged (a height that is not finite; the best state before that is kept). ``step`` is what it found.
    """

    theta: Tensor
    value: Loss
    status: Status
    steps: int
    evaluations: int
    step: Step | None = None

    largest: ClassVar[None] = None

    def __post_init__(self) -> None:
        if self.theta.ndim != 1:
            raise ValueError(f"a descent ends in one model, not in {len(self.theta)}")


class Beads:
    """Beads that began together, all tied by one constraint or by none: rows of one leaf, which leave one by one.

    Rows that are stepped in one loop are filled up to whole lines: the loop's last numbers are rounded otherwise, and
    which those are would depend on who is beside a model.
    """

    phases = 1
    in_place = True

    def __init__(self, entries: Sequence[Entry], scene: Scene, stacks: bool) -> None:
        """Begin; ``stacks``: they may be the rows of one leaf."""
        problem, recipe, starts = scene.problem, scene.recipe, [entry.descent for entry in entries]
        points = [start.point().detach() for start in starts]
        leaf = points[0].clone()
        if stacks:
            width = room(problem.size, leaf.element_size())
            leaf = functional.pad(torch.stack(points), (0, width - problem.size))
        self.leaf = leaf.requires_grad_()
        self._recipe, self._average = recipe, None if recipe.average is None else leaf.detach().clone()
        self.steps, self.until, self.rate = 0, recipe.max_steps, starts[0].rate
        self._monitors = [
            PlateauMonitor(start.aim, start.limit, point.clone(), recipe.patience, recipe.max_steps, start.value)
            for start, point in zip(starts, points, strict=True)
        ]
        self._entries = list(entries)
        self._size = problem.size
        drawn = [minibatches(problem, scene.seed, start.place) for start in starts]
        self._minibatches: list[Minibatches] = [each for each in drawn if each is not None]
        self._tethers = Tethers([start.tether for start in starts if start.tether is not None])

    @property
    def leaves(self) -> list[Tensor]:
        """Its one leaf."""
        return [self.leaf]

    @property
    def monitors(self) -> Sequence[PlateauMonitor]:
        """Of all of them."""
        return self._monitors

    def ahead(self) -> int:
        """To where the recipe wants to look."""
        return steps_to_check(self, self._recipe.check_every)

    @property
    def due(self) -> bool:
        """Whether it does now."""
        return is_due(self, self._recipe.check_every)

    @property
    def running(self) -> int:
        """Beads that are not over."""
        return len(self._entries)

    @property
    def thetas(self) -> Thetas:
        """What is measured and kept (k, P): the beads, or the averages of their iterates; both where they may be."""
        if self._average is None:
            return self.models
        return self._tethers.place(self._rows(self._average))

    def costs(self) -> Counter[Hashable]:
        """One gradient for each bead."""
        return Counter(entry.owner for entry in self._entries)

    @property
    def models(self) -> Thetas:
        """The beads themselves (k, P)."""
        return self._rows(self.leaf.detach())

    def look(self, phase: int) -> bool:
        """All move in the first phase."""
        return phase == 0

    def minibatches(self) -> Sequence[Minibatches]:
        """One for each bead."""
        return self._minibatches

    def leap(self, steps: int, problem: Stepping, optimizers: Optimizers) -> bool:
        """Take so many steps in one call of the problem, where nothing else acts on the beads; whether it was done."""
        if self._tethers or self.leaf.ndim != 2:
            return False
        update = optimizers.update(self.leaf, self._size, steps)
        if update is None:
            return False
        if self._average is not None:
            weights = [self._recipe.weight(self.steps + i + 1) for i in range(steps)]
            update = replace(update, average=self._average, weights=weights)
        rows = [each.draws(steps) for each in self._minibatches]
        problem.stride(self.leaf.detach(), torch.stack(rows) if rows else None, update)
        self.steps += steps
        return True

    def follow(self, gradient: Gradient) -> None:
        """The loss's gradients, and those of the constraint."""
        self.leaf.grad = self._directed(gradient).view_as(self.leaf)

    def _directed(self, gradient: Gradient) -> Tensor:
        """The gradients to follow, as long as the leaf's rows."""
        wide = gradient.gradients
        if self._tethers or self._recipe.clip is not None:
            directed = wide[:, : self._size]
            if self._tethers:
                directed = self._tethers.direct(self.models, directed)
            wide = functional.pad(clipped(directed, self._recipe.clip), (0, wide.shape[1] - self._size))
        return wide

    def place(self) -> None:
        """Where the constraint allows them; there they enter the averages."""
        self._tie()
        if self._average is not None:
            self._average.lerp_(self.leaf.detach(), self._recipe.weight(self.steps + 1))

    def _tie(self) -> None:
        """Put beads where the constraint allows them."""
        if self._tethers:
            self.models.copy_(self._tethers.step(self.models))

    def finish(self, optimizers: Optimizers, height: Height) -> Mapping[Hashable, Descended]:
        """Those that are over leave."""
        finished: dict[Hashable, Descended] = {}
        for i, (entry, monitor) in enumerate(zip(self._entries, self._monitors, strict=True)):
            if monitor.status is not None:
                assert monitor.best_is_measured
                finished[entry.key] = Descended(
                    monitor.best, monitor.best_value, monitor.status, self.steps, monitor.evaluations, self._found(i)
                )
        self.cancel(finished, optimizers)
        return finished

    def cancel(self, keys: Collection[Hashable], optimizers: Optimizers) -> None:
        """Let beads go, and their rows with them."""
        rows = [i for i, entry in enumerate(self._entries) if entry.key not in keys]
        if len(rows) == len(self._entries):
            return
        if rows:
            self.leaf = optimizers.keep(self.leaf, rows)
        else:
            optimizers.remove(self.leaf)
        self._keep(rows)

    def _found(self, i: int) -> Step | None:
        """The step that a bead found; these look for none."""
        return None

    def _keep(self, rows: Sequence[int]) -> None:
        """Keep what there is of some beads beside the leaf."""
        if self._average is not None and rows:
            self._average = self._average[rows]
        self._monitors = [self._monitors[i] for i in rows]
        self._entries = [self._entries[i] for i in rows]
        self._minibatches = [self._minibatches[i] for i in rows] if self._minibatches else []
        self._tethers.keep(rows)

    @property
    def _leaf_rows(self) -> Tensor:
        """The leaf's rows, one a bead, filled up to whole lines."""
        rows: Tensor = self.leaf.detach().view(len(self._entries), -1)
        return rows

    def _rows(self, leaf: Tensor) -> Thetas:
        """The models (k, P) in a tensor that is laid out as the leaf is."""
        return leaf.view(len(self._entries), -1)[:, : self._size]
