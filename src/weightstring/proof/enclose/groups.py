"""Groups of numbers whose errors have a Euclidean length: a token's, an image's, a head's rows.

A length L of groups is kept like the numbers themselves, with length 1 along the axes that a group lies over. Of a part
of a group L holds as well, and of several groups together the root of the sum of squares.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import accumulate
from operator import mul

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


def reshaped(norm: Tensor, old: Sequence[int], new: Sequence[int]) -> Tensor:
    """L after numbers of shape ``old`` are told to be of shape ``new``.

    Axes of both fall into runs that hold equally many numbers. Where groups lie over an axis of a run that changes, all
    of the run is one group afterwards.

    >>> of_tokens = torch.ones(2, 3, 1, dtype=torch.float64)  # each of 4 numbers
    >>> [tuple(reshaped(of_tokens, (2, 3, 4), new).shape) for new in ((6, 4), (6, 2, 2), (2, 12))]
    [(6, 1), (6, 1, 1), (2, 1)]
    """
    ends, others = (list(accumulate(shape, mul)) for shape in (old, new))
    sizes, begin = list[int](), 0
    for end in sorted({*ends} & {*others}):
        before, after = ([axis for axis, at in enumerate(found) if begin < at <= end] for found in (ends, others))
        begin = end
        if all(norm.shape[axis] == old[axis] for axis in before):
            sizes += [new[axis] for axis in after]
        else:
            norm = length(norm, tuple(before))
            sizes += [1] * len(after)
    return norm.reshape(sizes)
