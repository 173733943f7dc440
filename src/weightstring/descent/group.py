"""What a descent steps as one: models that began together."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Hashable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple, Protocol

from torch import Tensor

from weightstring.arrays import Thetas
from weightstring.descent.minibatches import Minibatches
from weightstring.descent.optimizers import Optimizers
from weightstring.descent.plateau import Height, PlateauMonitor
from weightstring.descent.stepping import Stepping
from weightstring.protocol import Gradient, LossProblem
from weightstring.recipe import Recipe


class Entry(NamedTuple):
    """A descent that a loop has taken in.

    Args:
        key: by which its result is known.
        descent: where from, how and how far.
        owner: whose allowance it takes its steps from.
    """

    key: Hashable
    descent: Any  # a Descent, of the kind that its group takes
    owner: Hashable


class Scene(NamedTuple):
    """Where all groups of a loop descend, and by which rules."""

    problem: LossProblem
    seed: int
    recipe: Recipe


class Descent(Protocol):
    """Where models begin, how they descend, and how far."""

    @property
    def place(self) -> str:
        """Its name; all that is random depends on (seed, place) alone."""

    @property
    def result(self) -> type[Any]:
        """What comes of it."""

    def at(self, place: str) -> Descent:
        """The same descent by another name."""

    def content(self) -> Iterable[object]:
        """All that its result depends on beside the problem, the seed and the recipe."""

    def adds(self, beads: int) -> int:
        """By how many beads a string of so many may grow through it."""

    def fits(self, result: Any) -> bool:
        """Whether it can have come to such a result."""

    @property
    def waits(self) -> bool:
        """Whether it takes one of the places in the batch, and waits for that."""

    @property
    def alike(self) -> Hashable | None:
        """What descents have in common that can be the rows of one leaf; None: it shares a leaf with no other."""

    def strides(self, recipe: Recipe) -> bool:
        """Whether it goes to its own looks by calls of its own, where the problem takes several steps in one."""

    @classmethod
    def begin(cls, entries: Sequence[Entry], scene: Scene, stacks: bool) -> Group:
        """The group of descents that are alike.

        Args:
            entries: the descents.
            scene: where they descend.
            stacks: whether models may share a leaf.
        """


class Group(Protocol):
    """Models that began together, with one step count: rows of leaves of the optimizer.

    A step has one or several phases. In each, the loop computes gradients where the group looks, the group sets those
    of its leaves, the optimizer steps, and the group puts the models where its constraint allows them.
    """

    steps: int
    """Steps taken."""
    until: int
    """Steps after which it ends."""
    phases: int
    """Into how many parts a step is cut."""
    in_place: bool
    """Whether it looks at the rows of its one leaf and nowhere else."""
    rate: float
    """Factor on the recipe's learning rate."""

    @property
    def leaves(self) -> Sequence[Tensor]:
        """The optimizer's, as it changes them."""

    @property
    def monitors(self) -> Sequence[PlateauMonitor]:
        """Those of the models that are to be measured."""

    @property
    def thetas(self) -> Thetas:
        """These models (k, P)."""

    @property
    def running(self) -> int:
        """Models that move."""

    def ahead(self) -> int:
        """Steps to its next measurement."""

    @property
    def due(self) -> bool:
        """Whether it is to be measured."""

    def costs(self) -> Counter[Hashable]:
        """Gradients that a step takes, by owner."""

    def look(self, phase: int) -> bool:
        """Turn to a phase; whether anything moves in it."""

    @property
    def models(self) -> Thetas:
        """Where gradients are wanted in it (m, P)."""

    def minibatches(self) -> Sequence[Minibatches]:
        """Those of the models looked at; none where gradients use the whole training set."""

    def leap(self, steps: int, problem: Stepping, optimizers: Optimizers) -> bool:
        """Take so many steps at once, where nothing is to be done between them; whether they were taken."""

    def follow(self, gradient: Gradient) -> None:
        """Set the gradients of the leaves that move in this phase, from those of the models.

        Where the group is in place, gradients are filled up with zeros to the length of the leaf's rows.
        """

    def place(self) -> None:
        """Put the models where they may be, after the optimizer's step."""

    def finish(self, optimizers: Optimizers, height: Height) -> Mapping[Any, Any]:
        """The results that are due after a measurement; what is over moves no longer."""

    def cancel(self, keys: Collection[Hashable], optimizers: Optimizers) -> None:
        """Give descents up."""


def steps_to_check(group: Group, every: int) -> int:
    """Steps until its next measurement: every so many, and after the last."""
    return max(0, min(every - group.steps % every, group.until - group.steps))


def is_due(group: Group, every: int) -> bool:
    """Whether it is to be measured."""
    return group.steps % every == 0 or group.steps >= group.until


def clipped(gradients: Thetas, clip: float | None) -> Thetas:
    """Gradients none of which is longer than ``clip``."""
    if clip is None:
        return gradients
    norms = gradients.norm(dim=1, keepdim=True)
    shorter: Tensor = gradients * (clip / norms).clamp(max=1)
    return shorter
