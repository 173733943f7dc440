"""What a search takes, in numbers and in words."""

from __future__ import annotations

import math
from dataclasses import dataclass

from weightstring.memory import gigabytes
from weightstring.text import seconds_in_words

ENDS = 2
CHECKS = 5
"""After how many measurements a bead is believed to have reached its level; nobody knows before."""


@dataclass(frozen=True)
class Cost:
    """What a part of a search takes.

    Args:
        evaluations: models measured on the set that the threshold binds; passes over other sets as so many of these.
        steps: gradient steps.
        seconds: for both.
    """

    evaluations: int
    steps: int
    seconds: float


@dataclass(frozen=True)
class Memory:
    """Bytes: in use now, beyond that while a model is measured and while models descend, and what there may be."""

    used: int
    measuring: int
    descending: int
    allowed: int

    @property
    def fits(self) -> bool:
        """Whether models may descend."""
        return self.used + self.descending <= self.allowed


@dataclass(frozen=True)
class Estimate:
    """What a search between two models takes. Nobody knows before how many beads it needs.

    Args:
        adaptive: whether segments are sampled only where their bends ask for it.
        evaluation: seconds of one.
        step: seconds of one gradient step of one model.
        line: where the first string is under the threshold, all in all: a straight line, or that through waypoints.
        bead: what each bead that is needed adds, if it reaches its level after :data:`CHECKS` measurements.
        training: what the training set along the first string takes, where it is left out for that.
        memory: what is needed and what there is.
        segments: of the first string.
        searches: that are to be done, each of such a string; what they take together is counted one by one.
        beads: that the limits leave each for new ones; None: as many as it takes.
        limit: seconds that the limits leave, for all rounds of a search.
    """

    adaptive: bool
    evaluation: float
    step: float
    line: Cost
    bead: Cost
    training: Cost | None
    memory: Memory
    segments: int = 1
    searches: int = 1
    beads: int | None = None
    limit: float = math.inf

    @property
    def least(self) -> float:
        """Seconds for all searches, if none needs a bead."""
        return self.searches * self.line.seconds

    @property
    def most(self) -> float | None:
        """Seconds for all, if each needs all its beads and none of these has to descend twice; None: no limit."""
        if self.beads is None and math.isinf(self.limit):
            return None
        longest = math.inf if self.beads is None else self.line.seconds + self.beads * self.bead.seconds
        return self.searches * max(self.line.seconds, min(longest, self.limit))

    @property
    def segment(self) -> float:
        """Seconds that accepting a segment takes."""
        return (self.line.evaluations - ENDS - (self.segments - 1)) / self.segments * self.evaluation

    def __str__(self) -> str:
        line, bead, memory = self.line, self.bead, self.memory
        each, manner = seconds_in_words(self.evaluation), "adaptively" if self.adaptive else "densely"
        used, measuring, descending, allowed = map(
            gigabytes, (memory.used, memory.measuring, memory.descending, memory.allowed)
        )
        first = "straight line" if self.segments == 1 else f"{self.segments} segments"
        lines = [
            f"{first:<15}{line.evaluations} evaluations, {seconds_in_words(line.seconds)} "
            f"({each} each, sampled {manner})",
            f"each bead      {bead.evaluations} more and some {bead.steps} steps, {seconds_in_words(bead.seconds)}",
            f"memory         {used} in use, measuring +{measuring}, descending +{descending}, of {allowed}",
        ]
        many = "" if self.searches == 1 else f"{self.searches} searches: "
        needs = "no bead is needed" if self.searches == 1 else "none needs a bead"
        most = "" if self.most is None else f", some {seconds_in_words(self.most)} at the limits"
        lines.insert(2, f"in all         {many}{seconds_in_words(self.least)} if {needs}{most}")
        if self.training is not None:
            lines.insert(1, f"train set      left out of the curve: {seconds_in_words(self.training.seconds)} more")
        if not memory.fits:
            lines.append("               TOO LITTLE to descend: pass the problem a smaller batch_size=")
        return "\n".join(lines)
