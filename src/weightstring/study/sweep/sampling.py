"""The loss on a finite evaluation set is an estimate E(L, χ): how far its maximum on a string could be otherwise.

The evaluation examples are a sample χ. Drawn anew, with replacement, each draw gives every model of a string another
loss and the string another maximum; the quantiles of these are the interval (percentile bootstrap). That takes a mean
over examples, or a ratio of two sums over them (class weights, ignored tokens), of which each draw has both anew: the
root of a mean has no interval here.
"""

from __future__ import annotations

import math
from functools import lru_cache

import torch
from jaxtyping import Float64
from torch import Tensor

from weightstring.path import WeightString
from weightstring.problem import PerExample
from weightstring.randomness import generator
from weightstring.study.sweep.statistics import LEVEL, Interval

POINTS = 8
"""Highest sampled models of a string that may be its maximum in another draw."""
DRAWS = 1000
AT_ONCE = 250
"""Draws in one product."""
MEAN = 1e-3
"""How far, relatively, a mean of examples by themselves may be from the value of all, as rounding goes."""


def maximum_interval(string: WeightString, quantity: str = "loss", seed: int = 0, level: float = LEVEL) -> Interval:
    """The largest sampled value on a string, and its bootstrap interval over the examples it is measured on.

    The interval is NaN where the quantity does not come from what each example adds.

    Args:
        string: of a problem that tells what each example adds.
        quantity: what is measured.
        seed: of the draws.
        level: of the interval.
    """
    problem = string.problem
    curve = string.curve
    values = torch.tensor(curve.values[quantity], dtype=torch.float64)
    highest = values.nan_to_num(nan=torch.inf).topk(min(POINTS, len(values))).indices.tolist()
    segments = string.segments
    thetas = torch.stack([segments[curve.segment[i]].point(curve.t[i]) for i in highest])
    if not isinstance(problem, PerExample) or not problem.adds(quantity):
        return Interval(float(values.max()), math.nan, math.nan)
    sums, weights = (
        torch.stack(part) for part in zip(*(problem.shares(each, quantity) for each in thetas), strict=True)
    )
    means = sums.sum(1) / weights.sum(1)
    if not torch.allclose(means, values[highest], rtol=MEAN, atol=MEAN * float(values.abs().max())):
        return Interval(float(values.max()), math.nan, math.nan)
    maxima = torch.cat([((sums @ drawn.T) / (weights @ drawn.T)).amax(0) for drawn in _draws(sums.shape[1], seed)])
    low, high = maxima.quantile(torch.tensor([(1 - level) / 2, (1 + level) / 2], dtype=torch.float64))
    return Interval(float(values.max()), float(low), float(high))


@lru_cache(maxsize=1)
def _draws(count: int, seed: int) -> tuple[Float64[Tensor, "draws N"], ...]:
    """The weight of each example in each draw; the same for all strings of a sweep."""
    draw = generator(seed, "evaluation examples")
    parts = []
    for start in range(0, DRAWS, AT_ONCE):
        rows = torch.randint(count, (min(AT_ONCE, DRAWS - start), count), generator=draw)
        ones = torch.full(rows.shape, 1 / count, dtype=torch.float64)
        parts.append(torch.zeros(rows.shape, dtype=torch.float64).scatter_add_(1, rows, ones))
    return tuple(parts)
