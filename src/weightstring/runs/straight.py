"""The straight line between a string's ends, beside which the string is seen: its curve, at few more measurements."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from weightstring.path import SearchSamples, WeightString
from weightstring.path.string_curve import StringCurve
from weightstring.runs.run import Run
from weightstring.search.chain import Chain


def straight_line(run: Run, string: WeightString, links: Chain = ()) -> WeightString:
    """The straight line between the ends of a string; its curve is measured when first asked for.

    What was seen of it before is not measured again: most searches begin by measuring this very segment, and a string
    that was measured tells of the ends. What is lacking of 8 intervals (16 where segments are sampled densely) is
    measured, and peaks that were seen stay in it.

    Args:
        run: whose string it is.
        string: the string; one of two beads is the line.
        links: the straight segment as the search saw it.
    """
    if len(string) == 2:
        return string
    ends = string[0], string[-1]
    heights: dict[float, float] = {}
    told: dict[float, dict[str, float]] = {}
    for link in links:
        if _joins((link.left.theta, link.right.theta), ends):
            heights |= link.heights
            for t, row in link.told.items():
                told.setdefault(t, {}).update(row)
    if run.computing.adaptive:
        known = string.known
        for t, row in {0.0: known.get((0, 0.0), {}), 1.0: known.get((len(string) - 2, 1.0), {})}.items():
            told.setdefault(t, {}).update(row)
    seen = SearchSamples(run.objective.names, (heights,), told=(told,) if run.computing.adaptive else ())
    return WeightString(run.problem, ends, _measured_before(run, ends), seen)


def _measured_before(run: Run, ends: Sequence[torch.Tensor]) -> StringCurve | None:
    """The line's curve in the result of an earlier session."""
    line = run.line
    return line.curve if line is not None and line.measured and _joins((line[0], line[-1]), ends) else None


def _joins(models: Sequence[torch.Tensor], ends: Sequence[torch.Tensor]) -> bool:
    return all(model is end or torch.equal(model, end) for model, end in zip(models, ends, strict=True))
