"""Groups of numbers whose errors have a Euclidean length: a token's, an image's, a head's rows.

A length L of groups is kept like the numbers themselves, with length 1 along the axes that a group lies over. Of a part
of a group L holds as well, and of several groups together the root of the sum of squares.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from weightstring.proof.enclose.rounding import gamma

UNSEEN = 2.0**-500
"""Numbers whose squares may be lost: what a length is raised by, for each root of their count."""

Axes = tuple[int, ...]


def axes_of(norm: Tensor, like: Tensor) -> Axes:
    """The axes, counted from the last, that groups lie over; the last at least."""
    return tuple(k for k in range(-1, -norm.ndim - 1, -1) if norm.shape[k] == 1 and like.shape[k] != 1) or (-1,)


def length(values: Tensor, axes: Axes) -> Tensor:
    """No less than the root of the sum of squares over axes, which are kept.

    >>> bool(length(torch.tensor([[3.0, 4.0]], dtype=torch.float64), (-1,)) >= 5)
    True
    """
    count = math.prod(values.shape[axis] for axis in axes)
    found: Tensor = torch.linalg.vector_norm(values, dim=axes, keepdim=True)
    return found * (1 + gamma(count)) + math.sqrt(count) * UNSEEN


def regrouped(norm: Tensor, like: Tensor, axes: Axes) -> Tensor:
    """L of groups over other axes than those at hand: within one, or over several."""
    more = tuple(axis for axis in axes if norm.shape[axis] != 1)
    return length(norm, more) if more else norm


def reshaped(norm: Tensor, old: Sequence[int], new: Sequence[int]) -> Tensor | None:
    """L after numbers of shape ``old`` are told to be of shape ``new``; None: groups do not survive it."""
    kept, sizes = list(norm.shape), list[int]()
    low, ahead = 0, 0
    while low < len(old) or ahead < len(new):
        end, last = low, ahead
        mine = its = 1
        while end == low or mine != its:  # the fewest axes of both that hold equally many numbers
            if mine <= its and end < len(old):
                mine, end = mine * old[end], end + 1
            elif last < len(new):
                its, last = its * new[last], last + 1
            elif end < len(old):
                mine, end = mine * old[end], end + 1
            else:
                return None
            if end > low and last > ahead and mine == its:
                break
            if low == len(old) and last == len(new):
                break
        inside = [axis for axis in range(low, end) if old[axis] != 1]
        whole = [axis for axis in inside if kept[axis] == 1]
        if not whole:
            sizes += new[ahead:last]
        else:
            for axis in range(low, end):
                if kept[axis] != 1:
                    norm, kept[axis] = length(norm, (axis - len(old),)), 1
            sizes += [1] * (last - ahead)
        low, ahead = end, last
    return norm.reshape(sizes)
