"""Two minima joined by a curved valley over one saddle."""

from __future__ import annotations

import math
from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor

from weightstring.arrays import Theta, Thetas
from weightstring.errors import InvalidSetting
from weightstring.problem.surfaces.base import NO_PASS, Surface


@dataclass(frozen=True, kw_only=True)
class TwoWells(Surface):
    r"""Two uneven minima of a quartic, joined by a curved valley over one saddle.

        L(θ) = h(x) + ½c (y − v(x))² + ½c ‖z‖²,   v(x) = bend·(x + left)(right − x),
        h(x) = saddle + k (x⁴/4 + (left − right) x³/3 − left·right x²/2).

    Since h′(x) = k x (x + left)(x − right), the minima are (−left, 0, 0) and (right, 0, 0), the ends, and
    the saddle (0, bend·left·right, 0). k puts the deeper well, that of the larger of left and right, at loss 0;
    the other lies higher unless left = right. Γ between the wells is ``saddle``: every path crosses
    x = 0, where L ≥ h(0), and along y = v(x) L is h(x). The chord between the ends is straight and the
    valley is not: it rises to saddle + ½c (bend·left·right)² and more.

    Args:
        left, right: distances of the two minima from the saddle along x.
        saddle: Γ, the height of the saddle above the deeper well.
        bend: how far the valley curves away from the chord; 0 for a straight one.
        stiffness: c, the curvature across the valley.

    >>> a, b = TwoWells(size=3).ends
    >>> b
    tensor([1.4000, 0.0000, 0.0000], dtype=torch.float64)
    """

    left: float = 1.0
    right: float = 1.4
    saddle: float = 1.0
    bend: float = 0.5
    stiffness: float = 4.0

    def __post_init__(self) -> None:
        super().__post_init__()
        self._require_positive("left", "right", "saddle", "stiffness")
        if not math.isfinite(self.bend):
            raise InvalidSetting(f"TwoWells: bend = {self.bend} is not finite; give 0 for a straight valley")

    @property
    def ends(self) -> tuple[Theta, Theta]:
        """The two minima."""
        return self._point(-self.left), self._point(self.right)

    @property
    def curvature(self) -> float:
        """Row sums of the Hessian for −left ≤ x ≤ right and y between the chord and the valley."""
        span = self.left + self.right
        along = self._quartic * max(self.left, self.right) * span
        return along + self.stiffness * (1 + 1.5 * (self.bend * span) ** 2)

    @property
    def _quartic(self) -> float:
        depth = max(
            self.left**3 * (self.left + 2 * self.right),
            self.right**3 * (self.right + 2 * self.left),
        )
        return 12 * self.saddle / depth

    def loss(self, thetas: Thetas) -> Float[Tensor, " B"]:
        """The formula of the class, (B, P) → (B,)."""
        x, y, z = thetas[:, 0], thetas[:, 1], thetas[:, 2:]
        well = x * x * (x * x / 4 + (self.left - self.right) * x / 3 - self.left * self.right / 2)
        valley = self.bend * (x + self.left) * (self.right - x)
        return self.saddle + self._quartic * well + self.stiffness / 2 * ((y - valley).square() + z.square().sum(1))

    @property
    def _magnitude(self) -> float:
        valley = (1 + abs(self.bend) * (1 + self.left) * (1 + self.right)) ** 2
        return self.saddle + self._quartic * (1 + self.left) * (1 + self.right) + self.stiffness * valley

    def pass_height(self, a: Theta, b: Theta) -> float:
        """``saddle`` if the hyperplane x = 0 lies between a and b."""
        return self.saddle if (a[0] < 0) != (b[0] < 0) else NO_PASS
