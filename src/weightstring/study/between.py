"""Lines between every two of several models that are measured already: whole ones of a few, the midpoints of many."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import combinations

import torch

from weightstring.arrays import Theta
from weightstring.path import Objective, Segment
from weightstring.path.line import Row, measure_line
from weightstring.protocol import LossProblem
from weightstring.study.averages import measured
from weightstring.study.lines import Line

WHOLE = 4
"""Up to so many models the lines between every two are sampled where their maxima are looked for."""
MIDPOINTS = 32
"""Up to so many their midpoints alone are measured: what averaging each two would give."""


def lines_between(
    problem: LossProblem, models: Sequence[Theta], values: Sequence[Row], *, adaptive: bool
) -> dict[tuple[int, int], Line] | None:
    """The line between every two, by their numbers; None where there are more than 32 models.

    Args:
        problem: the loss.
        models: each (P,).
        values: what each of them measures.
        adaptive: sample whole lines only as densely as they bend.

    >>> from weightstring.problem.surfaces import Ring
    >>> ring = Ring()
    >>> models = [*ring.ends, ring.ends[0]]
    >>> found = lines_between(ring, models, measured(ring, models), adaptive=False)
    >>> round(found[0, 1].curve.barrier("over_mean"), 3), found[0, 2].length
    (0.943, 0.0)
    """
    pairs = list(combinations(range(len(models)), 2))
    if len(models) > MIDPOINTS:
        return None
    if len(models) > WHOLE:
        return {(i, j): _midpoint(problem, (models[i], models[j]), (values[i], values[j])) for i, j in pairs}
    objective = Objective(problem, "evaluate")
    lines = {}
    for i, j in pairs:
        curve = measure_line(objective, models[i], models[j], (values[i], values[j]), adaptive=adaptive)
        lines[i, j] = Line(length=Segment(models[i], models[j]).length, t=curve.t, values=dict(curve.values))
    return lines


def _midpoint(problem: LossProblem, ends: tuple[Theta, Theta], values: tuple[Row, Row]) -> Line:
    names = tuple(values[0])
    (middle,) = measured(problem, [torch.lerp(*ends, 0.5)], names)
    columns: Mapping[str, tuple[float, ...]] = {
        name: (values[0][name], middle[name], values[1][name]) for name in names
    }
    return Line(length=Segment(*ends).length, t=(0.0, 0.5, 1.0), values=dict(columns))
