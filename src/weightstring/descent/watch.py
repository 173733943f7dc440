"""When a descent is over: what its measurements say.

With a screening, most measurements are estimates on a part of the data. The difference between the
whole and the part hardly changes along a descent, so an estimate plus the last known difference
predicts the height. A prediction never decides that a descent has reached its aim, nor what it is
said to have reached: both are measured.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor

from weightstring.arrays import Theta, Thetas, Values
from weightstring.codec import Loss, Record
from weightstring.protocol import Recipe

Height = Callable[[Thetas], Values]
Status = Literal["reached", "exhausted", "diverged"]

MIN_IMPROVEMENT = 1e-4
"""Relative improvement that counts as one: without it, an asymptote is followed to max_steps."""
ENOUGH = 4
"""By how much patience with a descent is shorter once it is under its limit."""


class Descended(Record, frozen=True, eq=False, tag="descended"):
    """Where a descent ended: its best θ (P,) and height, how it went, and what it cost.

    ``status`` is reached (best height ≤ limit), exhausted (no more improvement, or max_steps) or
    diverged (a height that is not finite; the best state before that is kept).
    """

    theta: Tensor
    value: Loss
    status: Status
    steps: int
    evaluations: int

    largest: ClassVar[None] = None

    def __post_init__(self) -> None:
        if self.theta.ndim != 1:
            raise ValueError(f"a descent ends in one model, not in {len(self.theta)}")


@dataclass
class Watch:
    """One descent's measurements.

    Args:
        number: names the descent.
        aim: the height at which it stops at once.
        limit: the height it must reach to succeed.
        best: the best state so far; overwritten by better ones.
        known: the height of the start, where that is known.
    """

    number: int
    aim: float
    limit: float
    best: Theta
    known: float | None = None
    best_value: float = math.inf
    best_is_measured: bool = True
    reference: float = math.inf
    stale: int = 0
    evaluations: int = 0
    offset: float | None = None
    last: float = math.inf
    status: Status | None = None

    def take(self, theta: Theta, value: float, measured: bool, recipe: Recipe, steps: int) -> None:
        """Take in a height and decide whether the descent is over."""
        self.last = value
        if value < self.best_value:
            self.best_value = value
            self.best_is_measured = measured
            self.best.copy_(theta)
        if value < self.reference - MIN_IMPROVEMENT * abs(self.reference) or math.isinf(self.reference):
            self.reference = min(value, self.reference)
            self.stale = 0
        else:
            self.stale += 1
        finite = math.isfinite(value)
        if (measured and self.best_value <= self.aim) or not finite or self._out_of_patience(recipe, steps):
            missed: Status = "exhausted" if finite else "diverged"
            self.status = "reached" if self._counts else missed

    def predict(self, rough: float) -> float | None:
        """The height from an estimate of it; None where it has to be measured."""
        if self.offset is None or not math.isfinite(rough):
            return None
        value = rough + self.offset
        # A measured state that counts must not be given up for one that is only said to be better.
        would_replace = self.best_is_measured and self._counts and value < self.best_value
        return None if would_replace or value <= self.aim else value

    def correct(self, value: float, recipe: Recipe, steps: int) -> None:
        """Put the measured height of the best state in place of its prediction, and decide again."""
        self.evaluations += 1
        self.best_value, self.best_is_measured = value, True
        if self._counts:
            self.status = "reached"
        elif self.status != "diverged":
            self.status = "exhausted" if self._out_of_patience(recipe, steps) else None

    def _out_of_patience(self, recipe: Recipe, steps: int) -> bool:
        # What is under the limit counts already: how much lower it may still get matters less.
        patience = max(1, recipe.patience // ENOUGH) if self._counts else recipe.patience
        return self.stale >= patience or steps >= recipe.max_steps

    @property
    def _counts(self) -> bool:
        return math.isfinite(self.best_value) and self.best_value <= self.limit

    def result(self, steps: int) -> Descended:
        """What the descent reached, when it is over."""
        assert self.status is not None
        assert self.best_is_measured
        return Descended(self.best, self.best_value, self.status, steps, self.evaluations)


def look_at(
    watches: Sequence[Watch],
    thetas: Thetas,
    steps: Sequence[int],
    height: Height,
    screening: Height | None,
    recipe: Recipe,
) -> None:
    """Measure descents, or predict them where that is enough, and let each take in what was found.

    Args:
        watches: the descents.
        thetas: where they are (B, P).
        steps: how many steps each has taken.
        height: the measured quantity.
        screening: a cheap estimate of it; None: everything is measured.
        recipe: when patience ends.
    """
    rough = None if screening is None else screening(thetas).tolist()
    values = [
        watch.known if watch.known is not None else None if rough is None else watch.predict(rough[i])
        for i, watch in enumerate(watches)
    ]
    wanted = [i for i, value in enumerate(values) if value is None]
    if wanted:
        some = thetas if len(wanted) == len(thetas) else thetas[wanted]
        for i, value in zip(wanted, height(some).tolist(), strict=True):
            values[i] = value
            watches[i].evaluations += 1
    for i, (watch, value) in enumerate(zip(watches, values, strict=True)):
        assert value is not None
        measured = rough is None or i in wanted or watch.known is not None
        watch.known = None
        if rough is not None and measured and math.isfinite(value):
            watch.offset = value - rough[i]
        watch.take(thetas[i], value, measured, recipe, steps[i])
    doubtful = [i for i, watch in enumerate(watches) if watch.status is not None and not watch.best_is_measured]
    if doubtful:
        found = height(torch.stack([watches[i].best for i in doubtful])).tolist()
        for i, value in zip(doubtful, found, strict=True):
            watches[i].correct(value, recipe, steps[i])
