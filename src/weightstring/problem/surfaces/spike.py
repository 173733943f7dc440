"""A straight valley with a narrow spike on its floor."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from weightstring.arrays import Theta, Thetas
from weightstring.errors import InvalidSetting
from weightstring.problem.surfaces.base import NO_PASS, Surface


@dataclass(frozen=True, kw_only=True)
class Spike(Surface):
    r"""A straight valley with a narrow, high spike on its floor, which a coarse grid on the chord cannot see.

        L(θ) = ½k ρ² + height·max(0, 1 − ((x − x₀)² + ρ²) / width²)³,   ρ² = y² + ‖z‖²,   x₀ = 2·position − 1.

    Away from the spike every point of the valley floor is a minimum, of loss 0. The ends lie at (∓1, width/4, 0),
    a little beside the floor, so that the spike slopes across the chord too and descent from the chord's maximum
    leaves it sideways. Every path between them crosses x = x₀, where L is smallest at
    ρ² = width²·(1 − q), q = √(k·width² / (6·height)), with the value

        Γ = ½k·width²·(1 − ⅔q),

    and the line at that ρ, parallel to the chord, climbs no higher. On the chord ρ is constant and L has its
    maximum at t = ``position``: :attr:`chord_maximum`. Between positions that are all further than
    width/2 (in t) from ``position`` the loss is constant: they see nothing of the spike, whatever its height.

    Args:
        height: of the spike above the valley.
        width: radius of the spike, in the units of θ; the chord is 2 long.
        position: where on the chord the spike stands, t ∈ (0, 1). The default is seen by none of the grids
            of 17, 25 and 33 points, and by that of 61.
        stiffness: k, the curvature across the valley; k·width² must be less than 6·height, for else
            the way over the spike is the lowest.

    >>> surface = Spike()
    >>> f"{surface.gamma(*surface.ends):.5f} {surface.chord_maximum:.5f}"
    '0.00486 0.82429'
    """

    height: float = 1.0
    width: float = 0.01
    position: float = 0.45
    stiffness: float = 100.0

    def __post_init__(self) -> None:
        super().__post_init__()
        self._require_positive("height", "width", "stiffness")
        if not self.width < 2 * min(self.position, 1 - self.position):
            raise InvalidSetting(
                f"Spike: width = {self.width} at position = {self.position} reaches an end of the chord (0 or 1, "
                "and 2 long); make it narrower or move it to the middle"
            )
        if not self._ratio < 1:
            raise InvalidSetting(
                f"Spike: stiffness * width**2 = {self.stiffness * self.width**2} is not below 6 * height = "
                f"{6 * self.height}, so no way leads round the spike; make it higher or narrower"
            )

    @property
    def ends(self) -> tuple[Theta, Theta]:
        """Two points beside the valley floor, with the spike between them."""
        return self._point(-1.0, self.width / 4), self._point(1.0, self.width / 4)

    @property
    def curvature(self) -> float:
        """Of the spike's slopes and the valley together."""
        return 6 * self.height / self.width**2 + self.stiffness

    @property
    def chord_maximum(self) -> float:
        """The largest loss on the segment between the ends, at t = ``position``."""
        return self.stiffness / 2 * (self.width / 4) ** 2 + self.height * (15 / 16) ** 3

    @property
    def _ratio(self) -> float:
        return math.sqrt(self.stiffness * self.width**2 / (6 * self.height))

    @property
    def _centre(self) -> float:
        return 2 * self.position - 1

    def loss(self, thetas: Thetas) -> Float[Tensor, " B"]:
        """The formula of the class, (B, P) → (B,)."""
        across = thetas[:, 1:].square().sum(1)
        distance = (thetas[:, 0] - self._centre).square() + across
        spike = (1 - distance / self.width**2).clamp(min=0).pow(3)
        return self.stiffness / 2 * across + self.height * spike

    @property
    def _magnitude(self) -> float:
        # The spike changes by its whole height within its width, so that rounding of the place counts for more.
        return self.stiffness + 8 * self.height * (1 + 1 / self.width**2)

    def _enclosed(self, a: Theta, b: Theta, low: Tensor, high: Tensor) -> Tensor:
        """The valley is convex along a chord; the spike falls with the distance, whose least is known."""
        centre = torch.zeros_like(a)
        centre[0] = self._centre
        along = b - a
        nearest = ((centre - a) @ along / (along @ along).clamp(min=1e-300)).expand_as(low)
        ts = torch.stack([low, high, torch.minimum(torch.maximum(nearest, low), high)]).unsqueeze(-1)
        offsets = a * (1 - ts) + b * ts - centre
        across = offsets[..., 1:].square().sum(-1)
        closest = offsets[2].square().sum(-1)
        spike = (1 - closest / self.width**2).clamp(min=0).pow(3)
        return self.stiffness / 2 * torch.maximum(across[0], across[1]) + self.height * spike

    def pass_height(self, a: Theta, b: Theta) -> float:
        """The lowest loss on the hyperplane x = x₀, if it lies between a and b."""
        if (a[0] < self._centre) == (b[0] < self._centre):
            return NO_PASS
        return self.stiffness / 2 * self.width**2 * (1 - 2 / 3 * self._ratio)
