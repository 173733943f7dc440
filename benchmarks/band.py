"""A rival as one writes it from its paper: AutoNEB, the nudged elastic band that inserts pivots.

F. Draxler et al., "Essentially No Barriers in Neural Network Energy Landscape", 2018, arXiv:1803.00885: pivots begin on
the straight line; each takes SGD steps with momentum .9 along its gradient less what is along the band, whose tangent
points to the higher neighbour; springs of infinite stiffness keep them evenly spaced. After each cycle a pivot is
inserted where the curve between two of them is higher than they are by a fifth of the band's whole rise.
"""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor

from benchmarks.curves import MOMENTUM, chain, straight
from benchmarks.setting import GRID, Setting

PIVOTS, MOST_PIVOTS, INSERTIONS = 3, 12, 4
RISE = 0.2


def spaced(pivots: Tensor) -> Tensor:
    """Points of the same polygon, evenly spaced along it."""
    steps = (pivots[1:] - pivots[:-1]).norm(dim=1)
    along = torch.cat([steps.new_zeros(1), steps.cumsum(0)])
    wanted = torch.linspace(0, float(along[-1]), len(pivots))[1:-1]
    i = torch.searchsorted(along, wanted).clamp(1, len(steps)) - 1
    return torch.cat(
        [pivots[:1], torch.lerp(pivots[i], pivots[i + 1], ((wanted - along[i]) / steps[i])[:, None]), pivots[-1:]]
    )


def inserted(pivots: Tensor, heights: list[float]) -> list[float]:
    """Positions, in pivots from the first end, where the grid is much higher than the pivots beside it."""
    segments, found = len(pivots) - 1, []
    ts = [i / (GRID - 1) * segments for i in range(GRID)]

    def height(t: float) -> float:
        return heights[round(t / segments * (GRID - 1))]

    for k in range(segments):
        inner = [(height(t) - (height(k) + (t - k) * (height(k + 1) - height(k))), t) for t in ts if k < t < k + 1]
        if inner and max(inner)[0] > RISE * (max(heights) - min(heights)):
            found.append(max(inner)[1])
    return found


def auto_neb(
    setting: Setting, ends: tuple[Tensor, Tensor], threshold: float, lr: float, every: int, most: int
) -> Tensor | None:
    """Pivots (K, P) of a band whose grid is under the threshold, with a look each ``every`` steps."""
    pivots = straight(*ends, PIVOTS + 2)
    velocity = torch.zeros_like(pivots)
    cycle = 0
    while setting.gradients < most:
        for _ in range(every):
            pivots, velocity = stepped(setting, pivots, velocity, lr)
        on_band = partial(on, pivots)
        if setting.under(on_band, threshold):
            return pivots
        cycle += 1
        if cycle <= INSERTIONS and len(pivots) < MOST_PIVOTS:
            places = [*map(float, range(len(pivots))), *inserted(pivots, setting.curve(on_band))]
            ts = [place / (len(pivots) - 1) for place in sorted(places)]
            pivots, velocity = (torch.stack([on(points, t) for t in ts]) for points in (pivots, velocity))
    return None


def on(points: Tensor, t: float) -> Tensor:
    """The polygon at t."""
    return chain(len(points))(t) @ points


def stepped(setting: Setting, pivots: Tensor, velocity: Tensor, lr: float) -> tuple[Tensor, Tensor]:
    """All pivots after a step across the band, evenly spaced again."""
    seen = [setting.gradient(pivot) for pivot in pivots[1:-1]]
    heights = [0.0, *(value for value, _ in seen), 0.0]
    velocity = velocity.clone()
    for k, (_, gradient) in enumerate(seen, 1):
        higher = k + 1 if heights[k + 1] > heights[k - 1] else k - 1
        tangent = (pivots[higher] - pivots[k]) / (pivots[higher] - pivots[k]).norm()
        velocity[k].mul_(MOMENTUM).add_(gradient - (gradient @ tangent) * tangent)
    return spaced(pivots - lr * velocity), velocity
