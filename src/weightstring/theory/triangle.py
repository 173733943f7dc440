"""Appendix E: the triangle of which every path between two symmetric copies climbs to 1/6."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from jaxtyping import Float64
from torch import Tensor, nn

from weightstring.arrays import Theta
from weightstring.errors import InvalidSetting
from weightstring.problem import ModuleProblem
from weightstring.recipe import Recipe
from weightstring.theory.one_hidden import OneHidden
from weightstring.theory.squares import squared_distance


def swapped_triangle(points: Float64[Tensor, "3 2"] | None = None) -> ModuleProblem:
    r"""Appendix E: the network 2-3-2 with one ReLU layer and no biases that maps x1 → x2 → x3 → x1.

    For the equilateral triangle with circumradius 1 about the origin every path from θ to its copy with two hidden
    units swapped climbs to 1/6; a 3-cycle of units changes no sign.

    Args:
        points: other triangles.

    >>> swapped_triangle().size
    12
    """
    if points is None:
        angles = torch.tensor([math.pi / 2 + 2 * math.pi * k / 3 for k in range(3)], dtype=torch.float64)
        points = torch.stack([angles.cos(), angles.sin()], 1)
    net = nn.Sequential(nn.Linear(2, 3, bias=False), nn.ReLU(), nn.Linear(3, 2, bias=False)).double()
    recipe = Recipe("adam", {"lr": 0.02}, check_every=10, max_steps=2_000)
    return ModuleProblem(
        net, squared_distance, (points, points.roll(-1, 0)), batch_size=None, recipe=recipe, engine="stack"
    )


def swapped_ends(
    triangle: ModuleProblem, units: Sequence[int] = (1, 0, 2), sizes: Sequence[float] | None = None
) -> tuple[Theta, Theta]:
    """A model of loss 0 for :func:`swapped_triangle`, one unit an example, and its copy with permuted hidden units.

    Args:
        triangle: the problem.
        units: the permutation.
        sizes: norms of the units' input weights, which their output weights make up for.

    Raises:
        InvalidSetting: the origin is not inside the triangle, so that no unit sees one example alone.
    """
    parts = OneHidden.of(triangle)
    points = parts.inputs
    # Unit i is orthogonal to the next example and sees its own; the origin is inside, so the third lies behind it.
    across = points.roll(-1, 0) @ torch.tensor([[0.0, 1.0], [-1.0, 0.0]], dtype=torch.float64)
    inner = across * (across * points).sum(1, keepdim=True).sign()
    if sizes is not None:
        norms = torch.tensor(sizes, dtype=torch.float64) / torch.linalg.vector_norm(inner, dim=1)
        inner = inner * norms.unsqueeze(1)
    seen = inner @ points.T
    behind = [float(seen[i, i - 1]) for i in range(3)]
    if not bool((seen.diagonal() > 0).all()) or max(behind) >= 0:
        raise InvalidSetting(
            f"swapped_ends: the origin lies outside the triangle {points.tolist()}: shift the points around it"
        )
    outer = (parts.targets / seen.diagonal().unsqueeze(1)).T
    order = list(units)
    pairs = [(inner, outer), (inner[order], outer[:, order])]
    first, last = (torch.cat([w.flatten(), beta.flatten()]) for w, beta in pairs)
    return first, last
