r"""Γ itself, Eq. (3), in few dimensions: on a grid, and by branch and bound with interval arithmetic.

On a grid, for up to 3 parameters: the least level at which points of the sublevel set join both ends. It is an
approximation, from above or below.

Branch and bound, for up to about 4: a box whose lower bound exceeds the level holds nothing of the sublevel set and is
dropped; one whose upper bound does not exceed it is whole; others are open, and split. A path under the level passes
from box to box through faces: where it crosses a corner, all boxes around the corner are kept. So

- no chain of kept boxes from A to B: disconnected, inside the root box, rigorously;
- a chain of whole boxes: connected, rigorously;
- otherwise undecided: the open boxes on the cheapest chains between the ends are split next.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from jaxtyping import Bool, Float64
from scipy.ndimage import label
from scipy.sparse import coo_array, csr_array
from scipy.sparse.csgraph import connected_components, dijkstra

from weightstring.arrays import Theta, Thetas, Values
from weightstring.errors import InvalidSetting
from weightstring.theory.boxes import FINEST, Boxes, Root
from weightstring.theory.intervals import Interval

Verdict = Literal["connected", "disconnected", "undecided"]


DETOUR = 1.3
"""Chains up to this factor more costly than the cheapest one are refined with it."""


@dataclass(frozen=True)
class Decision:
    """What branch and bound found out.

    Args:
        verdict: ``"disconnected"`` holds inside the root box; a path may lead round it outside.
        level: of the sublevel set.
        boxes: that were bounded.
        seconds: that it took.
    """

    verdict: Verdict
    level: float
    boxes: int
    seconds: float


def on_grid(loss: Callable[[Thetas], Values], a: Theta, b: Theta, low: Theta, high: Theta, points: int) -> float:
    """The lowest level at which grid points under it join the ends, neighbours along the axes.

    An approximation of Γ: a grid may step over a narrow wall, or miss a narrow gap.

    Args:
        loss: (B, P) → (B,).
        a: first end (P,), P ≤ 3; the nearest grid point stands for it, and its own loss counts.
        b: second end.
        low: lower corner (P,) of the box.
        high: upper corner.
        points: along each axis, at least 2.

    Raises:
        InvalidSetting: more than 3 parameters, an end outside the box, or fewer than two points.

    >>> from weightstring.problem.surfaces import TwoWells
    >>> wells = TwoWells(saddle=2.0)
    >>> corner = torch.tensor([3.0, 3.0], dtype=torch.float64)
    >>> abs(on_grid(wells.loss, *wells.ends, -corner, corner, points=201) - 2.0) < 0.02
    True
    """
    size = len(a)
    if not 1 <= size <= 3 or points < 2:
        raise InvalidSetting(
            f"a grid of {points} points over {size} parameters: give 1 to 3 parameters, 2 points or more"
        )
    _check_inside(a, b, low, high)
    axes = [torch.linspace(float(low[i]), float(high[i]), points, dtype=torch.float64) for i in range(size)]
    thetas = torch.cartesian_prod(*axes).view(-1, size)
    values = (
        torch.cat([loss(part.to(a)).double() for part in torch.split(thetas, 1 << 18)]).view((points,) * size).numpy()
    )
    places = [tuple(int((axis - float(x)).abs().argmin()) for axis, x in zip(axes, end, strict=True)) for end in (a, b)]
    ends = float(loss(torch.stack([a, b])).max())
    levels = np.unique(values)
    first, last = 0, len(levels) - 1
    while first < last:
        middle = (first + last) // 2
        component, _ = label(values <= levels[middle])
        components = [component[place] for place in places]
        if components[0] == components[1] != 0:
            last = middle
        else:
            first = middle + 1
    return max(ends, float(levels[first]))


def decide(
    bounds: Callable[[list[Interval]], Interval],
    a: Theta,
    b: Theta,
    level: float,
    low: Theta,
    high: Theta,
    *,
    max_boxes: int = 1_000_000,
    seconds: float = math.inf,
) -> Decision:
    """Whether a path inside a box joins two models on which the loss never exceeds a level: a proof either way.

    Args:
        bounds: the loss in interval arithmetic: P coordinates → bounds.
        a: first end (P,).
        b: second end.
        level: L0.
        low: lower corner (P,) of the root box.
        high: upper corner.
        max_boxes: how many boxes to bound.
        seconds: or how long to try.

    Raises:
        InvalidSetting: an end outside the root box, or corners that are no box.

    >>> def double_well(w: list[Interval]) -> Interval:
    ...     return (w[0].square() - 1.0).square()
    >>> ends = torch.tensor([[-1.0], [1.0]], dtype=torch.float64)
    >>> corners = torch.tensor([[-2.0], [2.0]], dtype=torch.float64)
    >>> [decide(double_well, *ends, level, *corners).verdict for level in (0.9, 1.1)]
    ['disconnected', 'connected']
    """
    _check_inside(a, b, low, high)
    started = time.perf_counter()
    root = Root(low.double().numpy(), high.double().numpy())
    boxes = Boxes.first(root, bounds, level)
    ends = a.double().numpy(), b.double().numpy()
    bounded = 1
    while True:
        verdict, split = _look(boxes, [root.holding(boxes, end) for end in ends])
        if verdict == "undecided" and split.any() and bounded < max_boxes and time.perf_counter() - started < seconds:
            bounded += 2 * int(split.sum())
            boxes = boxes.split(split, root, bounds, level)
            continue
        return Decision(verdict, level, bounded, time.perf_counter() - started)


def _look(boxes: Boxes, ends: list[Bool[np.ndarray, " B"]]) -> tuple[Verdict, Bool[np.ndarray, " B"]]:
    """What the kept boxes say, and which to split: the open ones on the cheapest chains between the ends."""
    first, last = ends
    count = len(boxes.whole)
    none = np.zeros(count, dtype=bool)
    if not first.any() or not last.any():
        return "disconnected", none  # An end itself lies over the level.
    side = (boxes.high - boxes.low).max(1) / 2.0**FINEST
    cost = np.where(boxes.whole, 0.0, side)
    # Entering a box costs its length. SciPy takes a stored 0 for no edge, so whole boxes cost next to nothing.
    free = 1e-12
    one, other = boxes.edges.T.astype(np.int32)  # which SciPy's graphs want
    rows, columns = np.concatenate([one, other]), np.concatenate([other, one])
    graph = coo_array((np.maximum(cost[columns], free), (rows, columns)), shape=(count, count)).tocsr()
    there, back = _distances(graph, first, cost), _distances(graph, last, cost)
    way = float((there + back - cost)[last].min())
    if not math.isfinite(way):
        return "disconnected", none
    # By whole boxes alone, not by a cost near 0: small open boxes cost next to nothing, too.
    between = boxes.whole[one] & boxes.whole[other]
    rooms = coo_array((np.ones(int(between.sum())), (one[between], other[between])), shape=(count, count))
    number = np.where(boxes.whole, connected_components(rooms, directed=False)[1], -1)
    if np.intersect1d(number[first & boxes.whole], number[last & boxes.whole]).size:
        return "connected", none
    splittable = ~boxes.whole & (boxes.high - boxes.low > 1).any(1)
    chains = there + back - cost
    through = (chains <= DETOUR * way + free * (count + 1)) & splittable
    cheapest = (chains <= way + free * (count + 1)) & splittable
    # The large ones first: what is small on such a chain tells nothing while another part of it is coarse.
    return "undecided", through & (side >= side[cheapest].max(initial=0.0) / 2)


def _distances(
    graph: csr_array, sources: Bool[np.ndarray, " B"], cost: Float64[np.ndarray, " B"]
) -> Float64[np.ndarray, " B"]:
    """The cost of the cheapest chain from any source to each box, both counted."""
    starts = np.flatnonzero(sources).astype(np.int32)
    distances = dijkstra(graph, directed=True, indices=starts)
    return np.asarray((distances + cost[starts, None]).min(0))


def without_outer_weights(
    features: Callable[[Thetas], Float64[torch.Tensor, "B N m"]], targets: Float64[torch.Tensor, "N c"]
) -> Callable[[Thetas], Values]:
    r"""The squared loss with the linear outer layer at its best, a function of the inner weights alone.

        φ(W) = min_β ‖H(W) β − Y‖² / N

    For fixed W the sublevel sets in β are convex, so a path of W under a level lifts to a path of (W, β) under any
    higher level: Γ of the network is max(L_A, L_B, Γ of φ), with fewer dimensions to search.

    Args:
        features: H: inner weights (B, p) → activations (B, N, m).
        targets: Y.

    >>> targets = torch.tensor([[1.0], [2.0]], dtype=torch.float64)
    >>> slope = without_outer_weights(lambda w: w.unsqueeze(1) * torch.tensor([[1.0], [2.0]]).double(), targets)
    >>> bool(slope(torch.tensor([[3.0]], dtype=torch.float64))[0] < 1e-20)
    True
    """

    def loss(thetas: Thetas) -> Values:
        hidden = features(thetas).double()
        basis, singular, _ = torch.linalg.svd(hidden, full_matrices=False)
        rank = singular > singular.amax(1, keepdim=True) * hidden.shape[1] * torch.finfo(torch.float64).eps
        fitted = basis * rank.unsqueeze(1)
        residual: torch.Tensor = targets - fitted @ (fitted.mT @ targets)
        return residual.square().sum((1, 2)) / len(targets)

    return loss


def _check_inside(a: Theta, b: Theta, low: Theta, high: Theta) -> None:
    if not (low.shape == high.shape == a.shape == b.shape and bool((low < high).all())):
        raise InvalidSetting(f"corners {low.tolist()} and {high.tolist()} span no box of {len(a)} parameters")
    if not bool((high.double() - low.double()).isfinite().all()):
        raise InvalidSetting(f"corners {low.tolist()} and {high.tolist()} are too far apart: give a finite box")
    for name, end in (("first", a), ("second", b)):
        if not bool(((low <= end) & (end <= high)).all()):
            raise InvalidSetting(f"the {name} end {end.tolist()} lies outside the box: enlarge it")
