"""The one loop in which models descend: beads each to a level of their own, and models that move together.

All take their gradients from one batch and are stepped by one optimizer; a bead in the queue begins when another ends.
"""

from __future__ import annotations

import math
from collections import Counter, deque
from collections.abc import Callable, Collection, Hashable, Sequence
from typing import Generic, NamedTuple, TypeVar

from weightstring.arrays import together
from weightstring.descent.allowance import Allowances
from weightstring.descent.bead import Descended
from weightstring.descent.group import Descent, Entry, Group, Scene
from weightstring.descent.optimizers import Optimizers
from weightstring.descent.plateau import Height, measure
from weightstring.descent.start import Start
from weightstring.descent.steps import Steps
from weightstring.protocol import LossProblem
from weightstring.recipe import Recipe

Key = TypeVar("Key", bound=Hashable)
"""By what a caller knows a descent."""
Reached = TypeVar("Reached")
"""What comes of it."""

WIDTH = 16
"""Models descended side by side for one search."""
MOST = 2048
"""Models descended side by side for any number of searches."""
COPIES = 6
"""Of θ for each model that descends: itself, in the batch, its gradient, two optimizer moments, its best state."""
MEMORY = 1 << 30
"""Bytes that the models of one batch, their gradients, optimizer states and best copies may take."""


class Check(NamedTuple):
    """How far a batch of descents is.

    ``finished`` and ``running`` count descents; ``steps`` is the largest number of steps of a running
    one, ``lowest`` the least height that one of them has reached.
    """

    finished: int
    running: int
    steps: int
    lowest: float


