"""The string to the aligned copy of a model and that to the model as it was given, side by side (Section IV)."""

from __future__ import annotations

from collections.abc import Sequence

import plotly.graph_objects as go

from weightstring.report.draw.along import mark_not_finite
from weightstring.report.draw.correlation import ALIGNED, GIVEN
from weightstring.report.draw.theme import THRESHOLD, theme, vertical_axis
from weightstring.store.records import ResultRecord


def two_strings_figure(aligned: ResultRecord, plain: ResultRecord, label: str) -> go.Figure:
    """Draw what the threshold binds along the string to the aligned copy and along that between the models as given.

    Args:
        aligned: the run's result.
        plain: that of the same search without alignment.
        label: what is drawn, in words.
    """
    figure = go.Figure(layout={"template": theme(dark=False)})
    drawn = [aligned.threshold]
    for name, colour, dash, result in (("as given", GIVEN, "dash", plain), ("aligned", ALIGNED, "solid", aligned)):
        curve = result.string.curve
        tops = [_top(point) for point in zip(*(curve.values[name] for name in result.names), strict=True)]
        drawn += [value for value in tops if value is not None]
        figure.add_scatter(
            x=curve.s, y=tops, name=name, mode="lines", line={"color": colour, "dash": dash, "width": 2},
            hovertemplate="%{y:.6g}",
        )  # fmt: skip
        where = [s for s, value in zip(curve.s, tops, strict=True) if value is None]
        mark_not_finite(figure, where, f"{name}: not finite")
    figure.add_scatter(
        x=[-0.02, 1.02], y=[aligned.threshold] * 2, name=f"threshold {aligned.threshold:.6g}", mode="lines",
        line={"color": THRESHOLD, "width": 1.5}, hoverinfo="skip",
    )  # fmt: skip
    figure.update_layout(
        hovermode="x unified",
        xaxis={"title": {"text": "arc length s / length"}, "range": [-0.02, 1.02], "hoverformat": ".4g"}
        | {"showgrid": False},
        yaxis=vertical_axis(label, drawn),
    )
    return figure


def _top(values: Sequence[float | None]) -> float | None:
    finite = [value for value in values if value is not None]
    return max(finite) if len(finite) == len(values) else None
