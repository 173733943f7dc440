"""Descend many models side by side, each to its own level: step 3 of the greedy algorithm (Section II.B).

The level is measured on the quantity that the threshold binds, not on the minibatches. ``aim`` is
where a descent stops at once, ``limit`` what it must get under to count: a bead that cannot reach
α·L0 but stays under L0 is a good bead, and forcing it further only over-trains it.
"""

from __future__ import annotations

import math
from collections import Counter, deque
from collections.abc import Callable, Collection, Hashable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from weightstring.arrays import Theta, Thetas, room
from weightstring.descent.allowance import Allowances
from weightstring.descent.constraint import Constraint
from weightstring.descent.minibatches import Minibatches, minibatches
from weightstring.descent.optimizers import Optimizers
from weightstring.descent.watch import Descended, Height, Watch, look_at
from weightstring.protocol import LossProblem, Recipe

WIDTH = 16
"""Models descended side by side for one search."""
MOST = 2048
"""Models descended side by side for any number of searches."""
MEMORY = 1 << 30
"""Bytes that the models of one batch, their gradients, optimizer states and best copies may take."""


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
    """

    theta: Theta | Callable[[], Theta]
    aim: float
    limit: float
    place: str
    rate: float = 1.0
    value: float | None = None
    tether: Tether | None = None

    def point(self) -> Theta:
        """θ itself."""
        theta = self.theta() if callable(self.theta) else self.theta
        if self.tether is None:
            return theta
        left, right = self.tether.left[None], self.tether.right[None]
        return self.tether.constraint.place(theta[None], left, right)[0]


@dataclass(frozen=True)
class Tether:
    """A constraint to two neighbours.

    Args:
        constraint: how they act on the descent.
        left: one neighbour (P,).
        right: the other.
    """

    constraint: Constraint
    left: Theta
    right: Theta


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
    copies = 6  # θ, its copy in the batch, gradient, two optimizer moments, best state
    wanted = min(WIDTH * searches, MOST)
    return max(1, min(wanted, MEMORY // (copies * problem.size * problem.dtype.itemsize)))


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
        screening: a cheap estimate of the height; see :mod:`weightstring.descent.watch`.
        on_check: told after each measurement how far the descents are; it may raise.

    Returns:
        One result a start, in order.

    Raises:
        InvalidSetting: the recipe's optimizer or options are unknown.
    """
    batch = Descents(
        problem,
        height,
        seed=seed,
        recipe=recipe or problem.recipe,
        width=width or batch_width(problem),
        screening=screening,
        on_check=on_check,
    )
    for start in starts:
        batch.add(start)
    finished: dict[int, Descended] = {}
    while not batch.idle:
        finished |= batch.advance()
    return [finished[i] for i in range(len(starts))]


