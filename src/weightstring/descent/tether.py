"""What ties beads to neighbours that stay where they are, while they descend."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from weightstring.arrays import Theta, Thetas
from weightstring.descent.constraint import Constraint


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

    def place(self, theta: Theta) -> Theta:
        """The nearest position that is allowed."""
        return self.constraint.place(theta[None], self.left[None], self.right[None])[0]


class Tethers:
    """Those of beads that descend side by side, all by one constraint; false where nothing ties them.

    Args:
        tethers: one a bead, or none at all.
    """

    def __init__(self, tethers: Sequence[Tether]) -> None:
        self._tethers = list(tethers)
        self._before: Thetas | None = None
        self._seen: Thetas | None = None

    def __bool__(self) -> bool:
        return bool(self._tethers)

    def direct(self, beads: Thetas, gradients: Thetas) -> Thetas:
        """The gradients that the beads follow; these and where they stand are kept for :meth:`step`."""
        directed = self._constraint.direct(beads, *self._neighbours(), gradients)
        self._before, self._seen = beads.clone(), directed
        return directed

    def replace(self, i: int, theta: Tensor, gradient: Tensor) -> None:
        """Have it take a bead's step for one from elsewhere, along another gradient."""
        if self._before is not None and self._seen is not None:
            self._before[i], self._seen[i] = theta, gradient

    def step(self, beads: Thetas) -> Thetas:
        """Where the constraint lets them go, after the step that followed :meth:`direct`."""
        assert self._before is not None
        assert self._seen is not None
        neighbours = self._neighbours()
        stepped = self._constraint.step(self._before, beads, *neighbours, self._seen)
        self._before = self._seen = None
        return self._constraint.place(stepped, *neighbours)

    def place(self, beads: Thetas) -> Thetas:
        """The nearest positions that are allowed; where nothing ties them, themselves."""
        return self._constraint.place(beads, *self._neighbours()) if self._tethers else beads

    def keep(self, rows: Sequence[int]) -> None:
        """Keep those of some beads."""
        self._tethers = [self._tethers[i] for i in rows] if self._tethers else []

    @property
    def _constraint(self) -> Constraint:
        return self._tethers[0].constraint

    def _neighbours(self) -> tuple[Thetas, Thetas]:
        left, right = zip(*((tether.left, tether.right) for tether in self._tethers), strict=True)
        return torch.stack(left), torch.stack(right)
