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
from typing import Literal

import torch

from weightstring.arrays import Theta, Thetas, Values

Height = Callable[[Thetas], Values]
Status = Literal["reached", "exhausted", "diverged"]

MIN_IMPROVEMENT = 1e-4
"""Relative improvement that counts as one: without it, an asymptote is followed to max_steps."""
ENOUGH = 4
"""By how much patience with a descent is shorter once it is under its limit."""


@dataclass
class PlateauMonitor:
    """The measurements of one model that descends, and whether it is over.

    Args:
        aim: the height at which it stops at once.
        limit: the height it must reach to succeed.
        best: the best state so far; overwritten by better ones.
        patience: measurements without improvement after which it stops.
        max_steps: steps after which it stops.
        known: the height of the start, where that is known.
    """

    aim: float
    limit: float
    best: Theta
    patience: int
    max_steps: int
    known: float | None = None
    best_value: float = math.inf
    best_is_measured: bool = True
    reference: float = math.inf
    stale: int = 0
    evaluations: int = 0
    offset: float | None = None
    last: float = math.inf
    status: Status | None = None

    def take(self, theta: Theta, value: float, measured: bool, steps: int) -> None:
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
        if (measured and self.best_value <= self.aim) or not finite or self._out_of_patience(steps):
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

    def correct(self, value: float, steps: int) -> None:
        """Put the measured height of the best state in place of its prediction, and decide again."""
        self.evaluations += 1
        self.best_value, self.best_is_measured = value, True
        if self._counts:
            self.status = "reached"
        elif self.status != "diverged":
            self.status = "exhausted" if self._out_of_patience(steps) else None

    def _out_of_patience(self, steps: int) -> bool:
        # What is under the limit counts already: how much lower it may still get matters less.
        patience = max(1, self.patience // ENOUGH) if self._counts else self.patience
        return self.stale >= patience or steps >= self.max_steps

    @property
    def _counts(self) -> bool:
        return math.isfinite(self.best_value) and self.best_value <= self.limit


def measure(
    monitors: Sequence[PlateauMonitor],
    thetas: Thetas,
    steps: Sequence[int],
    height: Height,
    screening: Height | None,
) -> None:
    """Measure models that descend, or predict their heights where that is enough, and let each monitor take them in.

    Args:
        monitors: one for each model.
        thetas: where they are (B, P).
        steps: how many steps each has taken.
        height: the measured quantity.
        screening: a cheap estimate of it; None: everything is measured.
    """
    rough = None if screening is None else screening(thetas).tolist()
    values = [
        monitor.known if monitor.known is not None else None if rough is None else monitor.predict(rough[i])
        for i, monitor in enumerate(monitors)
    ]
    wanted = [i for i, value in enumerate(values) if value is None]
    if wanted:
        some = thetas if len(wanted) == len(thetas) else thetas[wanted]
        for i, value in zip(wanted, height(some).tolist(), strict=True):
            values[i] = value
            monitors[i].evaluations += 1
    for i, (monitor, value) in enumerate(zip(monitors, values, strict=True)):
        assert value is not None
        measured = rough is None or i in wanted or monitor.known is not None
        monitor.known = None
        if rough is not None and measured and math.isfinite(value):
            monitor.offset = value - rough[i]
        monitor.take(thetas[i], value, measured, steps[i])
    doubtful = [i for i, monitor in enumerate(monitors) if monitor.status is not None and not monitor.best_is_measured]
    if doubtful:
        measured_best = height(torch.stack([monitors[i].best for i in doubtful])).tolist()
        for i, value in zip(doubtful, measured_best, strict=True):
            monitors[i].correct(value, steps[i])
