r"""What ties a bead to its neighbours while it descends (Section II.C).

With neighbours θ₋ and θ₊, their midpoint m = (θ₋ + θ₊)/2 and the unit vector n along θ₊ − θ₋:

- :class:`Free`: nothing.
- :class:`Hyperplane`: the bead stays on { θ : ⟨θ − m, n⟩ = 0 }, at equal distance from both neighbours.
- :class:`Spring`: the loss gains ζ (‖θ₋ − θ‖ + ‖θ₊ − θ‖), which shortens the string.
- :class:`Soft`: the loss gains κ |⟨n, u⟩|, u the unit vector along θ − m: the hyperplane as a preference. (The
  final paper prints m with a minus sign.)

``Hyperplane() & Spring(0.1)`` is both. All act on many beads at once, row by row.

What takes a bead off its place on the string is taken from the optimizer's *step*, never from the gradient: a projected
gradient g − ⟨g, n⟩ n is not zero where g is, and an optimizer that scales each coordinate, such as Adam, makes a full
step of the smallest number. Weights that no input reaches would move as far as all others, and the string
would be longer for nothing. So moments and momentum see gradients of the loss as they are, and of the springs, which
are a term of what is minimised: in a direction without any other gradient they straighten the string.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor

from weightstring.arrays import Thetas
from weightstring.errors import InvalidSetting


@runtime_checkable
class Constraint(Protocol):
    """How the neighbours act on a bead."""

    @property
    def name(self) -> str:
        """What it is called on the command line, with its weight."""

    def direct(self, thetas: Thetas, left: Thetas, right: Thetas, gradients: Thetas) -> Thetas:
        """The gradients (B, P) that the optimizer sees: those of the loss, and of what is added to it."""

    def step(self, before: Thetas, after: Thetas, left: Thetas, right: Thetas, seen: Thetas) -> Thetas:
        """Where beads (B, P) come to that the optimizer took from ``before`` to ``after``, having seen gradients."""

    def place(self, thetas: Thetas, left: Thetas, right: Thetas) -> Thetas:
        """The nearest positions (B, P) that are allowed."""


class _Composable:
    """Constraints that act together: ``a & b``; each overrides what it does not leave as it is."""

    def __and__(self, other: Constraint) -> Both:
        assert isinstance(self, Constraint)
        return Both((*parts_of(self), *parts_of(other)))

    def direct(self, thetas: Thetas, left: Thetas, right: Thetas, gradients: Thetas) -> Thetas:
        """The loss's gradients, as they are."""
        return gradients

    def step(self, before: Thetas, after: Thetas, left: Thetas, right: Thetas, seen: Thetas) -> Thetas:
        """Where the optimizer went."""
        return after

    def place(self, thetas: Thetas, left: Thetas, right: Thetas) -> Thetas:
        """Where they stand: every place is allowed."""
        return thetas


@dataclass(frozen=True)
class Free(_Composable):
    """No constraint.

    >>> Free().name
    'free'
    """

    @property
    def name(self) -> str:
        """``free``."""
        return "free"


@dataclass(frozen=True)
class Hyperplane(_Composable):
    """The bead stays at equal distance from its neighbours, exactly up to rounding after every step.

    >>> left, right = torch.zeros(1, 2), torch.tensor([[2.0, 0.0]])
    >>> Hyperplane().place(torch.tensor([[3.0, 1.0]]), left, right)
    tensor([[1., 1.]])
    """

    @property
    def name(self) -> str:
        """``hyperplane``."""
        return "hyperplane"

    def step(self, before: Thetas, after: Thetas, left: Thetas, right: Thetas, seen: Thetas) -> Thetas:
        """The optimizer's steps less their parts along n, see :func:`across`."""
        steps = across(after - before, seen, _normals(left, right))
        return (before.double() + steps).to(after)

    def place(self, thetas: Thetas, left: Thetas, right: Thetas) -> Thetas:
        """θ − ⟨θ − m, n⟩ n, twice: the second time takes away what rounding left of the first.

        Between neighbours that coincide there is no plane, and θ stays.
        """
        normals = _normals(left, right)
        middle = (left.double() + right.double()) / 2
        for _ in range(2):
            off = _inner(thetas.double() - middle, normals)
            thetas = (thetas.double() - off * normals).to(thetas)
        return thetas


@dataclass(frozen=True)
class Spring(_Composable):
    """The loss gains ζ (‖θ₋ − θ‖ + ‖θ₊ − θ‖).

    Args:
        zeta: ζ > 0, in units of loss by units of θ.

    Raises:
        InvalidSetting: ζ is not positive and finite.
    """

    zeta: float

    def __post_init__(self) -> None:
        _require_positive("Spring", "zeta", self.zeta)

    @property
    def name(self) -> str:
        """``spring`` and ζ."""
        return f"spring:{self.zeta!r}"

    def direct(self, thetas: Thetas, left: Thetas, right: Thetas, gradients: Thetas) -> Thetas:
        """The gradient g + ζ (unit vector from θ₋ + unit vector from θ₊)."""
        pull = _unit(thetas.double() - left.double()) + _unit(thetas.double() - right.double())
        return gradients + (self.zeta * pull).to(gradients)


