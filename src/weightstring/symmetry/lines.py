"""Barriers of the straight lines from one model to copies of another, sampled in few evaluations.

All copies have one function, so all lines have the same heights at their ends, which are measured once. Each
candidate is measured in the middle, on the screening part of a large evaluation set; the one that is taken and the
model as it was also on all of it, and at one more place: where a parabola through what is known has its top.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TypeAlias

from weightstring.arrays import Theta
from weightstring.path import Objective, Segment
from weightstring.path.segment import measure_points
from weightstring.problem import Modular
from weightstring.protocol import Screened

Heights: TypeAlias = Mapping[float, float]
"""Evaluation losses on a line by t; those of its ends and of its middle among them."""

TIE = 1e-6
"""Barriers below this share of the ends' loss are 0: the same function rounds in other ways."""

POINTS = 4
"""Places at which the lines are measured that are compared in the end."""

APART = 1 / 16
"""How far from the ends and from the middle one more place must lie at least."""


class Lines:
    """The lines from one model to copies of another.

    Args:
        problem: whose evaluation loss.
        a: where all lines begin (P,).
        b: the other model (P,), or any copy of it.
    """

    def __init__(self, problem: Modular, a: Theta, b: Theta) -> None:
        screening = problem.screening if isinstance(problem, Screened) else None
        self._whole, self.a, self.b = Objective(problem), a, b
        self._quick = self._whole if screening is None else Objective(screening)
        share = len(screening.observed()) / len(problem.observed()) if isinstance(screening, Modular) else 1.0
        self._share = {id(self._whole): 1.0, id(self._quick): share}
        self._ends: dict[int, Heights] = {}
        self.evaluations = 0.0
        """Losses of one model measured so far; one on a part of the evaluation set counts as its share of that."""

    def sketch(self, copy: Theta) -> Heights:
        """The ends and the middle of the line to a copy, on the screening part where there is one."""
        return self._middle(self._quick, copy)

    def sampled(self, copy: Theta, sketch: Heights) -> Heights:
        """The line to a copy on the whole evaluation set, given its sketch."""
        heights = sketch if self._quick is self._whole else self._middle(self._whole, copy)
        t = _further(heights)
        return {**heights, **self._measured(self._whole, copy, [t])}

    def _middle(self, objective: Objective, copy: Theta) -> Heights:
        if id(objective) not in self._ends:
            self._ends[id(objective)] = self._measured(objective, self.b, [0.0, 1.0])
        return {**self._ends[id(objective)], **self._measured(objective, copy, [0.5])}

    def _measured(self, objective: Objective, copy: Theta, ts: list[float]) -> Heights:
        self.evaluations += len(ts) * self._share[id(objective)]
        line = Segment(self.a, copy)
        return dict(zip(ts, measure_points(objective, [(line, t) for t in ts]), strict=True))


def barrier(heights: Heights) -> float:
    """The largest height over the mean of the ends'; 0 where it is only rounding.

    >>> barrier({0.0: 1.0, 0.5: 3.0, 1.0: 2.0})
    1.5
    """
    top, mean = max(heights.values()), (heights[0.0] + heights[1.0]) / 2
    return top - mean if abs(top - mean) > TIE * abs(mean) else 0.0


def worse(one: Heights, other: Heights) -> bool:
    """Whether a line's barrier is higher than another's; where they are the same, whether its middle is.

    Where an end is the highest point of both, their barriers are the same whatever lies between. Of middles below both
    ends none is worse: there is nothing to cross.

    >>> worse({0.0: 1.0, 0.5: 0.9, 1.0: 0.0}, {0.0: 1.0, 0.5: 0.4, 1.0: 0.0})
    True
    """
    mine, its = barrier(one), barrier(other)
    high, low = (max(heights[0.5], min(heights[0.0], heights[1.0])) for heights in (one, other))
    return mine > its or (mine == its and high - low > TIE * abs(low))


def _further(heights: Heights) -> float:
    """Where to look next: at the top of the parabola, else a quarter from the higher end.

    >>> _further({0.0: 0.0, 0.5: 4.0, 1.0: 3.0}), _further({0.0: 4.0, 0.5: 1.0, 1.0: 3.0})
    (0.65, 0.25)
    """
    low, middle, high = heights[0.0], heights[0.5], heights[1.0]
    curvature, slope = low - 2 * middle + high, high - low
    quarter = 0.25 if low >= high else 0.75
    if not (math.isfinite(curvature) and curvature < 0):
        return quarter
    t = 0.5 - slope / (4 * curvature)
    return t if APART <= t <= 1 - APART and abs(t - 0.5) >= APART else quarter
