"""Beads that descend by themselves, each to its own level: step 3 of the greedy algorithm (Section II.B).

The level is measured on the quantity that the threshold binds, not on the minibatches. ``aim`` is
where a descent stops at once, ``limit`` what it must get under to count: a bead that cannot reach
α·L0 but stays under L0 is a good bead, and forcing it further only over-trains it.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

from weightstring.arrays import Theta
from weightstring.descent.bead import Beads, Descended
from weightstring.descent.group import Entry, Scene
from weightstring.descent.stride import Step
from weightstring.descent.tether import Tether
from weightstring.descent.tuned import Tuned
from weightstring.recipe import Recipe


@dataclass(frozen=True)
class Start:
    """One descent: from ``theta`` until ``aim``; what it reaches counts if it is at most ``limit``.

    Args:
        theta: where to start (P,), or a function that says so, for starts that wait in a queue.
        aim: the height at which the descent stops at once.
        limit: the height it must reach to succeed, at least ``aim``.
        place: names the descent; its minibatches depend on (seed, place) alone.
        rate: factor on the recipe's learning rate.
        value: the height of ``theta`` where that is known, so that it is not measured again.
        tether: what ties it to its neighbours, which stay where they are; it begins where that allows.
        step: what a bead before it found, where the recipe finds its own; None: this one is to find it.
    """

    theta: Theta | Callable[[], Theta]
    aim: float
    limit: float
    place: str
    rate: float = 1.0
    value: float | None = None
    tether: Tether | None = None
    step: Step | None = None

    waits: ClassVar[bool] = True

    @property
    def result(self) -> type[Descended]:
        """What comes of it."""
        return Descended

    def at(self, place: str) -> Start:
        """The same descent by another name."""
        return replace(self, place=place)

    def content(self) -> Iterable[object]:
        """Where it starts, how far it goes, and what ties it."""
        yield from (self.point(), self.aim, self.limit, self.place, self.rate, self.value)
        if self.tether is not None:
            yield from (self.tether.constraint, self.tether.left, self.tether.right)
        if self.step is not None:
            yield self.step

    def adds(self, beads: int) -> int:
        """One bead."""
        return 1

    def fits(self, result: Descended) -> bool:
        """Any descent can have any result."""
        return True

    @property
    def alike(self) -> Hashable:
        """The learning rate and the constraint."""
        return self.rate, self.tether and self.tether.constraint

    @classmethod
    def begin(cls, entries: Sequence[Entry], scene: Scene, stacks: bool) -> Beads:
        """Beads that begin together, by the recipe's steps or by their own."""
        return (Tuned if scene.recipe.tunes else Beads)(entries, scene, stacks)

    def strides(self, recipe: Recipe) -> bool:
        """Where nothing ties it and its steps are its own."""
        return recipe.tunes and self.tether is None

    def point(self) -> Theta:
        """θ itself."""
        theta = self.theta() if callable(self.theta) else self.theta
        return theta if self.tether is None else self.tether.place(theta)