@dataclass(frozen=True)
class Soft(_Composable):
    """The loss gains κ |c|, c = ⟨n, u⟩ the cosine of the angle between n and the bead's offset from m.

    Its gradient has no meaning as a scale, since it does not vanish near the plane; so the optimizer does not see
    it. Beside the optimizer's step goes one along it, as long in proportion as the gradients are, which
    ends on the plane where it would cross it. With plain SGD, and κ small, that is the descent of the sum.

    Args:
        kappa: κ > 0, in units of loss.

    Raises:
        InvalidSetting: κ is not positive and finite.
    """

    kappa: float

    def __post_init__(self) -> None:
        _require_positive("Soft", "kappa", self.kappa)

    @property
    def name(self) -> str:
        """``soft`` and κ."""
        return f"soft:{self.kappa!r}"

    def step(self, before: Thetas, after: Thetas, left: Thetas, right: Thetas, seen: Thetas) -> Thetas:
        """θ' − ‖θ' − θ‖ p / max(‖g‖, ‖p‖), g what the optimizer saw, p the penalty's gradient; not beyond the plane."""
        pull = self.pull(before, left, right)
        walked = (after.double() - before.double()).norm(dim=1, keepdim=True)
        steepest = torch.maximum(*(each.norm(dim=1, keepdim=True) for each in (seen.double(), pull)))
        move = pull * walked / torch.where(steepest > 0, steepest, 1)
        normals = _normals(left, right)
        off = _inner(after.double() - (left.double() + right.double()) / 2, normals)
        towards = _inner(move, normals)
        crosses = (towards * off > 0) & (towards.abs() > off.abs())
        share = torch.where(crosses, off / torch.where(crosses, towards, 1), 1)
        placed: Tensor = after.double() - share * move
        return placed.to(after)

    def pull(self, thetas: Thetas, left: Thetas, right: Thetas) -> Tensor:
        """The penalty's gradient κ sign(c) (n − c u)/‖θ − m‖, in float64.

        The angle has no gradient at m itself and an unbounded one beside it: within a hundredth of the
        neighbours' distance the offset counts as that hundredth.
        """
        normals = _normals(left, right)
        offset = thetas.double() - (left.double() + right.double()) / 2
        least = (right.double() - left.double()).norm(dim=1, keepdim=True) / 100
        distance = torch.maximum(offset.norm(dim=1, keepdim=True), least)
        distance = torch.where(distance > 0, distance, 1)
        cosine = _inner(normals, offset / distance)
        return self.kappa * cosine.sign() * (normals - cosine * offset / distance) / distance


@dataclass(frozen=True)
class Both(_Composable):
    """Several constraints, one after the other.

    >>> (Spring(0.1) & Hyperplane()).name
    'spring:0.1+hyperplane'
    """

    parts: tuple[Constraint, ...]

    @property
    def name(self) -> str:
        """Those of its parts."""
        return "+".join(part.name for part in self.parts)

    def direct(self, thetas: Thetas, left: Thetas, right: Thetas, gradients: Thetas) -> Thetas:
        """The gradients that the optimizer sees."""
        for part in self.parts:
            gradients = part.direct(thetas, left, right, gradients)
        return gradients

    def step(self, before: Thetas, after: Thetas, left: Thetas, right: Thetas, seen: Thetas) -> Thetas:
        """Where they come to."""
        for part in self.parts:
            after = part.step(before, after, left, right, seen)
        return after

    def place(self, thetas: Thetas, left: Thetas, right: Thetas) -> Thetas:
        """The nearest positions that are allowed."""
        for part in self.parts:
            thetas = part.place(thetas, left, right)
        return thetas


def across(steps: Tensor, gradients: Tensor, directions: Tensor) -> Tensor:
    """In float64: steps s (B, P) less their parts along unit vectors n (B, P), but still downhill where they were so.

    With the part across n of the gradient, g' = g − ⟨g, n⟩ n, plain gradient steps s = −η g become −η g'. Steps that
    were scaled coordinate by coordinate can lose on n just what led down: of −sign(g) ∥ n nothing is left, though
    g' ≠ 0. As much of g' is added as it takes to fall by half of what the plain step of the same gain would,
    η = −⟨s, g⟩ / ‖g‖².

    >>> diagonal = torch.tensor([[0.5, 0.5]]).sqrt()
    >>> across(-torch.tensor([[1.0, 1.0]]), torch.tensor([[3.0, 1.0]]), diagonal)
    tensor([[-0.2000,  0.2000]], dtype=torch.float64)
    """
    steps, gradients, directions = steps.double(), gradients.double(), directions.double()
    kept = steps - _inner(steps, directions) * directions
    down = gradients - _inner(gradients, directions) * directions
    gain, fall = -_along(steps, gradients), -_along(kept, down)
    missing = torch.where(gain > 0, gain / 2 - fall, 0).clamp(min=0)
    placed: Tensor = kept - missing * down
    return placed


def parts_of(tie: Constraint) -> Sequence[Constraint]:
    """The constraints that act together; itself where it is but one."""
    return tie.parts if isinstance(tie, Both) else (tie,)


def _normals(left: Thetas, right: Thetas) -> Tensor:
    """Unit vectors along the neighbours' direction, in float64: of models that lie close by, most digits cancel."""
    return _unit(right.double() - left.double())


def _inner(a: Tensor, b: Tensor) -> Tensor:
    """Inner products of rows (B, 1)."""
    return (a * b).sum(1, keepdim=True)


def _along(vectors: Tensor, directions: Tensor) -> Tensor:
    """How many times a direction (B, P) a vector has in it, (B, 1); none of a direction of length 0."""
    squares = _inner(directions, directions)
    return _inner(vectors, directions) / torch.where(squares > 0, squares, 1)


def _unit(vectors: Tensor) -> Tensor:
    """Rows of length 1; those of length 0 stay."""
    lengths = vectors.norm(dim=1, keepdim=True)
    return vectors / torch.where(lengths > 0, lengths, 1)


def _require_positive(kind: str, name: str, value: float) -> None:
    if not 0 < value < math.inf:
        raise InvalidSetting(f"{kind}({name}={value}): must be positive and finite")