class Descents:
    """Descents under way: a queue, and a batch that refills from it.

    Args:
        problem: the loss; descents follow its training gradient.
        height: the measured quantity.
        seed: with each start's place, determines its minibatches.
        recipe: optimizer and limits.
        width: descents side by side.
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
        self._problem = problem
        self._height = height
        self._screening = screening
        self._seed = seed
        self._recipe = recipe
        self._width = width
        self._on_check = on_check
        self._optimizers = Optimizers(recipe)
        self._queue: deque[tuple[int, Start]] = deque()
        self._cohorts: list[_Cohort] = []
        self._whole: Thetas | None = None
        self._added = 0
        self._finished = 0
        self._allowed = allowed or Allowances()
        self._owners: dict[int, Hashable] = {}

    def add(self, start: Start, owner: Hashable = None) -> int:
        """Put a descent in the queue; the number by which its result is known.

        Args:
            start: where from and how far.
            owner: whose allowance it takes its steps from.
        """
        self._owners[self._added] = owner
        self._queue.append((self._added, start))
        self._added += 1
        return self._added - 1

    def cancel(self, numbers: Collection[int]) -> None:
        """Give descents up: they have no result."""
        self._queue = deque(entry for entry in self._queue if entry[0] not in numbers)
        for cohort in self._cohorts:
            self._keep(cohort, [i for i, watch in enumerate(cohort.watches) if watch.number not in numbers])
        self._drop_empty()

    @property
    def idle(self) -> bool:
        """Whether nothing is left to do."""
        return not self._queue and not self._cohorts

    @property
    def running(self) -> int:
        """Descents side by side."""
        return sum(len(cohort.watches) for cohort in self._cohorts)

    def advance(self) -> dict[int, Descended]:
        """Go on until the next measurement; what the descents that are over then reached, by number.

        Where somebody's allowance is spent, nothing is done until his descents are cancelled.
        """
        finished = self._refill()
        if self._cohorts and not finished:
            each = Counter(self._owners[watch.number] for cohort in self._cohorts for watch in cohort.watches)
            until = min(cohort.steps_to_check(self._recipe) for cohort in self._cohorts)
            steps = self._allowed.steps(each, until)
            for _ in range(steps):
                self._step()
            self._allowed.take(each, steps)
            if steps < until:
                return finished
            # Each at its own steps, or what a descent finds would depend on who is beside it.
            finished = self._check([cohort for cohort in self._cohorts if cohort.is_due(self._recipe)])
        return finished

    def _refill(self) -> dict[int, Descended]:
        """Begin the next in the queue where there is room."""
        # A start that is already low enough finishes at its first check, so this may take several rounds.
        finished: dict[int, Descended] = {}
        while self._queue and (room := self._width - self.running) > 0:
            fresh = [self._queue.popleft() for _ in range(min(room, len(self._queue)))]
            stacks = self._optimizers.stacks
            cohorts = [_Cohort.begin(self._problem, self._seed, group, stacks) for group in self._groups(fresh)]
            for cohort in cohorts:
                self._optimizers.add(cohort.leaf, cohort.rate)
            self._cohorts.extend(cohorts)
            self._whole = None
            finished |= self._check(cohorts)
        return finished

    def _groups(self, fresh: Sequence[tuple[int, Start]]) -> list[list[tuple[int, Start]]]:
        """Starts that can be the rows of one leaf, if the optimizer allows it: of one learning rate and constraint."""
        if not self._optimizers.stacks:
            return [[entry] for entry in fresh]
        groups: dict[object, list[tuple[int, Start]]] = {}
        for entry in fresh:
            start = entry[1]
            groups.setdefault((start.rate, start.tether and start.tether.constraint), []).append(entry)
        return list(groups.values())

    def _check(self, cohorts: Sequence[_Cohort]) -> dict[int, Descended]:
        """Measure, and let those go that are over."""
        watches = [watch for cohort in cohorts for watch in cohort.watches]
        rows = _together([cohort.thetas for cohort in cohorts])
        steps = [cohort.steps for cohort in cohorts for _ in cohort.watches]
        look_at(watches, rows, steps, self._height, self._screening, self._recipe)
        finished: dict[int, Descended] = {}
        for cohort in cohorts:
            over = [watch for watch in cohort.watches if watch.status is not None]
            finished |= {watch.number: watch.result(cohort.steps) for watch in over}
            self._keep(cohort, [i for i, watch in enumerate(cohort.watches) if watch.status is None])
        self._drop_empty()
        self._finished += len(finished)
        most = max((cohort.steps for cohort in self._cohorts), default=0)
        lowest = min((watch.best_value for cohort in self._cohorts for watch in cohort.watches), default=math.inf)
        self._on_check(Check(self._finished, self.running, most, lowest))
        return finished

    def _keep(self, cohort: _Cohort, rows: Sequence[int]) -> None:
        if len(rows) == len(cohort.watches):
            return
        self._whole = None
        if rows:
            cohort.leaf = self._optimizers.keep(cohort.leaf, rows)
        else:
            self._optimizers.remove(cohort.leaf)
        cohort.watches = [cohort.watches[i] for i in rows]
        cohort.rows = [cohort.rows[i] for i in rows] if cohort.rows else []
        cohort.tethers = [cohort.tethers[i] for i in rows] if cohort.tethers else []

    def _drop_empty(self) -> None:
        self._cohorts = [cohort for cohort in self._cohorts if cohort.watches]

    def _step(self) -> None:
        rows = [minibatches.draw() for cohort in self._cohorts for minibatches in cohort.rows]
        for cohort in self._cohorts:
            cohort.leaf.grad = None  # that of the last step must not take memory beside the next
        gradients = self._problem.gradient(self._thetas(), torch.stack(rows) if rows else None).gradients
        counts = [len(cohort.watches) for cohort in self._cohorts]
        tied: list[tuple[_Cohort, Thetas, Thetas]] = []
        if any(cohort.tethers for cohort in self._cohorts):
            parts = zip(self._cohorts, torch.split(gradients, counts), strict=True)
            seen = [cohort.directed(part) for cohort, part in parts]
            tied = [(c, c.thetas.clone(), part) for c, part in zip(self._cohorts, seen, strict=True) if c.tethers]
            gradients = torch.cat(seen)
        if self._recipe.clip is not None:
            norms = gradients.norm(dim=1, keepdim=True)
            gradients = gradients * (self._recipe.clip / norms).clamp(max=1)
        for cohort, part in zip(self._cohorts, torch.split(self._wide(gradients), counts), strict=True):
            cohort.leaf.grad = part.view_as(cohort.leaf)
            cohort.steps += 1
        self._optimizers.step()
        for cohort, before, part in tied:
            cohort.place(before, part)

    def _thetas(self) -> Thetas:
        """All models (B, P), which the leaves are parts of: gathered when some join or leave, not at every step."""
        if self._whole is None:
            self._whole = _together([cohort.rows_of_leaf for cohort in self._cohorts])
            parts = torch.split(self._whole, [len(cohort.watches) for cohort in self._cohorts])
            for cohort, part in zip(self._cohorts, parts, strict=True):
                cohort.leaf.data = part.view_as(cohort.leaf)
        return self._whole[:, : self._problem.size]

    def _wide(self, gradients: Thetas) -> Tensor:
        """Gradients as long as the leaves' rows, which are filled up."""
        width = self._cohorts[0].rows_of_leaf.shape[1]
        return gradients if width == gradients.shape[1] else functional.pad(gradients, (0, width - gradients.shape[1]))


