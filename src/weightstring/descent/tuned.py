"""Beads that find the length of their own steps, and when to look.

A step is one of stochastic gradient descent with momentum μ = .9: m ← μ m + g, θ ← θ − η m, from m = 0. What is kept
is the average of the iterates, as :meth:`weightstring.Recipe.weight` says. η is each bead's own:

- Its first gradient leads to a trial point, where the same minibatch gives the next; :class:`Stride` finds η from both.
  If the trial lies lower, the descent goes on from there with the second gradient, else from the start with the first.
- Where the aim is more than :data:`~weightstring.descent.stride.SLOW` steps ahead, Adam takes over, and keeps it if it
  falls faster.
- Where the height stops falling above the limit, rises above the start, or is no number, η is cut to a quarter, and the
  bead goes on with m = 0 and a new average: from its best state, or from the start where that is hardly lower.

Nothing depends on another bead or on the clock: the result follows from (seed, place, start), and from the step that an
earlier bead of the search found, where one did.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping, Sequence

import torch
from torch import Tensor

from weightstring.arrays import Thetas
from weightstring.descent.bead import Beads, Descended
from weightstring.descent.group import Entry, Scene
from weightstring.descent.minibatches import Minibatches
from weightstring.descent.optimizers import Optimizers
from weightstring.descent.plateau import Height, PlateauMonitor
from weightstring.descent.stepping import Stepping
from weightstring.descent.stride import STALE, Step, Stride
from weightstring.protocol import Gradient

MOMENTUM = 0.9
"""μ; Adam's β1 too."""
SECOND = 0.999
"""Adam's β2,"""
TINY = 1e-8
"""and its ε."""


