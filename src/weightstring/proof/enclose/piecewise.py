r"""Functions that are linear in pieces: ReLU and its kin, and the larger of two.

ReLU of p(σ) ± E lies, for a line p, between ReLU(p − E) and ReLU(p + E). The upper one is convex, so that its chord
bounds it. The lower one is at least λ(p − E) for every λ ∈ [0, 1]; the λ that gives this line the chord's slope makes
the two parallel, and the polynomial is the line halfway between them. With p + E between −n and m, λ = m⁺ / (m⁺ + n⁺),
and half the distance of the two is λ(E + n⁺ / 2).
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from weightstring.proof.enclose.enclosure import Enclosure, per_interval
from weightstring.proof.enclose.rounding import ELEMENTWISE

TINY = 2.0**-1015
"""Far below what rounding is allowed for at least, above what underflows."""


def relu(x: Enclosure) -> Enclosure:
    """max(0, x)."""
    band = _relu_of_line(x)
    if x.degree == 1:
        return band
    # Where the sign is fixed the parabola stays as it is, or vanishes.
    low = torch.minimum(torch.minimum(x.nodes[0], x.nodes[2]), x.nodes[1]) - x.top.abs() - x.radius
    positive = low > 0
    nodes = tuple(torch.where(positive, mine, its) for mine, its in zip(x.nodes, band.nodes, strict=True))
    return Enclosure(nodes, torch.where(positive, x.radius, band.radius), band.size).widened(ELEMENTWISE * band.size)


def _relu_of_line(x: Enclosure) -> Enclosure:
    minus, plus, radius = x.line()
    ends = (minus + radius, plus + radius)  # of p + E
    over, under = torch.maximum(*ends).clamp_(min=0), torch.minimum(*ends).clamp_(max=-TINY)
    share = over / (over - under)  # λ
    # Half of what lies between the chord and λ(p − E), or, where that is nearer, 0's line of the chord's slope.
    half = torch.minimum(torch.sub(radius, under, alpha=0.5).mul_(share), over / 2)
    ends = (ends[0].clamp(min=0).sub_(half), ends[1].clamp(min=0).sub_(half))
    nodes = ends if x.degree == 1 else (ends[0], (ends[0] + ends[1]) / 2, ends[1])
    size = 2 * x.size
    half += per_interval(ELEMENTWISE * size, half)
    return Enclosure(nodes, half, size)


def unsteepened(function: Callable[[Enclosure], Enclosure], x: Enclosure) -> Enclosure:
    """A function of each number whose slope is nowhere over 1, of what has a length L of errors: L stays what it is."""
    return function(x) if x.norm is None else function(x.centre).spread(x.radius, x.norm)


def rectified(x: Enclosure) -> Enclosure:
    """max(0, x), where errors may have a length; those of numbers that are surely not positive vanish."""
    if x.norm is None:
        return relu(x)
    _, high = x.range()
    return relu(x.centre).spread(x.radius.where(~(high <= 0), 0.0), x.norm)


def magnitude(x: Enclosure) -> Enclosure:
    """|x|."""
    return unsteepened(lambda z: larger(z, z.scaled(-1.0)), x)


def leaky_relu(x: Enclosure, slope: float = 0.01) -> Enclosure:
    """slope·x + (1 − slope)·max(0, x), for a slope of at most 1."""
    return combined(relu(x), 1 - slope, x, slope)


def combined(one: Enclosure, factor: float, other: Enclosure, weight: float) -> Enclosure:
    """factor·one + weight·other."""
    return one.scaled(factor) + other.scaled(weight)


def hardtanh(x: Enclosure, low: float = -1.0, high: float = 1.0) -> Enclosure:
    """Clip x to [low, high]: low + ReLU(x − low) − ReLU(x − high)."""
    raised = relu(x.shifted(-low))
    cut = relu(raised.shifted(low - high))
    clipped = (raised + cut.scaled(-1.0)).shifted(low)
    minus, plus, radius = x.line()
    above = torch.minimum(minus, plus) - radius > high + ELEMENTWISE * float(x.size.max())
    nodes = tuple(torch.where(above, high, node) for node in clipped.nodes)
    return Enclosure(nodes, torch.where(above, 0.0, clipped.radius), clipped.size)


def larger_of(x: Enclosure, y: Enclosure) -> Enclosure:
    """max(x, y), entry by entry; where errors have a length L, what they add to it is at most as long as both."""
    if x.norm is None and y.norm is None:
        return larger(x, y)
    found = larger(x.centre, y.centre)
    axes, shape = (x if x.norm is not None else y).axes, found.shape
    lengths = (part.over(axes, shape) for part in (x, y))
    return found.spread(torch.maximum(x.radius, y.radius), torch.hypot(*lengths) * (1 + ELEMENTWISE))


def larger(x: Enclosure, y: Enclosure) -> Enclosure:
    """max(x, y), entry by entry, as a line: the chord of the larger upper ends, and a lower line parallel to it."""
    first, second = x.line(), y.line()
    upper = [torch.maximum(first[k] + first[2], second[k] + second[2]) for k in (0, 1)]
    slope = (upper[1] - upper[0]) / 2
    middles, tilts = [], []
    for minus, plus, radius in (first, second):
        middles.append((minus + plus) / 2 - radius)
        tilts.append((plus - minus) / 2 - slope)
    # Relative to the chord's slope, max(x, y) is at least every mixture of the two lower lines; the best is one of them
    # or that which is level.
    share = level_share(*tilts)
    lower = share * middles[0] + (1 - share) * middles[1]
    left_over = (share * tilts[0] + (1 - share) * tilts[1]).abs()
    lower = lower - left_over
    for middle, tilt in zip(middles, tilts, strict=True):
        lower = torch.maximum(lower, middle - tilt.abs())
    half = ((upper[0] + upper[1]) / 2 - lower) / 2
    ends = (upper[0] - half, upper[1] - half)
    nodes = ends if x.degree == 1 else (ends[0], (ends[0] + ends[1]) / 2, ends[1])
    size = 4 * torch.maximum(x.size, y.size)
    return Enclosure(nodes, half, size).widened(ELEMENTWISE * size)


def level_share(one: Tensor, other: Tensor) -> Tensor:
    """λ ∈ [0, 1] for which λ·one + (1 − λ)·other is nearest to 0."""
    return (other / (other - one)).nan_to_num_(nan=0.5).clamp_(0, 1)
