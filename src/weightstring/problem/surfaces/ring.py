"""A valley along an ellipse, with two passes or none."""

from __future__ import annotations

import math
from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor

from weightstring.arrays import Theta, Thetas
from weightstring.errors import InvalidSetting
from weightstring.problem.surfaces.base import NO_PASS, Surface


@dataclass(frozen=True, kw_only=True)
class Ring(Surface):
    r"""A valley along an ellipse, high in the middle: everything is connected, but not by the chord.

        L(θ) = wall·(u² + v² − 1)² + s·u² + ½‖z‖²,   u = x / radii[0],   v = y / radii[1].

    With ``ridge`` = 0, s = 0 and the whole ellipse has loss 0: Γ(a, b) = max(L(a), L(b)) for every pair, for
    one can walk from a to the ellipse without climbing, along it, and up to b. With ``ridge`` > 0 the valley's
    loss varies along the ring: s = 2·wall·(1 − √(1 − ridge/wall)) puts minima of loss 0 at (0, ±radii[1]) and
    the two passes between them, at v = 0 and u² = 1 − s/(2·wall), at height exactly ``ridge``. Every path from
    v < 0 to v > 0 crosses v = 0, where L ≥ ridge; on either side there is one minimum and no other
    critical point, so that nothing has to be climbed. The centre is a maximum of height ``wall``.

    Args:
        radii: semi-axes of the ellipse in x and y.
        wall: loss at the centre.
        ridge: loss at the two passes, 0 ≤ ridge < wall.
        angles: where on the valley the two ends lie, in radians: u ∝ cos, v ∝ sin. The default pair sees
            the centre a little to the side of its chord: from the centre itself no descent can start.

    >>> surface = Ring(radii=(2.0, 1.0), ridge=0.25)
    >>> surface.gamma(*surface.ends)
    0.25
    """

    radii: tuple[float, float] = (1.0, 1.5)
    wall: float = 1.0
    ridge: float = 0.0
    angles: tuple[float, float] = (1.8, -1.0)

    def __post_init__(self) -> None:
        super().__post_init__()
        self._require_positive("wall")
        if not all(0 < radius < math.inf for radius in self.radii):
            raise InvalidSetting(f"Ring: radii = {self.radii} are not both positive and finite; give two above 0")
        if not 0 <= self.ridge < self.wall:
            raise InvalidSetting(f"Ring: ridge = {self.ridge} is not in [0, wall = {self.wall}); lower it")

    @property
    def ends(self) -> tuple[Theta, Theta]:
        """The points of the valley floor at ``angles``."""
        first, last = (self._floor(angle) for angle in self.angles)
        return first, last

    @property
    def curvature(self) -> float:
        """Of the formula inside the ellipse."""
        return max((8 * self.wall + 2 * self._slope) / min(self.radii) ** 2, 1.0)

    @property
    def _slope(self) -> float:
        return 2 * self.wall * (1 - math.sqrt(1 - self.ridge / self.wall))

    def _floor(self, angle: float) -> Theta:
        u, v = math.cos(angle), math.sin(angle)
        radius = math.sqrt(1 - self._slope * u * u / (2 * self.wall))
        return self._point(self.radii[0] * radius * u, self.radii[1] * radius * v)

    def loss(self, thetas: Thetas) -> Float[Tensor, " B"]:
        """The formula of the class, (B, P) → (B,)."""
        u, v, z = thetas[:, 0] / self.radii[0], thetas[:, 1] / self.radii[1], thetas[:, 2:]
        around = self.wall * (u.square() + v.square() - 1).square()
        return around + self._slope * u.square() + z.square().sum(1) / 2

    @property
    def _magnitude(self) -> float:
        least = min(1.0, *self.radii)
        return self.wall * (2 / least**2 + 1) ** 2 + self._slope / least**2 + 1

    def pass_height(self, a: Theta, b: Theta) -> float:
        """``ridge`` if the hyperplane y = 0 lies between a and b."""
        return self.ridge if (a[1] < 0) != (b[1] < 0) else NO_PASS
