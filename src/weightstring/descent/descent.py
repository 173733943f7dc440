"""Descend many models side by side, each to its own level: step 3 of the greedy algorithm (Section II.B).

The level is measured on the quantity that the threshold binds, not on the minibatches. ``aim`` is
where a descent stops at once, ``limit`` what it must get under to count: a bead that cannot reach
α·L0 but stays under L0 is a good bead, and forcing it further only over-trains it.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

import torch
from torch import Tensor

from weightstring.arrays import Theta, Thetas, Values
from weightstring.descent.minibatches import Minibatches, minibatches
from weightstring.descent.optimizers import Optimizers
from weightstring.protocol import LossProblem, Recipe

Height = Callable[[Thetas], Values]
Status = Literal["reached", "exhausted", "diverged"]

WIDTH = 16
"""Models descended side by side, where memory allows."""
MEMORY = 1 << 30
"""Bytes that the models of one batch, their gradients, optimizer states and best copies may take."""
MIN_IMPROVEMENT = 1e-4
"""Relative improvement that counts as one: without it, an asymptote is followed to max_steps."""


@dataclass(frozen=True)
class Start:
    """One descent: from ``theta`` until ``aim``; what it reaches counts if it is at most ``limit``.

    Args:
        theta: where to start (P,).
        aim: the height at which the descent stops at once.
        limit: the height it must reach to succeed, at least ``aim``.
        place: names the descent; its minibatches depend on (seed, place) alone.
        rate: factor on the recipe's learning rate.
    """

    theta: Theta
    aim: float
    limit: float
    place: str
    rate: float = 1.0


class Check(NamedTuple):
    """How far a batch of descents is.

    ``finished`` and ``running`` count descents; ``steps`` is the largest number of steps of a running
    one, ``lowest`` the least height that one of them has reached.
    """

    finished: int
    running: int
    steps: int
    lowest: float


class Descended(NamedTuple):
    """Where a descent ended: its best θ (P,) and height, how it went, and what it cost.

    ``status`` is reached (best height ≤ limit), exhausted (no more improvement, or max_steps) or
    diverged (a height that is not finite; the best state before that is kept).
    """

    theta: Theta
    value: float
    status: Status
    steps: int
    evaluations: int


@dataclass
class _Descent:
    """A descent under way."""

    index: int
    start: Start
    theta: Tensor
    rows: Minibatches | None
    best: Tensor
    best_value: float = math.inf
    reference: float = math.inf
    stale: int = 0
    steps: int = 0
    evaluations: int = 0
    status: Status | None = None

    def is_due(self, recipe: Recipe) -> bool:
        """Whether it is to be measured: every ``check_every`` of its steps, and after its last."""
        return self.steps % recipe.check_every == 0 or self.steps == recipe.max_steps

    def steps_to_check(self, recipe: Recipe) -> int:
        """Steps until then."""
        return min(recipe.check_every - self.steps % recipe.check_every, recipe.max_steps - self.steps)

    def check(self, value: float, recipe: Recipe) -> None:
        """Take in a measurement and decide whether the descent is over."""
        self.evaluations += 1
        if value < self.best_value:
            self.best_value = value
            self.best.copy_(self.theta.detach())
        if value < self.reference - MIN_IMPROVEMENT * abs(self.reference) or math.isinf(self.reference):
            self.reference = min(value, self.reference)
            self.stale = 0
        else:
            self.stale += 1
        finite = math.isfinite(value)
        out_of_patience = self.stale >= recipe.patience or self.steps >= recipe.max_steps
        if self.best_value <= self.start.aim or not finite or out_of_patience:
            missed: Status = "exhausted" if finite else "diverged"
            reached = math.isfinite(self.best_value) and self.best_value <= self.start.limit
            self.status = "reached" if reached else missed


def batch_width(problem: LossProblem) -> int:
    """How many models of ``problem`` are descended side by side: :data:`WIDTH`, fewer if they are large."""
    copies = 6  # θ, its copy in the batch, gradient, two optimizer moments, best state
    return max(1, min(WIDTH, MEMORY // (copies * problem.size * problem.dtype.itemsize)))


def descend(
    problem: LossProblem,
    height: Height,
    starts: Sequence[Start],
    *,
    seed: int,
    recipe: Recipe | None = None,
    width: int | None = None,
    on_check: Callable[[Check], None] = lambda check: None,
) -> list[Descended]:
    """Descend from every start, ``width`` at a time; a finished one makes room for the next in the queue.

    Args:
        problem: the loss; descents follow its training gradient.
        height: the measured quantity, (B, P) → (B,) float64; every ``check_every`` steps.
        starts: the descents, begun in this order.
        seed: with each start's place, determines its minibatches.
        recipe: optimizer and limits; the problem's own by default.
        width: descents side by side; :func:`batch_width` by default.
        on_check: told after each measurement how far the descents are; it may raise.

    Returns:
        One result a start, in order.

    Raises:
        InvalidSetting: the recipe's optimizer or options are unknown.
    """
    recipe = recipe or problem.recipe
    width = width or batch_width(problem)
    optimizers = Optimizers(recipe)
    queue = deque(enumerate(starts))
    running: list[_Descent] = []
    finished: dict[int, Descended] = {}

    def check(descents: Sequence[_Descent]) -> None:
        """Measure, and let those go that are over."""
        values = height(torch.stack([d.theta.detach() for d in descents])).tolist()
        for descent, value in zip(descents, values, strict=True):
            descent.check(value, recipe)
            if descent.status is not None:
                optimizers.remove(descent.theta)
                finished[descent.index] = Descended(
                    descent.best, descent.best_value, descent.status, descent.steps, descent.evaluations
                )
        running[:] = [d for d in running if d.status is None]
        steps = max((d.steps for d in running), default=0)
        on_check(Check(len(finished), len(running), steps, min((d.best_value for d in running), default=math.inf)))

    def refill() -> None:
        """Begin the next in the queue where there is room."""
        # A start that is already low enough finishes at its first check, so this may take several rounds.
        while queue and len(running) < width:
            fresh = [_begin(problem, seed, *queue.popleft()) for _ in range(min(width - len(running), len(queue)))]
            for descent in fresh:
                optimizers.add(descent.theta, descent.start.rate)
            running.extend(fresh)
            check(fresh)

    refill()
    while running:
        for _ in range(min(d.steps_to_check(recipe) for d in running)):
            _step(problem, running, optimizers)
        # Each at its own steps, or what a descent finds would depend on who is beside it.
        check([d for d in running if d.is_due(recipe)])
        refill()
    return [finished[i] for i in range(len(starts))]


def _begin(problem: LossProblem, seed: int, index: int, start: Start) -> _Descent:
    theta = start.theta.detach().clone().requires_grad_()
    return _Descent(index, start, theta, minibatches(problem, seed, start.place), best=theta.detach().clone())


def _step(problem: LossProblem, descents: Sequence[_Descent], optimizers: Optimizers) -> None:
    rows = [d.rows.draw() for d in descents if d.rows is not None]
    thetas = torch.stack([d.theta.detach() for d in descents])
    gradients = problem.gradient(thetas, torch.stack(rows) if rows else None).gradients
    for descent, gradient in zip(descents, gradients, strict=True):
        descent.theta.grad = gradient
        descent.steps += 1
    optimizers.step()