def _together(parts: Sequence[Tensor]) -> Tensor:
    """The models of several cohorts; those of one are not copied."""
    return parts[0] if len(parts) == 1 else torch.cat(list(parts))


@dataclass
class _Cohort:
    """Descents that began together: rows of one leaf, with one step count.

    Rows that are stepped in one loop are filled up to whole lines: the loop's last numbers are rounded otherwise, and
    which those are would depend on who is beside a model.

    ``rows`` holds each one's minibatches, none where gradients use the whole training set; ``tethers`` what ties
    each of them, all by one constraint, or nothing.
    """

    leaf: Tensor
    watches: list[Watch]
    rows: list[Minibatches]
    tethers: list[Tether]
    rate: float
    size: int
    steps: int = 0

    @classmethod
    def begin(cls, problem: LossProblem, seed: int, entries: Sequence[tuple[int, Start]], stacks: bool) -> _Cohort:
        """Descents from the queue, each with the number it is known by; ``stacks``: they may be one leaf's rows."""
        points = [start.point().detach() for _, start in entries]
        leaf = points[0].clone()
        if stacks:
            width = room(problem.size, leaf.element_size())
            leaf = functional.pad(torch.stack(points), (0, width - problem.size))
        leaf.requires_grad_()
        drawn = [minibatches(problem, seed, start.place) for _, start in entries]
        watches = [
            Watch(number, start.aim, start.limit, point.clone(), start.value)
            for (number, start), point in zip(entries, points, strict=True)
        ]
        tethers = [start.tether for _, start in entries if start.tether is not None]
        rows = [rows for rows in drawn if rows is not None]
        return cls(leaf, watches, rows, tethers, entries[0][1].rate, problem.size)

    @property
    def rows_of_leaf(self) -> Tensor:
        """The leaf's rows, one a model."""
        return self.leaf.detach().view(len(self.watches), -1)

    @property
    def thetas(self) -> Thetas:
        """The models (k, P)."""
        return self.rows_of_leaf[:, : self.size]

    def directed(self, gradients: Thetas) -> Thetas:
        """The gradients that the optimizer sees: with those of the constraint, where there is one."""
        if not self.tethers:
            return gradients
        return self.tethers[0].constraint.direct(self.thetas, *self._neighbours(), gradients)

    def place(self, before: Thetas, seen: Thetas) -> None:
        """Put the models where the constraint allows it: the optimizer took them from ``before``, having ``seen``."""
        tie, neighbours = self.tethers[0].constraint, self._neighbours()
        stepped = tie.step(before, self.thetas, *neighbours, seen)
        self.thetas.copy_(tie.place(stepped, *neighbours))

    def _neighbours(self) -> tuple[Thetas, Thetas]:
        left, right = zip(*((tether.left, tether.right) for tether in self.tethers), strict=True)
        return torch.stack(left), torch.stack(right)

    def is_due(self, recipe: Recipe) -> bool:
        """Whether they are to be measured: every ``check_every`` steps, and after the last."""
        return self.steps % recipe.check_every == 0 or self.steps == recipe.max_steps

    def steps_to_check(self, recipe: Recipe) -> int:
        """Steps until then."""
        return min(recipe.check_every - self.steps % recipe.check_every, recipe.max_steps - self.steps)
