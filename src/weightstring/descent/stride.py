"""How one bead strides: the length of its steps, when to shorten them, and when to look.

Source of the two lengths: the trial point is half as far as a straight line down to 0 would lead, B. T. Polyak,
"Introduction to Optimization", 1987; from there the secant of the slopes gives the least of a parabola, as in
J. Barzilai and J. M. Borwein, "Two-point step size gradient methods", 1988.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Annotated, Literal

import msgspec

from weightstring.codec import Record

SHARE = 1.0
"""The step over the distance of the parabola's least. With momentum, ten such steps follow each gradient; what wanders
so is evened out by the average."""
TRIALS = 4
"""Trial points at most; each further one is an eighth as far."""
CUT = 0.25
"""By how much steps are shortened where they fail,"""
CUTS = 5
"""how often at most,"""
STALE = 3
"""and after how many looks without an improvement."""
RISE = 0.05
"""Steps fail as well that lead so much above the start, as a share of its height;"""
WON = 0.05
"""what is no lower than by this share of the way to the aim is no place to go on from: the start is."""
FARTHEST = 8
"""The most steps between two looks, over the least."""
SLOW = 500
"""Steps to the predicted arrival from which on the other rule is tried,"""
LATE = 2
"""if so many looks in succession predict it."""
SMALL = 0.05
"""Steps of Adam are at most this share of the numbers' root mean square."""


Rule = Literal["sgd", "adam"]


class Step(Record, frozen=True):
    """A step as a bead found it: whose rule, and the learning rate of the last ones."""

    rule: Rule
    rate: Annotated[float, msgspec.Meta(gt=0)]

    def __str__(self) -> str:
        rule = "Adam" if self.rule == "adam" else "SGD with momentum"
        return f"{rule}, learning rate {self.rate:.3g}"


@dataclass
class Stride:
    """Of one bead.

    Args:
        aim: the height that it makes for.
        every: the least steps between two looks.
        share: factor on :data:`SHARE`.
        rate: the step's factor on gradients; before it is found, that of the trial.
        trials: made so far; None: the rate is found.
        loss: of the first minibatch at the start.
        slope: the squared norm of its gradient.
        cuts: how often the rate was cut.
        averaged: iterates in the average.
        look: the step after which the bead is measured next.
        gap: steps between its last two looks.
        last: the height then.
        start: the height at the start.
        adam: whether its steps are Adam's.
        speed: by how much a step lowered the height before Adam took over; None: it has not yet.
        plain: the rate before.
        told: whether the step is an earlier bead's.
        late: looks in succession that predicted a late arrival.
    """

    aim: float
    every: int
    share: float = 1.0
    rate: float = 0.0
    trials: int | None = 0
    loss: float = 0.0
    slope: float = 0.0
    cuts: int = 0
    averaged: int = 0
    look: int = 0
    gap: int = 0
    last: float = math.inf
    start: float = math.inf
    adam: bool = False
    speed: float | None = None
    plain: float = 0.0
    late: int = 0
    told: bool = False

    @property
    def step(self) -> Step:
        """As it is now."""
        return Step("adam" if self.adam else "sgd", self.rate / self.share)

    def go(self, step: Step) -> None:
        """Begin by a step that is known."""
        self.trials, self.adam, self.rate, self.told = None, step.rule == "adam", self.share * step.rate, True

    def begin(self, loss: float, slope: float) -> None:
        """Take in the first minibatch's loss and its gradient's squared norm: the rate of the first trial.

        >>> stride = Stride(aim=1.0, every=5)
        >>> stride.begin(loss=2.0, slope=4.0)
        >>> stride.rate
        0.25
        """
        self.loss, self.slope, self.trials = loss, slope, 1
        self.rate = abs(loss) / (2 * slope) if slope > 0 and math.isfinite(loss / slope) else 1.0

    def tried(self, loss: float, slope: float) -> bool:
        """Take in the same at the trial point, ``slope`` along the first gradient; whether the rate is found.

        >>> stride = Stride(aim=1.0, every=5)
        >>> stride.begin(loss=2.0, slope=4.0)
        >>> stride.tried(loss=1.5, slope=2.0), stride.rate  # half the slope is left: the least is twice as far
        (True, 0.5)
        """
        assert self.trials is not None
        gain = 1 - slope / self.slope if self.slope > 0 else 0.0
        trusted = math.isfinite(gain) and math.isfinite(loss) and gain <= 4
        if not trusted and self.trials < TRIALS:
            self.trials, self.rate = self.trials + 1, self.rate / 8
            return False
        self.trials = None
        self.rate *= SHARE * self.share / (max(gain, 0.25) if trusted else 8)
        return True

    def begin_adam(self, loss: float, slope: float, size: float) -> None:
        """Take in a minibatch's loss, its gradient's sum of absolute values, and θ's root mean square: Adam's rate.

        Its first step is that of the sign of each number: half as far as a straight line down to 0 would lead.

        >>> stride = Stride(aim=1.0, every=5, adam=True)
        >>> stride.begin_adam(loss=2.0, slope=500.0, size=0.1)
        >>> stride.rate
        0.002
        """
        self.trials, farthest = None, SMALL * size
        least = abs(loss) / (2 * slope) if slope > 0 else math.inf
        self.rate = self.share * (min(least, farthest) if math.isfinite(loss) and farthest > 0 else 1e-3)

    def seen(self, step: int, height: float) -> bool:
        """Take in a height: the next look is where the aim would be, if it went on falling as since the last.

        Returns:
            Whether that is so far off that the other rule may be faster.
        """
        gap, fallen = self.gap, self.last - height
        ahead = gap * (height - self.aim) / fallen if fallen > 0 else math.inf
        settled = gap > 2 * self.every
        slower = self.speed is not None and self.adam and fallen < gap * self.speed
        self.late = self.late + 1 if ahead > SLOW else 0
        slow = self.speed is None and not self.adam and self.late >= LATE and math.isfinite(self.aim)
        if slow and settled:
            self.speed = max(0.0, fallen) / gap
        if step == 0:
            gap, self.start = 2 * self.every, height
        elif fallen > 0:
            gap = int(min(max(ahead, self.every), 2 * gap, FARTHEST * self.every))
        else:
            gap = min(2 * gap, FARTHEST * self.every)
        self.look, self.gap, self.last = step + gap, gap, height
        return settled and (slow or slower)

    def blown(self, height: float) -> bool:
        """Whether the steps led up."""
        return height > self.start + RISE * abs(self.start)

    def won(self, best: float) -> bool:
        """Whether a state of this height is worth to be gone on from."""
        return best <= self.start - WON * (self.start - max(self.aim, 0.0))

    def cut(self, step: int, best: float) -> bool:
        """Shorten the steps, or find them anew where they were an earlier bead's; whether that may help."""
        if self.cuts == CUTS:
            return False
        if self.told:
            self.told, self.adam, self.trials = False, False, 0
        else:
            self.cuts, self.rate = self.cuts + 1, CUT * self.rate
        self._anew(step, best)
        return True

    def turn(self, step: int, best: float) -> None:
        """Go on from the best state by Adam, or by what was before it."""
        if self.adam:
            self.adam, self.rate = False, self.plain
        else:
            self.adam, self.plain, self.trials = True, self.rate, 0
        self._anew(step, best)

    def _anew(self, step: int, best: float) -> None:
        self.averaged, self.last, self.gap = 0, best, 2 * self.every
        self.look = step + self.gap