class Tuned(Beads):
    """Beads that began together, each with an η of its own: rows of one leaf, which no optimizer of torch moves."""

    def __init__(self, entries: Sequence[Entry], scene: Scene, stacks: bool) -> None:
        """Begin; ``stacks`` is of no account: rows are stepped one by one."""
        super().__init__(entries, scene, stacks=True)
        starts = [entry.descent for entry in entries]
        self.strides = [Stride(start.aim, scene.recipe.check_every, start.rate) for start in starts]
        for stride, start in zip(self.strides, starts, strict=True):
            if start.step is not None:
                stride.go(start.step)
        for monitor in self._monitors:
            monitor.patience = STALE
        rows = self._leaf_rows
        self.momentum = torch.zeros_like(rows)
        self.square: Tensor | None = None
        self.rates = rows.new_tensor([stride.rate for stride in self.strides])[:, None]
        self._minibatches = [Again(each) for each in self._minibatches]
        self._start = self._first = rows[:0]

    @property
    def monitors(self) -> list[PlateauMonitor]:
        """Those of the beads that are due."""
        return [self._monitors[i] for i in self._due]

    @property
    def thetas(self) -> Thetas:
        """What is measured of these (k, P)."""
        due = self._due
        thetas = super().thetas
        return thetas if len(due) == len(thetas) else thetas[due]

    def ahead(self) -> int:
        """To the first that is due."""
        return max(0, min(self.until, *(stride.look for stride in self.strides)) - self.steps)

    @property
    def due(self) -> bool:
        """Whether one of them is."""
        return bool(self._due)

    def leap(self, steps: int, problem: Stepping, optimizers: Optimizers) -> bool:
        """Its steps are its own, and taken one by one."""
        return False

    def follow(self, gradient: Gradient) -> None:
        """A step of each bead along its gradient."""
        wide = self._directed(gradient)
        if any(stride.trials is not None for stride in self.strides):
            wide = self._feel(gradient.losses, wide.clone())
        self.momentum.mul_(MOMENTUM).add_(wide)
        way = self._scaled(wide) if any(stride.adam for stride in self.strides) else self.momentum
        self._leaf_rows.addcmul_(way, self.rates, value=-1)

    def place(self) -> None:
        """Where the constraint allows them; there they enter the averages, once their rates are found."""
        self._tie()
        if self._average is None:
            return
        for stride in self.strides:
            stride.averaged += stride.trials is None
        weights = [self._recipe.weight(max(1, stride.averaged)) for stride in self.strides]
        column = self.rates.new_tensor(weights)[:, None]
        rows = self._leaf_rows
        self._average.view_as(rows).lerp_(rows, column.expand_as(rows))

    def finish(self, optimizers: Optimizers, height: Height) -> Mapping[Hashable, Descended]:
        """Those that are over leave; those that failed go on by shorter steps, as long as that may help."""
        for i in self._due:
            monitor, stride = self._monitors[i], self.strides[i]
            over = monitor.status in ("exhausted", "diverged")
            failed = (over or (monitor.status is None and stride.blown(monitor.last))) and self.steps < self.until
            if failed and stride.cut(self.steps, monitor.best_value):
                self._again(i)
            elif monitor.status is None and stride.seen(self.steps, monitor.last):
                stride.turn(self.steps, monitor.best_value)
                self._again(i)
        return super().finish(optimizers, height)

    def _feel(self, losses: Tensor, wide: Tensor) -> Tensor:
        """Take a step of the beads that look for their rates; the gradients by which all go on."""
        rows = self._leaf_rows
        if not len(self._start):
            self._start, self._first = torch.empty_like(rows), torch.empty_like(rows)
        for i, stride in enumerate(self.strides):
            if stride.trials is None:
                continue
            loss = float(losses[i])
            if stride.adam:
                row = wide[i].double()
                stride.begin_adam(loss, float(row.abs().sum()), float(rows[i].double().norm()) / self._size**0.5)
            elif stride.trials == 0:
                self._start[i], self._first[i] = rows[i], wide[i]
                stride.begin(loss, _inner(wide[i], wide[i]))
            else:
                self.momentum[i] = 0
                found = stride.tried(loss, _inner(self._first[i], wide[i]))
                if not found or not loss < stride.loss:
                    rows[i], wide[i] = self._start[i], self._first[i]
                    self._seen_at(i, self._start[i], self._first[i])
            self._repeat(i, stride.trials is not None)
            self.rates[i] = stride.rate
        if all(stride.trials is None for stride in self.strides):
            self._start = self._first = rows[:0]
        return wide

    def _scaled(self, wide: Tensor) -> Tensor:
        """Which way each bead goes, where some go by Adam, along m̂ / (√v̂ + ε) with m̂ from m = Σ μ^(k−i) g_i."""
        if self.square is None:
            self.square = torch.zeros_like(wide)
        self.square.mul_(SECOND).addcmul_(wide, wide, value=1 - SECOND)
        steps = [stride.averaged + 1 for stride in self.strides]
        second = self.rates.new_tensor([1 - SECOND**k for k in steps])[:, None]
        first = self.rates.new_tensor([(1 - MOMENTUM) / (1 - MOMENTUM**k) for k in steps])[:, None]
        adam = torch.tensor([stride.adam for stride in self.strides], device=wide.device)[:, None]
        scale = torch.where(adam, first / ((self.square / second).sqrt_() + TINY), 1.0)
        return scale.mul_(self.momentum)

    def _again(self, i: int) -> None:
        """Let a bead go on from its best state, or from its start."""
        monitor, rows, theta = self._monitors[i], self._leaf_rows, self._monitors[i].best
        monitor.status, monitor.stale = None, 0
        if not self.strides[i].won(monitor.best_value):
            theta, monitor.reference = self._entries[i].descent.point(), math.inf
        rows[i, : self._size] = theta
        if self._average is not None:
            self._average.view_as(rows)[i, : self._size] = theta
        self.momentum[i] = 0
        if self.square is not None:
            self.square[i] = 0
        self.rates[i] = self.strides[i].rate

    def _found(self, i: int) -> Step | None:
        return self.strides[i].step if self.steps and self.strides[i].trials is None else None

    def _keep(self, rows: Sequence[int]) -> None:
        super()._keep(rows)
        self.strides = [self.strides[i] for i in rows]
        self.momentum, self.rates = self.momentum[rows], self.rates[rows]
        self.square = None if self.square is None else self.square[rows]
        if len(self._start):
            self._start, self._first = self._start[rows], self._first[rows]

    def _repeat(self, i: int, again: bool) -> None:
        if self._minibatches:
            drawn = self._minibatches[i]
            assert isinstance(drawn, Again)
            drawn.again = again

    @property
    def _due(self) -> list[int]:
        over = self.steps >= self.until
        return [i for i, stride in enumerate(self.strides) if over or stride.look <= self.steps]


class Again(Minibatches):
    """A bead's minibatches, of which the last can be had once more.

    Args:
        source: where they come from.
    """

    def __init__(self, source: Minibatches) -> None:
        self._source, self.again = source, False

    def draw(self) -> Tensor:
        """The last minibatch where it is wanted ``again``, else the next."""
        if not self.again:
            self._last = self._source.draw()
        return self._last


def _inner(a: Tensor, b: Tensor) -> float:
    return float((a.double() * b.double()).sum())
