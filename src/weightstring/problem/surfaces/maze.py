"""Rooms between walls, each wall with one gap."""

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
class Maze(Surface):
    r"""Rooms between walls, each wall with one gap: a path under the walls has to turn at every gap.

        L(θ) = sin²(π x / spacing)·W_i(y) + ½c (distance of x from [0, n·spacing])² + ½c ‖z‖²,
        W_i(y) = heights[i] + ½·steepness·(y − gaps[i])²,   i = ⌊x / spacing⌋ ∈ {0, …, n − 1}.

    The rooms are the lines x = 0, spacing, …, n·spacing, on which the loss is 0. Halfway between two of them stands
    wall i; its crest has the height W_i(y), lowest in its gap. A path from one side of wall i to the other
    crosses its crest, where L ≥ heights[i], and the straight way through the gap climbs no higher, so between the
    ends, in the first and the last room at y = 0, Γ = max(heights). The loss is C¹.

    Args:
        gaps: y of the gap of each of the n walls; opposite signs make the path turn.
        heights: loss at the n gaps.
        spacing: distance between two rooms. Narrow ones are harder: descent falls off a wall before it finds the gap.
        steepness: of the walls beside the gaps.
        stiffness: c, the curvature in the coordinates z and beyond the outer rooms.

    >>> surface = Maze(heights=(0.2, 0.5, 0.1))
    >>> surface.gamma(*surface.ends)
    0.5
    """

    gaps: tuple[float, ...] = (1.0, -1.0, 1.2)
    heights: tuple[float, ...] = (0.2, 0.3, 0.25)
    spacing: float = 2.0
    steepness: float = 2.0
    stiffness: float = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        self._require_positive("spacing", "steepness", "stiffness")
        if not 0 < len(self.gaps) == len(self.heights):
            raise InvalidSetting(
                f"Maze: {len(self.gaps)} gaps and {len(self.heights)} heights; give one gap and one height per wall"
            )
        if not all(0 < height < math.inf for height in self.heights) or not all(map(math.isfinite, self.gaps)):
            raise InvalidSetting(
                f"Maze: gaps = {self.gaps}, heights = {self.heights}; give finite gaps and heights above 0"
            )

    @property
    def ends(self) -> tuple[Theta, Theta]:
        """The points of the first and of the last room at y = 0."""
        return self._point(0.0), self._point(len(self.gaps) * self.spacing)

    @property
    def curvature(self) -> float:
        """Row sums of the Hessian between the outer rooms, for y from the lowest to the highest gap or end."""
        reach = max(*self.gaps, 0.0) - min(*self.gaps, 0.0)
        rate = math.pi / self.spacing
        highest = max(self.heights) + self.steepness / 2 * reach**2
        return max(2 * rate**2 * highest, self.steepness, self.stiffness) + rate * self.steepness * reach

    def loss(self, thetas: Thetas) -> Float[Tensor, " B"]:
        """The formula of the class, (B, P) → (B,)."""
        x, y, z = thetas[:, 0], thetas[:, 1], thetas[:, 2:]
        inside = x.clamp(0, len(self.gaps) * self.spacing)
        wall = (inside.detach() / self.spacing).long().clamp(0, len(self.gaps) - 1)
        gaps, heights = thetas.new_tensor(self.gaps)[wall], thetas.new_tensor(self.heights)[wall]
        crest = heights + self.steepness / 2 * (y - gaps).square()
        walls = (math.pi / self.spacing * inside).sin().square() * crest
        return walls + self.stiffness / 2 * ((x - inside).square() + z.square().sum(1))

    @property
    def _magnitude(self) -> float:
        reach = 1 + max(abs(gap) for gap in self.gaps)
        across = self.stiffness * (2 + len(self.gaps) * self.spacing) ** 2
        return (max(self.heights) + self.steepness * reach**2) * (1 + math.pi / self.spacing) + across

    def _enclosed(self, a: Theta, b: Theta, low: Tensor, high: Tensor) -> Tensor:
        """Walls by the largest sine between and the largest crest met; what is convex by its larger end."""
        ends = torch.stack([low, high]).unsqueeze(-1)
        points = a * (1 - ends) + b * ends
        x, y, z = points[..., 0], points[..., 1], points[..., 2:]
        outer = len(self.gaps) * self.spacing
        inside = x.clamp(0, outer)
        left, right = inside.amin(0), inside.amax(0)
        first, last = (left / self.spacing).floor(), (right / self.spacing).floor()
        middle = (first + 0.5) * self.spacing
        over_crest = ((left <= middle) & (middle <= right)) | (last > first)
        sines = (math.pi / self.spacing * inside).sin().square().amax(0)
        height = torch.zeros_like(sines)
        for wall, (gap, lowest) in enumerate(zip(self.gaps, self.heights, strict=True)):
            crest = lowest + self.steepness / 2 * (y - gap).square().amax(0)
            met = (left <= (wall + 1) * self.spacing) & (right >= wall * self.spacing)
            height = torch.where(met, torch.maximum(height, crest), height)
        outside = ((x - inside).square() + z.square().sum(-1)).amax(0)
        return torch.where(over_crest, 1.0, sines) * height + self.stiffness / 2 * outside

    def pass_height(self, a: Theta, b: Theta) -> float:
        """The highest gap among the walls whose crests lie between a and b."""
        low, high = sorted((a[0].item(), b[0].item()))
        crests = ((i + 0.5) * self.spacing for i in range(len(self.gaps)))
        return max((h for crest, h in zip(crests, self.heights, strict=True) if low < crest < high), default=NO_PASS)
