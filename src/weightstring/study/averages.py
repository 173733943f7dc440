"""Averages of models, and what is measured of many."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch.nn.functional import cosine_similarity

from weightstring.arrays import Theta, together
from weightstring.errors import InvalidSetting
from weightstring.path.segment import rows_at_once
from weightstring.problem.flat import Layout
from weightstring.protocol import LossProblem


def averaged(models: Sequence[Theta], shares: Sequence[float] | None = None) -> Theta:
    """Their weighted mean (P,), summed in float64.

    >>> averaged([torch.tensor([1.0]), torch.tensor([3.0])])
    tensor([2.])
    """
    given = [1 / len(models)] * len(models) if shares is None else shares
    total = torch.zeros_like(models[0], dtype=torch.float64)
    for model, share in zip(models, given, strict=True):
        total.add_(model, alpha=share)
    return total.to(models[0].dtype)


PARALLEL = 0.9995
"""Cosine, without its sign, over which an arc is taken for a line, as mergekit does."""


def on_arcs(layout: Layout, a: Theta, b: Theta) -> Theta:
    """Half way on the arc between two models, parameter by parameter: (A + B) / (2 cos(φ/2)), φ the angle between.

    K. Shoemake 1985 (slerp), as in github.com/arcee-ai/mergekit, mergekit/merge_methods/slerp.py, t = ½: lengths are
    kept, which a mean shortens; where two parameters are parallel or opposite it is their mean.

    >>> layout = Layout.of(torch.nn.Linear(2, 1, bias=False))
    >>> on_arcs(layout, torch.tensor([2.0, 0.0]), torch.tensor([0.0, 2.0]))
    tensor([1.4142, 1.4142])
    """
    middle = averaged([a, b])
    for piece, one, other in zip(*map(layout.pieces, (middle, a, b)), strict=True):
        cosine = float(cosine_similarity(one.double().reshape(-1), other.double().reshape(-1), 0))
        if abs(cosine) <= PARALLEL:
            piece.div_(math.cos(math.acos(cosine) / 2))
    return middle


def measured(
    problem: LossProblem, models: Sequence[Theta], names: Sequence[str] | None = None
) -> list[dict[str, float]]:
    """Every quantity of each model, or those that are named, in memory-bounded batches."""
    rows: list[dict[str, float]] = []
    at_once, wanted = rows_at_once(models[0]), problem.quantities if names is None else tuple(names)
    for start in range(0, len(models), at_once):
        part = models[start : start + at_once]
        values = problem.measure(together([model[None] for model in part]), wanted)
        rows += [{name: float(column[i]) for name, column in values.items()} for i in range(len(part))]
    return rows


def shares_of(models: Sequence[Theta], weights: Sequence[float] | None) -> list[float]:
    """Shares that add up to 1; all the same unless weights are given.

    Raises:
        InvalidSetting: fewer than two models, or weights that are no shares of them.
    """
    if len(models) < 2:
        raise InvalidSetting(f"an average of {len(models)} models: give two or more")
    given = [1.0] * len(models) if weights is None else list(map(float, weights))
    if len(given) != len(models) or not all(weight >= 0 for weight in given) or not 0 < sum(given) < math.inf:
        raise InvalidSetting(f"weights={weights!r:.80}: give each of {len(models)} models one that is not negative")
    return [weight / sum(given) for weight in given]
