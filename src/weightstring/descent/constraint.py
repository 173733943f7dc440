r"""What ties a bead to its neighbours while it descends (Section II.C).

With neighbours θ₋ and θ₊, their midpoint m = (θ₋ + θ₊)/2 and the unit vector n along θ₊ − θ₋:

- :class:`Free`: nothing.
- :class:`Hyperplane`: the bead stays on { θ : ⟨θ − m, n⟩ = 0 }, at equal distance from both neighbours. The
  gradient is projected, and so is the position: an optimizer that scales each coordinate leaves the plane even
  along a projected gradient, and the plane moves with the neighbours.
- :class:`Spring`: the loss gains ζ (‖θ₋ − θ‖ + ‖θ₊ − θ‖), which shortens the string.
- :class:`Soft`: the loss gains κ |⟨n, u⟩|, u the unit vector along θ − m: the hyperplane as a preference. (The
  final paper prints m with a minus sign.)

``Hyperplane() & Spring(0.1)`` is both. All act on many beads at once, row by row.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

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
        """The gradients (B, P) to follow in place of those of the loss."""

    def place(self, thetas: Thetas, left: Thetas, right: Thetas) -> Thetas:
        """The nearest positions (B, P) that are allowed."""


class _Composable:
    """Constraints that act together: ``a & b``."""

    def __and__(self, other: Constraint) -> Both:
        assert isinstance(self, Constraint)
        return Both((*_parts(self), *_parts(other)))


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

    def direct(self, thetas: Thetas, left: Thetas, right: Thetas, gradients: Thetas) -> Thetas:
        """The loss's own gradients."""
        return gradients

    def place(self, thetas: Thetas, left: Thetas, right: Thetas) -> Thetas:
        """Where they are."""
        return thetas


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

    def direct(self, thetas: Thetas, left: Thetas, right: Thetas, gradients: Thetas) -> Thetas:
        """The gradient g − ⟨g, n⟩ n; between neighbours that coincide there is no plane, and g stays."""
        normals = _normals(left, right)
        along = (gradients.double() * normals).sum(1, keepdim=True)
        return gradients - (along * normals).to(gradients)

    def place(self, thetas: Thetas, left: Thetas, right: Thetas) -> Thetas:
        """θ − ⟨θ − m, n⟩ n, twice: the second time takes away what rounding left of the first."""
        normals = _normals(left, right)
        middle = (left.double() + right.double()) / 2
        for _ in range(2):
            off = ((thetas.double() - middle) * normals).sum(1, keepdim=True)
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
        return gradients + self.zeta * (_unit(thetas - left) + _unit(thetas - right))

    def place(self, thetas: Thetas, left: Thetas, right: Thetas) -> Thetas:
        """Where they are."""
        return thetas


@dataclass(frozen=True)
class Soft(_Composable):
    """The loss gains κ |cos| of the angle between the neighbours' direction and the bead's offset from m.

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

    def direct(self, thetas: Thetas, left: Thetas, right: Thetas, gradients: Thetas) -> Thetas:
        """The gradient g + κ sign(c) (n − c u)/‖θ − m‖, c = ⟨n, u⟩.

        The angle has no gradient at m itself and an unbounded one beside it: within a hundredth of the
        neighbours' distance the offset counts as that hundredth.
        """
        normals = _unit(right - left)
        offset = thetas - (left + right) / 2
        distance = offset.norm(dim=1, keepdim=True)
        unit = _unit(offset)
        cosine = (normals * unit).sum(1, keepdim=True)
        least = (right - left).norm(dim=1, keepdim=True) / 100
        slope = cosine.sign() * (normals - cosine * unit) / distance.clamp(min=least)
        return gradients + self.kappa * torch.where(distance > 0, slope, 0)

    def place(self, thetas: Thetas, left: Thetas, right: Thetas) -> Thetas:
        """Where they are."""
        return thetas


@dataclass(frozen=True)
class Both(_Composable):
    """Several constraints: what pulls comes first, what projects last.

    >>> (Spring(0.1) & Hyperplane()).name
    'spring:0.1+hyperplane'
    """

    parts: tuple[Constraint, ...]

    @property
    def name(self) -> str:
        """Those of its parts."""
        return "+".join(part.name for part in self.parts)

    def direct(self, thetas: Thetas, left: Thetas, right: Thetas, gradients: Thetas) -> Thetas:
        """The gradients to follow."""
        for part in sorted(self.parts, key=lambda part: isinstance(part, Hyperplane)):
            gradients = part.direct(thetas, left, right, gradients)
        return gradients

    def place(self, thetas: Thetas, left: Thetas, right: Thetas) -> Thetas:
        """The nearest positions that are allowed."""
        for part in self.parts:
            thetas = part.place(thetas, left, right)
        return thetas


def constraint(name: str) -> Constraint:
    """A constraint by its name: ``free``, ``hyperplane``, ``spring:ζ``, ``soft:κ``, or several joined by ``+``.

    Raises:
        InvalidSetting: there is none of that name, or a weight is missing or out of range.

    >>> constraint("hyperplane+spring:0.01")
    Both(parts=(Hyperplane(), Spring(zeta=0.01)))
    """
    parts = [_one(part) for part in name.split("+")]
    return parts[0] if len(parts) == 1 else Both(tuple(parts))


def on_planes(tie: Constraint) -> bool:
    """Whether beads are held on the hyperplanes."""
    return any(isinstance(part, Hyperplane) for part in _parts(tie))


def _one(name: str) -> Constraint:
    kind, _, weight = name.partition(":")
    plain: dict[str, Constraint] = {"free": Free(), "hyperplane": Hyperplane()}
    weighted: dict[str, Any] = {"spring": Spring, "soft": Soft}
    if kind in plain and not weight:
        return plain[kind]
    try:
        made: Constraint = weighted[kind](float(weight))
    except (KeyError, ValueError):
        raise InvalidSetting(
            f"constraint {name!r}: choose free, hyperplane, spring:ZETA or soft:KAPPA, or several joined by +"
        ) from None
    return made


def _parts(tie: Constraint) -> Sequence[Constraint]:
    return tie.parts if isinstance(tie, Both) else (tie,)


def _normals(left: Thetas, right: Thetas) -> Tensor:
    """Unit vectors along the neighbours' direction, in float64: of models that lie close by, most digits cancel."""
    return _unit(right.double() - left.double())


def _unit(vectors: Tensor) -> Tensor:
    """Rows of length 1; those of length 0 stay."""
    lengths = vectors.norm(dim=1, keepdim=True)
    return vectors / torch.where(lengths > 0, lengths, 1)


def _require_positive(kind: str, name: str, value: float) -> None:
    if not 0 < value < math.inf:
        raise InvalidSetting(f"{kind}({name}={value}): must be positive and finite")
