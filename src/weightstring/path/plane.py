"""The loss on a plane through three models, and a string seen from above it."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float64
from torch import Tensor

from weightstring.ambient import undisturbed
from weightstring.arrays import Theta, Thetas
from weightstring.errors import InvalidSetting
from weightstring.path.objective import Objective, check_theta
from weightstring.path.segment import rows_at_once
from weightstring.path.string import WeightString
from weightstring.protocol import LossProblem

RESOLUTION = 31
"""Grid points a side; their losses cost as much as measuring a string of some tens of beads."""
FINEST = 301
MARGIN = 0.15
"""Room around what is shown, as a share of its longer side."""


@dataclass(frozen=True, repr=False)
class Plane:
    """A plane of models origin + x · axes[0] + y · axes[1], its losses on a grid, and a string projected on it.

    Args:
        origin: the first of the three models (P,), float64.
        axes: two unit vectors (2, P), float64: towards the second model, and across, towards the third.
        x, y: the grid's coordinates, each rising.
        losses: (len(y), len(x)); +inf where a loss is not finite.
        names: the measured quantities whose largest these are.
        corners: coordinates (3, 2) of the three models.
        beads: coordinates (n, 2) of the string's projected beads.
        distances: (n,) of the beads from the plane.
    """

    origin: Float64[Tensor, " P"]
    axes: Float64[Tensor, "2 P"]
    x: Float64[Tensor, " X"]
    y: Float64[Tensor, " Y"]
    losses: Float64[Tensor, "Y X"]
    names: tuple[str, ...]
    corners: Float64[Tensor, "3 2"]
    beads: Float64[Tensor, "n 2"]
    distances: Float64[Tensor, " n"]

    def __repr__(self) -> str:
        rows, columns = self.losses.shape
        span = f"{self.losses.min().item():.4g} to {self.losses.max().item():.4g}"
        what = " and ".join(self.names)
        off = f"{len(self.beads)} beads at most {self.distances.max().item():.4g} off it"
        return f"<Plane: {what} at {columns} x {rows} points, {span}, sampled; {off}>"

    def model(self, x: float, y: float) -> Float64[Tensor, " P"]:
        """The model (P,) at a point of the plane, float64."""
        return self.origin + x * self.axes[0] + y * self.axes[1]


@undisturbed
def plane(
    problem: LossProblem,
    string: WeightString | Thetas | Sequence[Theta],
    resolution: int = RESOLUTION,
    through: Sequence[Theta] | None = None,
    *,
    bind: str = "evaluate",
    on_begin: Callable[[], None] = lambda: None,
    on_chunk: Callable[[], None] = lambda: None,
) -> Plane:
    """Measure the loss on a grid in the plane through three models, and project a string on it.

    Args:
        problem: the loss.
        string: it, or its models (n, P) in order; none at all where ``through`` is given.
        resolution: grid points a side.
        through: the three models (P,); by default the string's two ends and its bead farthest from the line through
            them, which is its farthest point: between two beads a string is nowhere farther than at both.
        bind: which quantity is measured; see :class:`~weightstring.path.objective.Objective`.
        on_begin: called once all is in order, before the first measurement.
        on_chunk: called after every batch of measurements; it may raise.

    Returns:
        The plane; its grid covers the three models and the projected string, with room around.

    Raises:
        InvalidCheckpoint: a model is not the problem's.
        InvalidSetting: the three models lie on one line, or the resolution is out of range.

    >>> from weightstring.problem.surfaces import Ring
    >>> ring = Ring(size=4)
    >>> a, b = ring.ends
    >>> found = plane(ring, torch.stack([a, 2 * a + b, b]), resolution=5)
    >>> found.losses.shape, found.distances.round(decimals=9).tolist()
    (torch.Size([5, 5]), [0.0, 0.0, 0.0])
    """
    if not isinstance(resolution, int) or not 2 <= resolution <= FINEST:
        raise InvalidSetting(f"resolution={resolution!r}: give a whole number of grid points a side, 2 to {FINEST}")
    bound = Objective(problem, bind)
    beads = list(string)
    for i, bead in enumerate(beads):
        check_theta(problem, bead, f"bead {i}")
    if through is None and len(beads) < 2:
        raise InvalidSetting(f"a string of {len(beads)} beads: a plane needs three models, give through=(a, b, c)")
    three = _farthest(beads) if through is None else list(through)
    if len(three) != 3:
        raise InvalidSetting(f"through: {len(three)} models; a plane goes through three")
    for name, theta in zip(("first", "second", "third"), three, strict=True):
        check_theta(problem, theta, f"the {name} model of the plane")
    origin, axes = _axes(three, given=through is not None)
    corners, _ = _projected(three, origin, axes)
    points, distances = _projected(beads, origin, axes)
    x, y = _grid(torch.cat([corners, points]), resolution)
    on_begin()
    losses = _measured(bound, origin, axes, x, y, on_chunk)
    return Plane(origin, axes, x, y, losses, bound.names, corners, points, distances)


def _farthest(beads: Sequence[Theta]) -> list[Theta]:
    """The two ends, and the bead that is farthest from the line through them."""
    first, last = beads[0], beads[-1]
    along = last.double() - first.double()
    squared = float(along @ along)

    def distance(bead: Theta) -> float:
        offset = bead.double() - first.double()
        return float((offset - (offset @ along) / squared * along).norm()) if squared > 0 else float(offset.norm())

    return [first, last, max(beads, key=distance)]


def _axes(three: Sequence[Theta], given: bool) -> tuple[Tensor, Tensor]:
    """An orthonormal basis of the plane, at the first model."""
    origin, second, third = (theta.double() for theta in three)
    # A coordinate is rounded by half an eps of its size, so that points of a line are beside it by as much.
    rounding = 8 * torch.finfo(three[0].dtype).eps * max(float(theta.norm()) for theta in (origin, second, third))
    along, across = second - origin, third - origin
    length = float(along.norm())
    if length > rounding:
        along = along / length
        across = across - (across @ along) * along
        across = across - (across @ along) * along  # what rounding left of it the first time
        height = float(across.norm())
        if height > rounding:
            return origin, torch.stack([along, across / height])
    if given:
        raise InvalidSetting("through: the three models lie on one line, and no single plane goes through them")
    raise InvalidSetting(
        "the string is straight, or its ends are one model: no single plane goes through its ends and its farthest "
        "bead; name three models, plane(..., through=(a, b, c))"
    )


def _projected(thetas: Sequence[Theta], origin: Tensor, axes: Tensor) -> tuple[Tensor, Tensor]:
    """Coordinates (n, 2) of models on the plane, and their distances (n,) from it, one model at a time."""
    points, distances = [], []
    for theta in thetas:
        offset = theta.double() - origin
        point = axes @ offset
        points.append(point)
        distances.append((offset - point @ axes).norm())
    if not points:
        return axes.new_zeros(0, 2).cpu(), axes.new_zeros(0).cpu()
    return torch.stack(points).cpu(), torch.stack(distances).cpu()


def _grid(points: Tensor, resolution: int) -> tuple[Tensor, Tensor]:
    """Coordinates from below the least to above the largest of the points, with the same room on all sides."""
    low, high = points.amin(dim=0), points.amax(dim=0)
    room = MARGIN * float((high - low).max())
    x, y = (
        torch.linspace(float(a) - room, float(b) + room, resolution, dtype=torch.float64)
        for a, b in zip(low, high, strict=True)
    )
    return x, y


def _measured(
    bound: Objective, origin: Tensor, axes: Tensor, x: Tensor, y: Tensor, on_chunk: Callable[[], None]
) -> Tensor:
    """The losses (Y, X), in batches that fit in memory."""
    dtype = bound.problem.dtype
    coordinates = torch.cartesian_prod(y, x).flip(1).to(axes)
    losses = []
    for chunk in torch.split(coordinates, rows_at_once(origin)):
        losses.append(bound((origin + chunk @ axes).to(dtype)))
        on_chunk()
    values = torch.cat(losses).reshape(len(y), len(x))
    return values.where(values.isfinite(), math.inf)
