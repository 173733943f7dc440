"""Pooling: the largest of a window as a tree of pairs, the average as a linear map."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from itertools import product
from typing import Any

import torch
from torch import Tensor

from weightstring.proof.enclose.enclosure import Enclosure, per_interval
from weightstring.proof.enclose.piecewise import larger
from weightstring.proof.enclose.rounding import gamma


def max_pool(
    x: Enclosure,
    window: Sequence[int],
    stride: Sequence[int],
    padding: Sequence[int],
    dilation: Sequence[int],
    counts: Sequence[int],
) -> Enclosure:
    """The largest entry of each window over the last axes; ``counts``: windows along each of them."""
    axes = len(window)
    needed = [(n - 1) * s + (w - 1) * d + 1 for n, s, w, d in zip(counts, stride, window, dilation, strict=True)]
    pads: list[int] = []
    for axis in reversed(range(axes)):
        behind = needed[axis] - padding[axis] - x.shape[axis - axes]
        pads += [padding[axis], max(0, behind)]
    if any(pads):
        # Lower than everything real, of which every window holds some.
        floor = -2 * x.size
        nodes = tuple(_padded(node, pads, floor) for node in x.nodes)
        x = Enclosure(nodes, torch.nn.functional.pad(x.radius, pads), 2 * x.size)
    entries = []
    for offset in product(*(range(w) for w in window)):
        starts = [o * d for o, d in zip(offset, dilation, strict=True)]
        spans = zip(starts, counts, stride, strict=True)
        cut = (..., *(slice(start, start + (n - 1) * s + 1, s) for start, n, s in spans))
        entries.append(_cut(x, cut))
    while len(entries) > 1:
        pairs = [larger(one, other) for one, other in zip(entries[::2], entries[1::2], strict=False)]
        entries = pairs + entries[len(pairs) * 2 :]
    return entries[0]


def holds_padding_alone(length: int, window: int, stride: int, padding: int, dilation: int, count: int) -> bool:
    """Whether one of ``count`` windows along an axis has no entry of the input in it.

    >>> holds_padding_alone(2, window=2, stride=1, padding=1, dilation=3, count=1)
    True
    """
    starts = (window_at * stride - padding for window_at in range(count))
    return any(not any(0 <= start + k * dilation < length for k in range(window)) for start in starts)


def _cut(x: Enclosure, cut: tuple[Any, ...]) -> Enclosure:
    return x.each(lambda values: values[cut])


def _padded(values: Tensor, pads: list[int], floor: Tensor) -> Tensor:
    inside = torch.nn.functional.pad(torch.ones_like(values[:1, :1], dtype=torch.bool), pads)
    return torch.where(inside, torch.nn.functional.pad(values, pads), per_interval(floor, values))


def average(
    x: Enclosure, pool: Callable[[Tensor], Tensor], terms: int, growth: float = 1.0, heaviest: float = math.inf
) -> Enclosure:
    """A mean of at most ``terms`` entries as a function of (I · n, ...), or at most ``growth`` times their mean.

    Args:
        x: what is averaged, over the axes after the third.
        pool: how.
        terms: entries of a window.
        growth: no less than the sum of the weights of any window.
        heaviest: no less than the sum of an entry's weights in all windows; ∞: nothing is known.

    As a matrix with these row and column sums it makes nothing longer than by the root of their product.
    """

    def apply(values: Tensor) -> Tensor:
        mean = pool(values.flatten(0, 1))
        return mean.view(*values.shape[:2], *mean.shape[1:])

    nodes = tuple(apply(node) for node in x.nodes)
    size, norm = growth * x.size, None
    if x.norm is not None and heaviest < math.inf:
        axes = tuple(sorted({*x.axes, *range(-1, 2 - len(x.shape), -1)}, reverse=True))
        norm = x.over(axes) * (math.sqrt(growth * heaviest) * (1 + gamma(terms)))
    return Enclosure(nodes, apply(x.radius), size, norm).widened(gamma(terms) * size)
