"""What each part of two models does to the line between them, beside the line itself."""

from __future__ import annotations

import plotly.graph_objects as go

from weightstring.codec import finite_or_none
from weightstring.report.draw.theme import theme
from weightstring.study.blaming import Blame
from weightstring.text import ending_of

LONGEST = 20
"""Characters of a part's name on the axis."""


def parts_figure(blame: Blame) -> go.Figure:
    """Draw two numbers a part: the rise where it alone moves, and where all but it move; the whole line's across.

    Args:
        blame: the parts.
    """
    figure = go.Figure(layout={"template": theme(dark=False)})
    places = list(range(len(blame.parts)))
    traces = {
        "moves alone": ([part.costs for part in blame.parts], "#2c7fd1", "circle"),
        "stays alone": ([part.leaves for part in blame.parts], "#d1722c", "square"),
    }
    for name, (values, colour, symbol) in traces.items():
        figure.add_scatter(
            x=places, y=list(map(finite_or_none, values)), mode="markers", name=name,
            marker={"size": 9, "color": colour, "symbol": symbol}, customdata=[part.name for part in blame.parts],
            hovertemplate="%{customdata}<br>rise %{y:.4g}",
        )  # fmt: skip
    edges = [-0.5, len(places) - 0.5]
    figure.add_scatter(
        x=edges, y=[finite_or_none(blame.barrier)] * 2, mode="lines", name="the whole line",
        line={"color": "#777777", "dash": "dash"}, hoverinfo="skip",
    )  # fmt: skip
    names = [ending_of(part.name, LONGEST) for part in blame.parts]
    figure.update_layout(
        xaxis={"tickvals": places, "ticktext": names, "range": edges, "automargin": True},
        yaxis={"title": {"text": f"rise of the {blame.bound}"}},
    )
    return figure
