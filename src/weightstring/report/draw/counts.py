"""N(λ): how many components of a sublevel set hold one of the models, from both sides."""

from __future__ import annotations

import math

import plotly.graph_objects as go

from weightstring.report.draw.theme import CERTIFIED, MORE, SETS, THRESHOLD, theme
from weightstring.study.charting import Atlas

MARGIN = 0.06
"""Of the range of levels, on both sides."""


def counts_figure(atlas: Atlas) -> go.Figure:
    """Steps over the level: models under it, components at most (sampled; certified), and at least (proved)."""
    levels = [level for level in atlas.levels if math.isfinite(level)]
    margin = MARGIN * (levels[-1] - levels[0]) or MARGIN * abs(levels[0]) or 1.0
    span = [levels[0] - margin, levels[-1] + margin]
    counts = [atlas.count(level) for level in levels]
    lines = {
        "models under λ": ([count.models for count in counts], MORE[2], "dot"),
        "components at most, sampled": ([count.at_most for count in counts], SETS[""][0], "solid"),
        "components at least, proved": ([count.at_least for count in counts], SETS["train_"][0], "dash"),
    }
    if any(math.isfinite(own.certified) for own in atlas.searched.values()):
        proved = [atlas.certified_at_most(level) for level in levels]
        lines["components at most, certified"] = proved, CERTIFIED, "dashdot"
    figure = go.Figure(layout={"template": theme(dark=False)})
    for name, (values, colour, dash) in lines.items():
        figure.add_scatter(
            x=[span[0], *levels, span[1]], y=[0, *values, values[-1]], name=name, mode="lines",
            line={"shape": "hv", "color": colour, "dash": dash, "width": 2},
        )  # fmt: skip
    if atlas.threshold is not None:
        figure.add_vline(atlas.threshold, line={"color": THRESHOLD, "width": 1.5, "dash": "dash"})
    figure.update_layout(
        hovermode="x unified",
        xaxis={"title": {"text": f"level λ of {atlas.lines.label(atlas.lines.quantity)}"}, "range": span},
        yaxis={"title": {"text": "N(λ)"}, "rangemode": "tozero", "tickformat": "d"},
    )
    return figure
