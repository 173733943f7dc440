"""How the beads of a string move together: from one snapshot, or odd and even ones in turn.

Beads that share a neighbour cannot move at once without one of them lagging behind. With ``"jacobi"``
updates all of them see where the others were before the step; with ``"red-black"`` updates the odd ones
move first and the even ones see where they went. Either way a bead costs one gradient a step.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple, Protocol, get_args, runtime_checkable

import torch
from torch import Tensor

from weightstring.arrays import Moving, Thetas
from weightstring.descent.constraint import Constraint, Hyperplane
from weightstring.descent.stepping import Blend, Tie
from weightstring.errors import InvalidSetting
from weightstring.protocol import Gradient

Updates = Literal["jacobi", "red-black"]


class Look(NamedTuple):
    """Where a motion wants gradients.

    ``models`` (m, P); ``shares`` (m, k) is what each of them owes to each of k moving rows, None where
    they are those rows themselves.
    """

    models: Tensor
    shares: Tensor | None = None


@runtime_checkable
class Motion(Protocol):
    """How the rows of (n, P) that may move follow the gradients."""

    @property
    def phases(self) -> int:
        """Into how many parts a step is cut; in each, only some of the rows move."""

    def beads(self, models: int) -> int:
        """Beads of the string that comes of so many models, those that stay included."""

    def cost(self, moving: Sequence[int]) -> int:
        """Gradients that a step takes, all its phases together, where the rows ``moving`` move."""

    def look(self, thetas: Thetas, moving: Sequence[int], random: torch.Generator) -> Look:
        """Where gradients are wanted so that the rows ``moving`` can move."""

    def direct(self, thetas: Thetas, moving: Sequence[int], look: Look, gradient: Gradient) -> Moving:
        """The gradients (k, P) that the optimizer sees for the rows ``moving``."""

    def step(self, before: Thetas, after: Moving, moving: Sequence[int], seen: Gradient) -> Moving:
        """Where the rows ``moving`` (k, P) come to that the optimizer took to ``after``; ``before`` (n, P): all rows.

        ``seen`` holds the losses at the models looked at, and the gradients that the optimizer saw.
        """

    def place(self, before: Thetas, after: Moving, moving: Sequence[int]) -> Moving:
        """Where the rows ``moving`` (k, P) are put: all rows stood at ``before`` (n, P), these went to ``after``."""

    def probes(self, thetas: Thetas) -> Tensor:
        """Further models (r, P) to be measured and returned at the end."""


@runtime_checkable
class Foretold(Motion, Protocol):
    """A motion whose next steps can be told beforehand, so that a problem may take several at once."""

    def holds(self, thetas: Thetas, moving: Sequence[int]) -> bool:
        """Whether those of the rows ``moving`` can be."""

    def tie(self, thetas: Thetas, moving: Sequence[int], steps: int, random: torch.Generator) -> Tie | Blend:
        """What they are; what the next ``look`` would draw comes after what these draw."""


@dataclass(frozen=True)
class Tied:
    """Beads of a string, each tied to its two neighbours; the first and the last may be moving too.

    A moving end has one neighbour only and no constraint to obey.

    Args:
        constraint: what ties them.
        updates: ``"jacobi"`` or ``"red-black"``.

    Raises:
        InvalidSetting: other updates.
    """

    constraint: Constraint
    updates: Updates = "jacobi"

    def __post_init__(self) -> None:
        require_updates(self.updates)

    @property
    def phases(self) -> int:
        """Two where odd and even rows take turns."""
        return 2 if self.updates == "red-black" else 1

    def beads(self, models: int) -> int:
        """The models themselves."""
        return models

    def cost(self, moving: Sequence[int]) -> int:
        """One each."""
        return len(moving)

    def look(self, thetas: Thetas, moving: Sequence[int], random: torch.Generator) -> Look:
        """At the beads themselves."""
        return Look(thetas[list(moving)])

    def direct(self, thetas: Thetas, moving: Sequence[int], look: Look, gradient: Gradient) -> Moving:
        """Those of the loss and of the constraint."""
        inner, left, right = _neighbours(thetas, moving)
        return _changed(
            gradient.gradients, inner, lambda own: self.constraint.direct(_some(look.models, inner), left, right, own)
        )

    def step(self, before: Thetas, after: Moving, moving: Sequence[int], seen: Gradient) -> Moving:
        """Where the constraint lets them go."""
        inner, left, right = _neighbours(before, moving)
        were, slopes = _some(before[list(moving)], inner), _some(seen.gradients, inner)
        return _changed(after, inner, lambda own: self.constraint.step(were, own, left, right, slopes))

    def place(self, before: Thetas, after: Moving, moving: Sequence[int]) -> Moving:
        """Where the constraint allows them, their neighbours being where they were."""
        inner, left, right = _neighbours(before, moving)
        return _changed(after, inner, lambda own: self.constraint.place(own, left, right))

    def probes(self, thetas: Thetas) -> Tensor:
        """None: the beads are what is wanted."""
        return thetas[:0]

    def holds(self, thetas: Thetas, moving: Sequence[int]) -> bool:
        """Whether the rows ``moving`` move as :class:`~weightstring.descent.stepping.Tie` says."""
        inner = bool(moving) and min(moving) > 0 and max(moving) < len(thetas) - 1
        return inner and self.constraint == Hyperplane() and self.updates == "jacobi"

    def tie(self, thetas: Thetas, moving: Sequence[int], steps: int, random: torch.Generator) -> Tie:
        """Where they stand."""
        return Tie(thetas, moving)


def require_updates(updates: str) -> None:
    """Refuse what is not a kind of updates.

    Raises:
        InvalidSetting: it is not.
    """
    if updates not in get_args(Updates):
        raise InvalidSetting(f"updates={updates!r}: choose one of {', '.join(get_args(Updates))}")


def _neighbours(thetas: Thetas, moving: Sequence[int]) -> tuple[list[int] | None, Tensor, Tensor]:
    """Which of the moving rows have two neighbours, None for all of them, and these."""
    last = len(thetas) - 1
    if moving and min(moving) > 0 and max(moving) < last:  # mostly the ends stay
        return None, thetas[[row - 1 for row in moving]], thetas[[row + 1 for row in moving]]
    inner = [k for k, row in enumerate(moving) if 0 < row < last]
    return inner, thetas[[moving[k] - 1 for k in inner]], thetas[[moving[k] + 1 for k in inner]]


def _some(rows: Tensor, inner: list[int] | None) -> Tensor:
    return rows if inner is None else rows[inner]


def _changed(rows: Tensor, inner: list[int] | None, change: Callable[[Tensor], Tensor]) -> Tensor:
    """Rows of which those that have two neighbours are changed."""
    if inner is None:
        return change(rows)
    changed = rows.clone()
    if inner:
        changed[inner] = change(rows[inner])
    return changed
