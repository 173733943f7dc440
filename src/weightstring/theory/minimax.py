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
from jaxtyping import Bool, Float64, Int64
from scipy.ndimage import label
from scipy.sparse import coo_array, csr_array
from scipy.sparse.csgraph import connected_components, dijkstra

from weightstring.arrays import Theta, Thetas, Values
from weightstring.errors import InvalidSetting
from weightstring.theory.intervals import Interval, coordinates

Verdict = Literal["connected", "disconnected", "undecided"]

FINEST = 40
"""Halvings of a side of the root box, at most: corners stay whole numbers on this lattice."""

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
        found = [component[place] for place in places]
        if found[0] == found[1] != 0:
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
    root = _Root(low.double().numpy(), high.double().numpy())
    boxes = _Boxes.first(root, bounds, level)
    ends = a.double().numpy(), b.double().numpy()
    bounded = 1
    while True:
        verdict, split = _look(boxes, [root.holding(boxes, end) for end in ends])
        if verdict == "undecided" and split.any() and bounded < max_boxes and time.perf_counter() - started < seconds:
            bounded += 2 * int(split.sum())
            boxes = boxes.split(split, root, bounds, level)
            continue
        return Decision(verdict, level, bounded, time.perf_counter() - started)


@dataclass(frozen=True, eq=False)
class _Root:
    """The root box, and the lattice of 2^FINEST steps along each of its sides."""

    low: Float64[np.ndarray, " P"]
    high: Float64[np.ndarray, " P"]

    def coordinates(self, low: Int64[np.ndarray, "B P"], high: Int64[np.ndarray, "B P"]) -> list[Interval]:
        """Boxes of the lattice. A corner is computed in one way only: neighbours share it to the last bit."""
        return coordinates(self.place(low), self.place(high))

    def place(self, at: Int64[np.ndarray, "B P"]) -> Float64[np.ndarray, "B P"]:
        """Corners of the lattice in units of θ; those of the root box exactly."""
        share = at / 2.0**FINEST
        return np.where(at == 1 << FINEST, self.high, self.low + share * (self.high - self.low))

    def holding(self, boxes: _Boxes, theta: Float64[np.ndarray, " P"]) -> Bool[np.ndarray, " B"]:
        """Which boxes a model lies in; on a face in both."""
        inside = (self.place(boxes.low) <= theta) & (theta <= self.place(boxes.high))
        return np.asarray(inside.all(1))


@dataclass(frozen=True, eq=False)
class _Boxes:
    """The boxes that are kept, and which of them share a face.

    Args:
        low, high: corners on the lattice.
        whole: whether the loss is nowhere over the level.
        edges: pairs of neighbours.
    """

    low: Int64[np.ndarray, "B P"]
    high: Int64[np.ndarray, "B P"]
    whole: Bool[np.ndarray, " B"]
    edges: Int64[np.ndarray, "E 2"]

    @classmethod
    def first(cls, root: _Root, bounds: Callable[[list[Interval]], Interval], level: float) -> _Boxes:
        """The root box alone."""
        low = np.zeros((1, len(root.low)), dtype=np.int64)
        alone = cls(low, low + (1 << FINEST), np.zeros(1, dtype=bool), np.zeros((0, 2), dtype=np.int64))
        return alone.kept(root, bounds, level, np.ones(1, dtype=bool))

    def kept(
        self,
        root: _Root,
        bounds: Callable[[list[Interval]], Interval],
        level: float,
        new: Bool[np.ndarray, " B"],
    ) -> _Boxes:
        """Without the new boxes whose lower bound exceeds the level; those whose upper bound does not are whole."""
        found = bounds(root.coordinates(self.low[new], self.high[new]))
        keep, whole = np.ones(len(new), dtype=bool), self.whole.copy()
        # Not "low <= level": a bound that is not a number says nothing, and keeps its box.
        keep[new] = ~(found.low > level)
        whole[new] = found.high <= level
        number = np.cumsum(keep) - 1
        edges = self.edges[keep[self.edges].all(1)]
        return _Boxes(self.low[keep], self.high[keep], whole[keep], number[edges])

    def split(
        self,
        which: Bool[np.ndarray, " B"],
        root: _Root,
        bounds: Callable[[list[Interval]], Interval],
        level: float,
    ) -> _Boxes:
        """Some halved, each across the axis that matters most to its bounds."""
        # An old box keeps its number, or its first half takes it; second halves are put behind.
        count, halved = len(which), np.flatnonzero(which)
        axis = _axis(self.low[halved], self.high[halved], root, bounds)
        rows = np.arange(len(halved))
        middle = (self.low[halved, axis] + self.high[halved, axis]) // 2
        low, high = np.concatenate([self.low, self.low[halved]]), np.concatenate([self.high, self.high[halved]])
        high[halved, axis] = middle
        low[count + rows, axis] = middle
        second = np.full(count, -1)
        second[halved] = count + rows
        touched = which[self.edges].any(1)
        edges = self.edges[touched]
        others = second[edges]
        candidates = np.concatenate(
            [
                edges,
                np.stack([others[:, 0], edges[:, 1]], 1),
                np.stack([edges[:, 0], others[:, 1]], 1),
                others,
            ]
        )
        candidates = candidates[(candidates >= 0).all(1)]
        siblings = np.stack([halved, count + rows], 1)
        meeting = candidates[_share_a_face(low, high, candidates)]
        new = np.concatenate([which, np.ones(len(halved), dtype=bool)])
        whole = np.concatenate([self.whole, np.zeros(len(halved), dtype=bool)])
        edges = np.concatenate([self.edges[~touched], meeting, siblings])
        return _Boxes(low, high, whole, edges).kept(root, bounds, level, new)


def _axis(
    low: Int64[np.ndarray, "B P"],
    high: Int64[np.ndarray, "B P"],
    root: _Root,
    bounds: Callable[[list[Interval]], Interval],
) -> Int64[np.ndarray, " B"]:
    """The axis without whose width the bounds would be closest; of equal ones that of the longest side."""
    width = high - low
    gaps = []
    for axis in range(low.shape[1]):
        flat_low, flat_high = low.copy(), high.copy()
        flat_low[:, axis] = flat_high[:, axis] = (low[:, axis] + high[:, axis]) // 2
        found = bounds(root.coordinates(flat_low, flat_high))
        gaps.append(np.where(width[:, axis] > 1, found.high - found.low, np.inf))
    score = np.nan_to_num(np.stack(gaps, 1), nan=np.inf)
    least = score.min(1, keepdims=True)
    return np.asarray(np.where(score <= least * (1 + 1e-9), width, -1).argmax(1))


def _share_a_face(
    low: Int64[np.ndarray, "B P"], high: Int64[np.ndarray, "B P"], pairs: Int64[np.ndarray, "E 2"]
) -> Bool[np.ndarray, " E"]:
    one, other = pairs.T
    overlap = np.minimum(high[one], high[other]) - np.maximum(low[one], low[other])
    return np.asarray((overlap >= 0).all(1) & ((overlap == 0).sum(1) == 1))


def _look(boxes: _Boxes, ends: list[Bool[np.ndarray, " B"]]) -> tuple[Verdict, Bool[np.ndarray, " B"]]:
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
    one, other = boxes.edges.T
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
    starts = np.flatnonzero(sources)
    found = dijkstra(graph, directed=True, indices=starts)
    return np.asarray((found + cost[starts, None]).min(0))


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
