"""Several ways from one model to another, each against its own length."""

from __future__ import annotations

from collections.abc import Mapping

import plotly.graph_objects as go

from weightstring.codec import finite_or_none
from weightstring.path.string_curve import StringCurve
from weightstring.report.draw.along import mark_not_finite
from weightstring.report.draw.theme import NOT_FINITE, SETS, theme, vertical_axis

STYLES = ((NOT_FINITE, "dash"), (SETS[""][0], "solid"), (SETS["holdout_"][0], "dot"))
"""Of the first, the second, …: they differ in lightness, hue and dash."""


def between_figure(curves: Mapping[str, StringCurve], quantity: str, label: str) -> go.Figure:
    """Draw one quantity along each.

    Args:
        curves: by what they are called; three at most.
        quantity: which of theirs.
        label: that, in words.

    >>> curve = StringCurve((0.0, 1.0), (0, 0), (0.0, 1.0), {"loss": (0.1, 0.2)})
    >>> [trace.name for trace in between_figure({"line": curve}, "loss", "evaluation loss").data]
    ['line']
    """
    figure = go.Figure(layout={"template": theme(dark=False)})
    drawn: list[float] = []
    lost: list[float] = []
    for (name, curve), (colour, dash) in zip(curves.items(), STYLES, strict=False):
        heights = [finite_or_none(value) for value in curve.values[quantity]]
        figure.add_scatter(
            x=curve.s, y=heights, name=name, mode="lines", line={"color": colour, "dash": dash, "width": 2},
            hovertemplate="%{y:.6g}",
        )  # fmt: skip
        drawn += [height for height in heights if height is not None]
        lost += [s for s, height in zip(curve.s, heights, strict=True) if height is None]
    mark_not_finite(figure, lost)
    figure.update_layout(
        hovermode="x unified", showlegend=True,
        xaxis={"title": {"text": "arc length s / length"}, "range": [-0.02, 1.02], "hoverformat": ".4g"}
        | {"showgrid": False},
        yaxis=vertical_axis(label, drawn),
    )  # fmt: skip
    return figure
