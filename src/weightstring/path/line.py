"""The straight line between two models, sampled once: its curve, from which every barrier comes."""

from __future__ import annotations

from collections.abc import Mapping

from weightstring.arrays import Theta
from weightstring.path.adaptive import locate_adaptively
from weightstring.path.maximum import Samples, locate
from weightstring.path.objective import Noted, Objective
from weightstring.path.segment import Segment
from weightstring.path.string_curve import StringCurve, larger

Row = Mapping[str, float]
"""Quantities of one model, by name."""


def measure_line(
    objective: Objective, a: Theta, b: Theta, ends: tuple[Row, Row] | None = None, *, adaptive: bool = False
) -> StringCurve:
    """Sample the line from a to b where its largest height is looked for, and nowhere twice.

    Args:
        objective: whose height is looked at; its ``told`` quantities make the curve.
        a: one model (P,), at t = 0.
        b: the other.
        ends: what is known of the two, so that they need not be measured again.
        adaptive: sample only as densely as the curve bends, not on a grid.

    >>> from weightstring.problem.surfaces import Ring
    >>> ring = Ring()
    >>> curve = measure_line(Objective(ring), *ring.ends)
    >>> round(curve.barrier("max"), 3), curve.segment_maximum(0).t
    (0.943, 0.5)
    """
    samples, noted = Samples(Segment(a, b)), Noted(objective)
    rows: dict[float, Row] = {} if ends is None else {0.0: ends[0], 1.0: ends[1]}
    samples.heights |= {t: larger(row, objective.names) for t, row in rows.items()}
    (locate_adaptively if adaptive else locate)(noted, [samples])
    rows |= samples.told
    ts = tuple(sorted(rows))
    return StringCurve(ts, (0,) * len(ts), ts, {name: tuple(rows[t][name] for t in ts) for name in objective.told})
