"""Analytic losses elsewhere: shifted, lifted, their axes stretched unevenly; Γ moves along."""

from __future__ import annotations

import math
from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor

from weightstring.arrays import Theta, Thetas
from weightstring.errors import InvalidSetting
from weightstring.problem.surfaces.base import Surface


@dataclass(frozen=True, kw_only=True)
class Moved(Surface):
    """L'(θ) = L((θ − offset) / scales) + lift; see :func:`shifted` and :func:`stretched`.

    Subtracting 0 and dividing by 1 are exact, so what is not moved keeps every bit.
    """

    surface: Surface
    offset: tuple[float, ...]
    scales: tuple[float, ...]
    lift: float = 0.0

    @property
    def ends(self) -> tuple[Theta, Theta]:
        """The ends of the surface, moved along."""
        offset, scales = self._point(*self.offset), self._point(*self.scales)
        first, last = (offset + scales * end for end in self.surface.ends)
        return first, last

    @property
    def curvature(self) -> float:
        """That of the surface along its most shrunken axis."""
        return self.surface.curvature / min(self.scales) ** 2

    def loss(self, thetas: Thetas) -> Float[Tensor, " B"]:
        """The surface's formula at the place before the move, (B, P) → (B,)."""
        return self.surface.loss(self._origin(thetas)) + self.lift

    @property
    def _magnitude(self) -> float:
        return self.surface._magnitude + abs(self.lift)

    def _reach(self, theta: Theta) -> float:
        scales = theta.new_tensor(self.scales)
        return float(((theta.abs() + theta.new_tensor(self.offset).abs()) / scales).amax())

    def _enclosed(self, a: Theta, b: Theta, low: Tensor, high: Tensor) -> Tensor:
        return self.surface._enclosed(self._origin(a), self._origin(b), low, high) + self.lift

    def pass_height(self, a: Theta, b: Theta) -> float:
        """That of the surface between the places before the move, lifted."""
        return self.surface.pass_height(self._origin(a), self._origin(b)) + self.lift

    def _origin(self, thetas: Float[Tensor, "*B P"]) -> Float[Tensor, "*B P"]:
        return (thetas - thetas.new_tensor(self.offset)) / thetas.new_tensor(self.scales)


def shifted(surface: Surface, offset: Theta, lift: float = 0.0) -> Moved:
    """The surface about ``offset`` (P,) in place of the origin, its loss raised by ``lift``: L(θ − offset) + lift.

    Ends and Γ move along: Γ'(a + offset, b + offset) = Γ(a, b) + lift, up to the rounding of a + offset.

    Raises:
        InvalidSetting: an offset that is not (P,), or is not finite, or a lift that is not.

    >>> import torch
    >>> from weightstring.problem.surfaces import Ring
    >>> moved = shifted(Ring(ridge=0.25), torch.tensor([3.0, -1.0]), lift=0.5)
    >>> moved.gamma(*moved.ends)
    0.75
    """
    if not math.isfinite(lift):
        raise InvalidSetting(f"shifted: lift = {lift} is not finite; give a number to add to the loss")
    return _moved(surface, _numbers("shifted: offset", offset, surface), (1.0,) * surface.size, lift)


def stretched(surface: Surface, scales: Theta) -> Moved:
    """The surface with axis i stretched by ``scales[i]`` > 0, (P,): L(θ / scales).

    Ends and Γ move along: Γ'(a · scales, b · scales) = Γ(a, b). The more uneven the scales, the slower
    gradient descent.

    Raises:
        InvalidSetting: scales that are not (P,), or not all positive and finite.

    >>> import torch
    >>> from weightstring.problem.surfaces import Ring
    >>> moved = stretched(Ring(ridge=0.25), torch.tensor([2.0, 0.5]))
    >>> moved.gamma(*moved.ends)
    0.25
    """
    numbers = _numbers("stretched: scales", scales, surface)
    if min(numbers) <= 0:
        raise InvalidSetting(f"stretched: the smallest scale is {min(numbers)}; give scales above 0")
    return _moved(surface, (0.0,) * surface.size, numbers, 0.0)


def _moved(surface: Surface, offset: tuple[float, ...], scales: tuple[float, ...], lift: float) -> Moved:
    return Moved(
        size=surface.size,
        dtype=surface.dtype,
        device=surface.device,
        surface=surface,
        offset=offset,
        scales=scales,
        lift=lift,
    )


def _numbers(place: str, vector: Theta, surface: Surface) -> tuple[float, ...]:
    if vector.shape != (surface.size,):
        raise InvalidSetting(
            f"{place} has shape {tuple(vector.shape)}, the surface's θ has ({surface.size},); give one number per axis"
        )
    if not vector.isfinite().all():
        first = vector[~vector.isfinite()][0].item()
        raise InvalidSetting(f"{place} = {first} on one axis is not finite; give finite numbers")
    return tuple(vector.tolist())
