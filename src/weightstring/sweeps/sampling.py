"""The loss on a finite evaluation set is an estimate E(L, χ): how far its maximum on a string could be otherwise.

The evaluation examples are a sample χ. Drawn anew, with replacement, each draw gives every model of a string another
loss and the string another maximum; the quantiles of these are the interval (percentile bootstrap).
"""

from __future__ import annotations

import torch
from jaxtyping import Float64
from torch import Tensor

from weightstring.arrays import Thetas
from weightstring.path import WeightString
from weightstring.problem import ModuleProblem
from weightstring.randomness import generator
from weightstring.sweeps.statistics import LEVEL, Interval

POINTS = 8
"""Highest sampled models of a string that may be its maximum in another draw."""
DRAWS = 1000


def maximum_interval(string: WeightString, quantity: str = "loss", seed: int = 0, level: float = LEVEL) -> Interval:
    """The largest sampled value on a string, and its bootstrap interval over the evaluation examples.

    Args:
        string: of a :class:`ModuleProblem`.
        quantity: a mean over examples of the evaluation set.
        seed: of the draws.
        level: of the interval.
    """
    problem = string.problem
    assert isinstance(problem, ModuleProblem)
    curve = string.curve
    values = torch.tensor(curve.values[quantity], dtype=torch.float64)
    highest = values.nan_to_num(nan=torch.inf).topk(min(POINTS, len(values))).indices.tolist()
    segments = string.segments
    thetas = torch.stack([segments[curve.segment[i]].point(curve.t[i]) for i in highest])
    losses = example_losses(problem, thetas, quantity)
    draw = generator(seed, "evaluation examples")
    count = losses.shape[1]
    maxima = []
    for _ in range(DRAWS):
        rows = torch.randint(count, (count,), generator=draw)
        maxima.append(losses[:, rows].mean(1).max())
    low, high = torch.stack(maxima).quantile(torch.tensor([(1 - level) / 2, (1 + level) / 2], dtype=torch.float64))
    return Interval(float(values.max()), float(low), float(high))


def example_losses(problem: ModuleProblem, thetas: Thetas, quantity: str = "loss") -> Float64[Tensor, "B N"]:
    """The quantity of each model (B, P) on each of the N evaluation examples by itself."""
    return torch.stack([problem.measure_each(theta, quantity) for theta in thetas])
