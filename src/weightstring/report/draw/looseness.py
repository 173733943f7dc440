"""How far bounds lie above the loss, a bar for each segment, in parts: which operations put them there."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Sequence

import plotly.graph_objects as go

from weightstring.proof.certificate import Looseness
from weightstring.report.draw.chart_figure import COLOURS
from weightstring.report.draw.theme import NOT_FINITE, theme

OTHERS = "all others"


def operation(where: str) -> str:
    """An operator without its overload, and where it is called.

    >>> operation("gelu.default in blocks.0 (Block)")
    'gelu in blocks.0 (Block)'
    """
    name, between, place = where.partition(" in ")
    return f"{name.split('.')[0] if between else name}{between}{place}"


def parts_of(found: Looseness) -> dict[str, float]:
    """How much of the gap is whose, to first order; of a gap that is none, or not finite, nothing."""
    gap = found.gap if math.isfinite(found.gap) and found.causes else 0.0
    parts: defaultdict[str, float] = defaultdict(float)
    for cause in found.causes:
        parts[operation(cause.where)] += max(gap, 0.0) * cause.share
    parts[OTHERS] = max(0.0, gap - math.fsum(parts.values()))
    return dict(parts)


def looseness_figure(found: Sequence[Looseness]) -> go.Figure:
    """Draw the gap of each segment, its parts side by side.

    >>> from weightstring.proof.certificate import Cause
    >>> figure = looseness_figure([Looseness(0, 0.0, 1.0, 0.5, (Cause("relu.default in 1", 0.75),))])
    >>> [(trace.name, trace.x[0]) for trace in figure.data]
    [('relu in 1', 0.375), ('all others', 0.125)]
    """
    rows = [parts_of(each) for each in found]
    whole = Counter[str]()
    for row in rows:
        whole.update(row)
    named = [name for name, _ in whole.most_common() if name != OTHERS][: len(COLOURS)]
    figure = go.Figure(layout={"template": theme(dark=False)})
    places, base = list(range(len(rows))), [0.0] * len(rows)
    for name, colour in zip([*named, OTHERS], [*COLOURS[: len(named)], NOT_FINITE], strict=True):
        values = [
            row.get(name, 0.0) if name != OTHERS else math.fsum(v for k, v in row.items() if k not in named)
            for row in rows
        ]
        shares = [value / math.fsum(row.values()) if value else 0.0 for value, row in zip(values, rows, strict=True)]
        figure.add_bar(
            x=values, y=places, base=list(base), orientation="h", name=name, marker={"color": colour}, width=0.7,
            text=[f"{100 * share:.0f} %" for share in shares], textposition="inside", insidetextanchor="middle",
            hovertemplate=f"{name}<br>%{{x:.3g}}, %{{text}}<extra></extra>",
        )  # fmt: skip
        base = [begin + value for begin, value in zip(base, values, strict=True)]
    figure.update_layout(
        barmode="overlay",
        xaxis={"title": {"text": "bound over the loss"}},
        yaxis={
            "title": {"text": "segment"},
            "tickvals": places,
            "ticktext": [str(each.segment) for each in found],
            "range": [len(rows) - 0.5, -0.5],
            "showgrid": False,
        },
    )
    return figure