def batch_width(problem: LossProblem, searches: int = 1) -> int:
    """How many models of ``problem`` are descended side by side for so many searches, as far as memory allows."""
    wanted = min(WIDTH * searches, MOST)
    return max(1, min(wanted, MEMORY // (COPIES * problem.size * problem.dtype.itemsize)))


def descend(
    problem: LossProblem,
    height: Height,
    starts: Sequence[Start],
    *,
    seed: int,
    recipe: Recipe | None = None,
    width: int | None = None,
    screening: Height | None = None,
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
        screening: a cheap estimate of the height; see :mod:`weightstring.descent.plateau`.
        on_check: told after each measurement how far the descents are; it may raise.

    Returns:
        One result a start, in order.

    Raises:
        InvalidSetting: the recipe's optimizer or options are unknown.
    """
    batch = Descents[int, Descended](
        problem,
        height,
        seed=seed,
        recipe=recipe or problem.recipe,
        width=width or batch_width(problem),
        screening=screening,
        on_check=on_check,
    )
    for number, start in enumerate(starts):
        batch.add(start, number)
    finished: dict[int, Descended] = {}
    while not batch.idle:
        finished |= batch.advance()
    return [finished[i] for i in range(len(starts))]


class Descents(Generic[Key, Reached]):
    """Descents under way: a queue of beads, a batch that refills from it, and models that move together.

    Args:
        problem: the loss; descents follow its training gradient.
        height: the measured quantity.
        seed: with each descent's place, determines all that is random.
        recipe: optimizer and limits.
        width: beads side by side.
        screening: a cheap estimate of the height.
        on_check: told after each measurement how far the descents are; it may raise.
        allowed: steps that may be taken.

    Raises:
        InvalidSetting: the recipe's optimizer or options are unknown.
    """

    def __init__(
        self,
        problem: LossProblem,
        height: Height,
        *,
        seed: int,
        recipe: Recipe,
        width: int,
        screening: Height | None = None,
        on_check: Callable[[Check], None] = lambda check: None,
        allowed: Allowances | None = None,
    ) -> None:
        self._scene = Scene(problem, seed, recipe)
        self._height = height
        self._screening = screening
        self._width = width
        self._on_check = on_check
        self._allowed = allowed or Allowances()
        self._optimizers = Optimizers(recipe, problem.device)
        self._queue: deque[Entry] = deque()
        self._groups: list[Group] = []
        self._steps = Steps(problem, self._optimizers)
        self._finished = 0

    def add(self, descent: Descent, key: Key, owner: Hashable = None) -> None:
        """Take in a descent: a bead waits in the queue until there is room, models that move together do not.

        Args:
            descent: where from, how and how far: a :class:`Start` or an :class:`Evolution`.
            key: by which its result is known.
            owner: whose allowance it takes its steps from.
        """
        self._queue.append(Entry(key, descent, owner))

    def cancel(self, keys: Collection[Key]) -> None:
        """Give descents up: they have no result."""
        self._queue = deque(entry for entry in self._queue if entry.key not in keys)
        for group in self._groups:
            group.cancel(keys, self._optimizers)
        self._drop_empty()

    @property
    def idle(self) -> bool:
        """Whether nothing is left to do."""
        return not self._queue and not self._groups

    @property
    def running(self) -> int:
        """Models that move."""
        return sum(group.running for group in self._groups)

    def advance(self) -> dict[Key, Reached]:
        """Go on until the next measurement; what those descents reached that are over then, by key.

        Where somebody's allowance is spent, nothing is done until his descents are cancelled.
        """
        finished = self._refill()
        if self._groups and not finished:
            limited = self._allowed.limited
            free = [group for group in self._groups if not (limited and self._allowed.limit(group.costs()))]
            arrived = self._steps.leap(free)
            there = set(map(id, arrived))
            behind = [group for group in self._groups if id(group) not in there]
            arrived += self._walk(behind) if behind else []
            # Each at its own steps, or what a descent finds would depend on who is beside it.
            finished = self._check(arrived) if arrived else {}
        return finished

    def _walk(self, groups: Sequence[Group]) -> list[Group]:
        """Take all to the next measurement of one of them, as far as is allowed; those that are due."""
        costs: Counter[Hashable] = sum((group.costs() for group in groups), Counter())
        until = min(group.ahead() for group in groups)
        steps = self._allowed.steps(costs, until)
        self._steps.move(groups, steps)
        self._allowed.take(costs, steps)
        return [group for group in groups if group.due] if steps == until else []

    def _refill(self) -> dict[Key, Reached]:
        """Begin those that need not wait, and the next in the queue where there is room."""
        # A start that is already low enough finishes at its first check, so this may take several rounds.
        finished: dict[Key, Reached] = {}
        while fresh := self._next():
            for group in fresh:
                for leaf in group.leaves:
                    self._optimizers.add(leaf, group.rate)
            self._groups = sorted([*self._groups, *fresh], key=lambda group: not group.in_place)
            finished |= self._check(fresh)
        return finished

    def _next(self) -> list[Group]:
        """Those of the queue that begin now, in groups."""
        if not self._queue:
            return []
        room = self._width - sum(group.running for group in self._groups if group.in_place)
        stacks, groups, waiting = self._optimizers.stacks, dict[object, list[Entry]](), list[Entry]()
        alone = self._steps.several  # a bead that takes many steps in one call gains nothing from a leaf with others
        for entry in self._queue:
            if entry.descent.waits and room <= 0:
                waiting.append(entry)
                continue
            room -= entry.descent.waits
            strides = alone and entry.descent.strides(self._scene.recipe)
            alike = entry.descent.alike if stacks and not strides else None
            groups.setdefault(entry.key if alike is None else alike, []).append(entry)
        self._queue = deque(waiting)
        return [entries[0].descent.begin(entries, self._scene, stacks) for entries in groups.values()]

    def _check(self, groups: Sequence[Group]) -> dict[Key, Reached]:
        """Measure, and let those go that are over."""
        measured = [(group, monitors) for group in groups if (monitors := group.monitors)]
        if measured:
            monitors = [monitor for _, own in measured for monitor in own]
            steps = [group.steps for group, own in measured for _ in own]
            thetas = together([group.thetas for group, _ in measured])
            measure(monitors, thetas, steps, self._height, self._screening)
        finished: dict[Key, Reached] = {}
        for group in groups:
            finished |= group.finish(self._optimizers, self._height)
        self._drop_empty()
        self._finished += len(finished)
        most = max((group.steps for group in self._groups), default=0)
        lowest = min((each.best_value for group in self._groups for each in group.monitors), default=math.inf)
        self._on_check(Check(self._finished, self.running, most, lowest))
        return finished

    def _drop_empty(self) -> None:
        self._steps.forget()
        self._groups = [group for group in self._groups if group.running]
