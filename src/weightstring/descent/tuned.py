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
from torch.nn import functional

from weightstring.arrays import Thetas
from weightstring.descent.bead import Beads, Descended
from weightstring.descent.group import Entry, Scene, clipped
from weightstring.descent.minibatches import Minibatches
from weightstring.descent.optimizers import Optimizers
from weightstring.descent.plateau import Height, PlateauMonitor
from weightstring.descent.stepping import Stepping, Update
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
        """Take so many steps with each, in one call once its rate is found; tied ones go step by step."""
        if self._tethers:
            return False
        for i, stride in enumerate(self.strides):
            left = steps
            while left and stride.trials is not None:
                self._try(i, problem)
                left -= 1
            if left:
                self._run(i, left, problem)
        self.steps += steps
        return True

    def follow(self, gradient: Gradient) -> None:
        """A step of each bead along its gradient."""
        wide = self._directed(gradient)
        if any(stride.trials is not None for stride in self.strides):
            wide = wide.clone()
            for i, loss in enumerate(gradient.losses.tolist()):
                self._feel(i, loss, wide[i])
        self._move(slice(None), wide)

    def place(self) -> None:
        """Where the constraint allows them; there they enter the averages, once their rates are found."""
        self._tie()
        self._enter(slice(None))

    def _try(self, i: int, problem: Stepping) -> None:
        """A step of one bead that looks for its rate."""
        part, rows = slice(i, i + 1), self._leaf_rows
        drawn = self._minibatches[i].draw()[None] if self._minibatches else None
        found = problem.gradient(rows[part, : self._size], drawn)
        gradients = clipped(found.gradients, self._recipe.clip)
        wide = functional.pad(gradients, (0, rows.shape[1] - self._size))
        self._feel(i, float(found.losses[0]), wide[0])
        self._move(part, wide)
        self._enter(part)

    def _run(self, i: int, steps: int, problem: Stepping) -> None:
        """Steps of one bead whose rate is found, all in one call."""
        part, stride, before = slice(i, i + 1), self.strides[i], self.strides[i].averaged
        average = None if self._average is None else self._average.view_as(self._leaf_rows)[part]
        if stride.adam and self.square is None:
            self.square = torch.zeros_like(self._leaf_rows)
        update = Update(
            "adam" if stride.adam else "sgd",
            self._size,
            taken=before,
            rates=[stride.rate] * steps,
            momentum=MOMENTUM,
            second=SECOND,
            epsilon=TINY,
            clip=self._recipe.clip,
            moments=self.momentum[part],
            squares=self.square[part] if stride.adam and self.square is not None else None,
            average=average,
            weights=[] if average is None else [self._recipe.weight(before + k + 1) for k in range(steps)],
        )
        drawn = self._minibatches[i].draws(steps)[None] if self._minibatches else None
        problem.stride(self._leaf_rows[part], drawn, update)
        stride.averaged += steps

    def _move(self, part: slice, wide: Tensor) -> None:
        """A step of some beads along these gradients, by their rates."""
        momentum, rows = self.momentum[part], self._leaf_rows[part]
        way = momentum
        if any(stride.adam for stride in self.strides[part]):
            way = self._scaled(part, wide)
        else:
            momentum.mul_(MOMENTUM).add_(wide)
        rows.addcmul_(way, self.rates[part], value=-1)

    def _enter(self, part: slice) -> None:
        """Some beads enter their averages."""
        strides = self.strides[part]
        for stride in strides:
            stride.averaged += stride.trials is None
        if self._average is None:
            return
        weights = [self._recipe.weight(max(1, stride.averaged)) for stride in strides]
        column, rows = self.rates.new_tensor(weights)[:, None], self._leaf_rows
        self._average.view_as(rows)[part].lerp_(rows[part], column.expand_as(rows[part]))

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

    def _feel(self, i: int, loss: float, wide: Tensor) -> None:
        """Take in a bead's loss and gradient, while it looks for its rate; both become those by which it goes on."""
        stride, rows = self.strides[i], self._leaf_rows
        if stride.trials is None:
            return
        if not len(self._start):
            self._start, self._first = torch.empty_like(rows), torch.empty_like(rows)
        if stride.adam:
            row = wide.double()
            stride.begin_adam(loss, float(row.abs().sum()), float(rows[i].double().norm()) / self._size**0.5)
        elif stride.trials == 0:
            self._start[i], self._first[i] = rows[i], wide
            stride.begin(loss, _inner(wide, wide))
        else:
            self.momentum[i] = 0
            found = stride.tried(loss, _inner(self._first[i], wide))
            if not found or not loss < stride.loss:
                rows[i] = self._start[i]
                wide.copy_(self._first[i])
                self._tethers.replace(i, self._start[i, : self._size], self._first[i, : self._size])
        self._repeat(i, stride.trials is not None)
        self.rates[i] = stride.rate
        if all(stride.trials is None for stride in self.strides):
            self._start = self._first = rows[:0]

    def _scaled(self, part: slice, wide: Tensor) -> Tensor:
        """Which way beads go of which some go by Adam: along m̂ / (√v̂ + ε) with m ← μ m + (1 − μ) g."""
        if self.square is None:
            self.square = torch.zeros_like(self._leaf_rows)
        momentum, square, strides = self.momentum[part], self.square[part], self.strides[part]
        adam = torch.tensor([stride.adam for stride in strides], device=wide.device)[:, None]
        momentum.mul_(MOMENTUM).addcmul_(wide, torch.where(adam, 1 - MOMENTUM, 1.0).to(wide))
        square.mul_(SECOND).addcmul_(wide, wide, value=1 - SECOND)
        steps = [stride.averaged + 1 for stride in strides]
        second = self.rates.new_tensor([1 - SECOND**k for k in steps])[:, None]
        first = self.rates.new_tensor([1 / (1 - MOMENTUM**k) for k in steps])[:, None]
        scale = torch.where(adam, first / ((square / second).sqrt_() + TINY), 1.0)
        return scale.mul_(momentum)

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

    def draws(self, count: int) -> Tensor:
        """Row numbers (count, n) of the next minibatches, none of which is wanted again."""
        return self._source.draws(count)


def _inner(a: Tensor, b: Tensor) -> float:
    return float((a.double() * b.double()).sum())
