"""What each way to merge comes to, beside the models themselves."""

from __future__ import annotations

import plotly.graph_objects as go

from weightstring.codec import finite_or_none
from weightstring.report.draw.along import mark_not_finite
from weightstring.report.draw.theme import SETS, THRESHOLD, theme, vertical_axis
from weightstring.study.mergeability import Mergeability


def ways_figure(found: Mergeability, label: str = "loss") -> go.Figure:
    """Draw a dot a way, and a band from the best of the models to the worst.

    Args:
        found: the ways.
        label: what is drawn, in words.
    """
    figure = go.Figure(layout={"template": theme(dark=False)})
    names = [way.name for way in found.ways]
    places, heights = list(range(len(names))), [finite_or_none(way.loss) for way in found.ways]
    own = [value for values in found.models.values() if (value := finite_or_none(values["loss"])) is not None]
    edges = [-0.5, len(names) - 0.5]
    for name, value, dash in (("worst model", max(own), "dash"), ("best model", min(own), "dot")) if own else ():
        figure.add_scatter(
            x=edges, y=[value, value], mode="lines", name=f"{name}: {value:.4g}", hoverinfo="skip",
            line={"color": SETS["train_"][0], "dash": dash, "width": 1.5},
        )  # fmt: skip
    if own:
        figure.add_shape(
            type="rect", x0=edges[0], x1=edges[1], y0=min(own), y1=max(own), layer="below",
            fillcolor=SETS["train_"][0], opacity=0.15, line={"width": 0},
        )  # fmt: skip
    worst = max(own, default=0.0)
    figure.add_scatter(
        x=places, y=heights, mode="markers", name="merged", text=names,
        marker={
            "size": 13, "symbol": ["circle" if way.loss <= worst else "x" for way in found.ways],
            "color": [SETS[""][0] if way.loss <= worst else THRESHOLD for way in found.ways],
        },
        hovertemplate="%{text}<br>%{y:.6g}<extra></extra>",
    )  # fmt: skip
    mark_not_finite(figure, [place for place, height in zip(places, heights, strict=True) if height is None])
    shown = [*own, *(height for height in heights if height is not None)]
    figure.update_layout(
        hovermode="closest",
        xaxis={
            "tickvals": places, "ticktext": [name.replace(" ", "<br>", 1) for name in names], "range": edges,
            "automargin": True, "showgrid": False,
        },
        yaxis=vertical_axis(label, shown),
    )  # fmt: skip
    return figure
