"""How groups of models take their steps: all in one call where the problem can, or one by one from one batch."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional

from weightstring.arrays import Thetas, together
from weightstring.descent.group import Group
from weightstring.descent.optimizers import Optimizers
from weightstring.descent.stepping import Stepping
from weightstring.protocol import Gradient, LossProblem


class Steps:
    """Moves groups.

    Args:
        problem: whose gradients they follow.
        optimizers: steps all their leaves.
    """

    def __init__(self, problem: LossProblem, optimizers: Optimizers) -> None:
        self._problem = problem
        self._stepping = problem if isinstance(problem, Stepping) else None
        self._optimizers = optimizers
        self._gathered: Thetas | None = None

    def forget(self) -> None:
        """Models have joined or left."""
        self._gathered = None

    @property
    def several(self) -> bool:
        """Whether several are taken in one call."""
        return self._stepping is not None and self._stepping.strides

    def leap(self, groups: Sequence[Group]) -> list[Group]:
        """Take each to its own next measurement, in one call; those that can go so."""
        problem = self._stepping
        if problem is None or not problem.strides:
            return []
        return [group for group in groups if group.leap(group.ahead(), problem, self._optimizers)]

    def move(self, groups: Sequence[Group], steps: int) -> None:
        """Take steps with all, at once with those groups for which the problem can."""
        problem, walking = self._stepping, groups
        if problem is not None and problem.strides and steps:
            walking = [group for group in groups if not group.leap(steps, problem, self._optimizers)]
        for _ in range(steps if walking else 0):
            self._step(walking)

    def _step(self, groups: Sequence[Group]) -> None:
        for group in groups:
            for leaf in group.leaves:
                leaf.grad = None  # that of the last step must not take memory beside the next
        phases = max(group.phases for group in groups)
        for phase in range(phases):
            beads = [group for group in groups if group.in_place] if phase == 0 else []
            others = [group for group in groups if not group.in_place and group.look(phase)]
            moving = [*beads, *others]
            if not moving:
                continue
            rows = [minibatches.draw() for group in moving for minibatches in group.minibatches()]
            looks = [self._gathered_rows(beads)[:, : self._problem.size]] if beads else []
            models = together([*looks, *(group.models for group in others)])
            gradient = self._problem.gradient(models, torch.stack(rows) if rows else None)
            self._follow(beads, others, gradient)
            self._optimizers.step()
            for group in moving:
                group.place()
                for leaf in group.leaves if phases > 1 else ():
                    leaf.grad = None  # the next phase is another's
        for group in groups:
            group.steps += 1

    def _gathered_rows(self, beads: Sequence[Group]) -> Tensor:
        """Leaves that are looked at, as parts of one tensor: gathered when models join or leave, not at every step."""
        if self._gathered is None:
            leaves = [group.leaves[0] for group in beads]
            rows = [leaf.detach().view(group.running, -1) for group, leaf in zip(beads, leaves, strict=True)]
            self._gathered = together(rows)
            for leaf, part in zip(leaves, torch.split(self._gathered, [len(row) for row in rows]), strict=True):
                leaf.data = part.view_as(leaf)
        return self._gathered

    def _follow(self, beads: Sequence[Group], others: Sequence[Group], gradient: Gradient) -> None:
        """Give each group its gradients, those of beads as long as the rows of their leaves, which are filled up."""
        counts = [group.running for group in beads]
        first, gradients = sum(counts), gradient.gradients
        if beads:
            missing = self._gathered_rows(beads).shape[1] - gradients.shape[1]
            wide = functional.pad(gradients[:first], (0, missing)) if missing else gradients[:first]
            for group, *part in zip(
                beads, torch.split(gradient.losses[:first], counts), torch.split(wide, counts), strict=True
            ):
                group.follow(Gradient(*part))
        counts = [len(group.models) for group in others]
        for group, *part in zip(
            others, torch.split(gradient.losses[first:], counts), torch.split(gradients[first:], counts), strict=True
        ):
            group.follow(Gradient(*part))
