r"""Analytic losses whose maximum interpolated error Γ (Eq. 3) is known: the oracles of a search.

Each surface is a formula over θ = (x, y, z₁, …, z_{P−2}) and a :class:`~weightstring.protocol.LossProblem`
like any network. On every one of them Γ(a, b) is exact for *all* pairs of ends, by one argument: every path from
a to b crosses certain hyperplanes, on each of which the loss has a known minimum, its pass; and one can walk from
a down into a valley, along it over the passes and up to b, without climbing higher. So

    Γ(a, b) = max(L(a), L(b), highest pass between a and b).

A search may find a string under a threshold above Γ; a string under a threshold below Γ is a wrong answer.
Any of them can be moved elsewhere by :func:`shifted` and :func:`stretched`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from weightstring.arrays import Theta, Thetas
from weightstring.errors import InvalidSetting
from weightstring.problem.analytic import NO_PASS, Surface, shifted, stretched

__all__ = ["Maze", "Ring", "Spike", "Surface", "TwoWells", "shifted", "stretched"]


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
