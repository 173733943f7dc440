"""One number for every two of several models, as a map of colours."""

from __future__ import annotations

from collections.abc import Sequence

import plotly.graph_objects as go

from weightstring.report.draw.colours import Colours, short
from weightstring.report.draw.theme import theme
from weightstring.text import ending_of

WRITTEN = 12
"""Models up to which numbers are written into the cells."""
LONGEST = 24
"""Characters of a model's name on an axis."""


def heat_figure(names: Sequence[str], table: Sequence[Sequence[float | None]], label: str) -> go.Figure:
    """Draw a square of numbers, the first model in the upper left corner; what is not finite has no colour.

    Args:
        names: of the models.
        table: a row for each, None where a number is not finite.
        label: what the numbers are, in words.

    >>> heat_figure(["a", "b"], [[0.0, 2.0], [2.0, 0.0]], "barrier").data[0].text
    (['0', '2'], ['2', '0'])
    """
    colours = Colours.over(value for row in table for value in row)
    figure = go.Figure(layout={"template": theme(dark=False)})
    written = [["not finite" if value is None else f"{value:.3g}" for value in row] for row in table]
    places = list(range(len(names)))
    pairs = [[f"{one} – {other}" for other in names] for one in names]
    labels = [short_name(name) for name in names]
    ticks = {"tickvals": places, "ticktext": labels, "showgrid": False, "automargin": True}
    figure.add_heatmap(
        z=[[None if value is None else colours.place(short(value)) for value in row] for row in table],
        x=places, y=places, customdata=pairs, coloraxis="coloraxis", text=written, xgap=1, ygap=1,
        texttemplate="%{text}" if len(names) <= WRITTEN else None, textfont={"color": "#ffffff"},
        hovertemplate=f"{label}<br>%{{customdata}}: %{{text}}<extra></extra>", hoverongaps=True,
    )  # fmt: skip
    figure.update_layout(
        hovermode="closest",
        coloraxis=colours.axis(label),
        xaxis={**ticks, "range": [-0.5, len(names) - 0.5], "constrain": "domain"},
        yaxis={**ticks, "range": [len(names) - 0.5, -0.5], "scaleanchor": "x", "constrain": "domain"},
    )
    return figure


def short_name(name: str) -> str:
    """A name that fits an axis; the pointer shows all of it."""
    return ending_of(name, LONGEST)
