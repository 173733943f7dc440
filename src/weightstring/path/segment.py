"""Segments between two models: equations (1) and (2) of Section II.A."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import groupby
from typing import Protocol, cast, runtime_checkable

import torch
from jaxtyping import Float64
from torch import Tensor

from weightstring.arrays import Positions, Theta, Thetas, Values, distance, together

Height = Callable[[Thetas], Values]


ROW_BYTES = 1 << 24
"""Memory for the interpolated models that are measured in one call."""
MAX_ROWS = 512
"""Models measured in one call: larger batches gain nothing and are lost when a search is stopped."""
ALONG = 8
"""The least models of a segment that are measured together where they share something."""


@runtime_checkable
class SegmentHeight(Protocol):
    """A height that may know a cheaper way to measure the models of one segment together."""

    def __call__(self, thetas: Thetas) -> Values:
        """Heights of B models."""

    @property
    def shares_along(self) -> bool:
        """Whether it does."""

    @property
    def segments_at_once(self) -> int:
        """Of how many segments in one call."""

    def along(self, stretches: Sequence[Places]) -> Values:
        """Heights at positions of segments, one after the other."""


@dataclass(frozen=True)
class Segment:
    """The straight segment between two models, Θ(θ1, θ2, t) = (1 − t) θ1 + t θ2 (1).

    Args:
        a: θ1 (P,), at t = 0.
        b: θ2 (P,), at t = 1.

    >>> Segment(torch.zeros(2), torch.tensor([2.0, 4.0])).at(torch.tensor([0.5], dtype=torch.float64))
    tensor([[1., 2.]])
    """

    a: Theta
    b: Theta

    def at(self, ts: Positions) -> Thetas:
        """The interpolated models (T, P) at positions ``ts``; t = 0 and t = 1 are the ends, bit for bit."""
        return torch.lerp(self.a, self.b, ts.to(self.a).unsqueeze(1))

    def point(self, t: float) -> Theta:
        """The interpolated model (P,) at one position."""
        return self.at(_as_tensor([t]))[0]

    @cached_property
    def length(self) -> float:
        """Euclidean length over all parameters, summed in float64."""
        return distance(self.a, self.b)


Places = tuple[Segment, Float64[Tensor, " _"]]
"""Positions on a segment, of which each may have its own number."""


def measure_points(
    height: Height, points: Sequence[tuple[Segment, float]], on_chunk: Callable[[], None] = lambda: None
) -> list[float]:
    """Heights at points (segment, t) of any number of segments, in memory-bounded batches.

    Args:
        height: (B, P) → (B,).
        points: where to measure.
        on_chunk: called after every batch; it may raise.
    """
    if getattr(height, "shares_along", False):  # isinstance of a protocol takes far longer
        return _measure_along(cast(SegmentHeight, height), points, on_chunk)
    heights: list[float] = []
    for chunk in _chunks(points):
        heights.extend(height(together([segment.at(ts) for segment, ts in _by_segment(chunk)])).tolist())
        on_chunk()
    return heights


def _measure_along(
    height: SegmentHeight, points: Sequence[tuple[Segment, float]], on_chunk: Callable[[], None]
) -> list[float]:
    """The same, as many segments at once as gains something."""
    heights: list[float] = []
    at_once = max(ALONG, rows_at_once(points[0][0].a)) if points else 1
    for start in range(0, len(points), at_once):
        stretches = list(_by_segment(points[start : start + at_once]))
        for first in range(0, len(stretches), height.segments_at_once):
            heights.extend(height.along(stretches[first : first + height.segments_at_once]).tolist())
            on_chunk()
    return heights


def _by_segment(points: Sequence[tuple[Segment, float]]) -> Iterator[tuple[Segment, Positions]]:
    """Consecutive points of one segment."""
    for _, group in groupby(points, key=lambda point: id(point[0])):
        segments, ts = zip(*group, strict=True)
        yield segments[0], _as_tensor(ts)


def _as_tensor(ts: Sequence[float]) -> Positions:
    return torch.tensor(ts, dtype=torch.float64)


def measure_models(height: Height, thetas: Sequence[Theta]) -> list[float]:
    """Heights of any number of models, in memory-bounded batches."""
    heights: list[float] = []
    rows = rows_at_once(thetas[0]) if thetas else 1
    for start in range(0, len(thetas), rows):
        heights.extend(height(together([theta[None] for theta in thetas[start : start + rows]])).tolist())
    return heights


def rows_at_once(theta: Theta) -> int:
    """How many models like ``theta`` are measured in one call.

    >>> rows_at_once(torch.zeros(10)), rows_at_once(torch.zeros(1 << 24))
    (512, 1)
    """
    return max(1, min(MAX_ROWS, ROW_BYTES // (theta.numel() * theta.element_size())))


def _chunks(points: Sequence[tuple[Segment, float]]) -> list[Sequence[tuple[Segment, float]]]:
    if not points:
        return []
    rows = rows_at_once(points[0][0].a)
    return [points[i : i + rows] for i in range(0, len(points), rows)]


def grid(intervals: int) -> list[float]:
    """The positions 0, 1/n, …, 1, ends included.

    >>> grid(4)
    [0.0, 0.25, 0.5, 0.75, 1.0]
    """
    return [i / intervals for i in range(intervals + 1)]


ROUNDING = 64
"""Units in the last place by which a mean of losses may differ when a model is computed in other company."""


def rounding(dtype: torch.dtype) -> float:
    """The share by which two measurements of one model may differ, in which batch sizes and kernels differ.

    >>> rounding(torch.float64) < 1e-13 < rounding(torch.float32) < 1e-5 < rounding(torch.bfloat16) < 0.02
    True
    """
    eps = torch.finfo(dtype).eps
    return min(ROUNDING * eps, max(1e-5, 2 * eps))


def clearly_over(value: float, threshold: float, dtype: torch.dtype) -> bool:
    """Whether a value measured in other company than the search's is over the threshold by more than rounding.

    >>> clearly_over(0.1 + 1e-8, 0.1, torch.float32), clearly_over(0.11, 0.1, torch.float32)
    (False, True)
    """
    return not no_worse(value, threshold + rounding(dtype) * abs(threshold))


def no_worse(value: float, threshold: float) -> bool:
    """Whether a height is under the threshold: ≤, in the loss's own arithmetic, and finite.

    >>> no_worse(0.1, 0.1), no_worse(math.inf, math.inf)
    (True, False)
    """
    return math.isfinite(value) and value <= threshold
