"""Draws a figure of a sweep."""

from __future__ import annotations

import html
import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import plotly.graph_objects as go

from weightstring.report.draw.chart import Chart, Series, ticks
from weightstring.report.draw.theme import MORE, NOT_FINITE, SETS, THRESHOLD, theme

# The first three are those of data sets elsewhere; dashes and symbols tell lines apart without any colour.
COLOURS = (*(colour for colour, _ in SETS.values()), *MORE)
DASHES = ("solid", "dash", "dashdot", "dot")
SYMBOLS = ("circle", "square", "diamond", "triangle-up", "triangle-down", "star", "pentagon", "hexagon")
FAINT = 0.33


class Look(NamedTuple):
    """What tells one line of a chart from another."""

    colour: str
    dash: str
    symbol: str


def look_of(number: int) -> Look:
    """The look of a line by its number: all eight colours differ, then they come again with other dashes.

    >>> look_of(0).dash, look_of(8).colour == look_of(0).colour, look_of(8).dash
    ('solid', True, 'dashdot')
    """
    colour = COLOURS[number % len(COLOURS)]
    turn, place = divmod(number, len(COLOURS))
    return Look(colour, DASHES[(place + 2 * turn) % len(DASHES)], SYMBOLS[place])


def chart_figure(chart: Chart) -> go.Figure:
    """Draw a chart.

    >>> series = Series("mean", "mean", (0.1, 0.01), (1.0, 2.0), (0.9, 1.5), (1.1, 2.5))
    >>> figure = chart_figure(Chart("a", "", "", "threshold", "beads", (series,)))
    >>> figure.data[0].error_y.array[1], figure.layout.xaxis.type
    (0.5, 'log')
    """
    figure = go.Figure(layout={"template": theme(dark=False)})
    for series in chart.series:
        _add(figure, series)
    for level, after in chart.named_levels:
        figure.add_shape(
            type="line", x0=level.value, x1=level.value, y0=0, y1=1, yref="paper", layer="below",
            line={"color": NOT_FINITE, "width": 1, "dash": "dot"},
        )  # fmt: skip
        figure.add_annotation(
            x=math.log10(level.value) if chart.x_log else level.value, y=1, yref="paper", text=_text(level.name),
            textangle=-90, xanchor="left" if after else "right", yanchor="top", showarrow=False,
            font={"size": 11, "color": NOT_FINITE},
        )  # fmt: skip
    horizontal: dict[str, Any] = {"title": {"text": _text(chart.x_title)}, "showgrid": False}
    low, high = chart.x_ends
    if chart.categories:
        names = [_text(name) for name in chart.categories]
        horizontal |= {"range": [low, high], "tickvals": list(range(len(names))), "ticktext": names}
    elif chart.x_log:
        places = chart.x_ticks or ticks(low, high)
        horizontal |= {"type": "log", "range": [math.log10(low), math.log10(high)], **_labels(places)}
    else:
        horizontal |= {"range": [low, high], "hoverformat": ".4g"}
    vertical: dict[str, Any] = {"title": {"text": _text(chart.y_title)}}
    if chart.y_log:
        low, high = chart.y_ends
        vertical |= {"type": "log", "range": [math.log10(low), math.log10(high)], **_labels(ticks(low, high))}
    vertical |= {"range": list(chart.y_range)} if chart.y_range else {}
    figure.update_layout(hovermode="closest", xaxis=horizontal, yaxis=vertical)
    return figure


def _labels(places: Sequence[float]) -> dict[str, Any]:
    return {"tickvals": list(places), "ticktext": [f"{place:g}" for place in places]}


def _add(figure: go.Figure, series: Series) -> None:
    colour, dash, symbol = look_of(series.look)
    looks: dict[str, dict[str, Any]] = {
        "mean": {
            "mode": "lines+markers", "line": {"color": colour, "dash": dash, "width": 2},
            "marker": {"color": colour, "symbol": symbol, "size": 8},
        },
        "pairs": {"mode": "markers", "marker": {"color": colour, "symbol": symbol, "size": 6}, "opacity": FAINT},
        "open": {"mode": "markers", "marker": {"color": NOT_FINITE, "symbol": "x-thin", "size": 8}
                 | {"line": {"color": colour, "width": 1.5}}},
        "fit": {"mode": "lines", "line": {"color": colour, "dash": "dash", "width": 1.5}},
        "unresolved": {"mode": "lines+markers", "line": {"color": colour, "dash": "dot", "width": 1.5}}
                      | {"marker": {"color": colour, "symbol": "x", "size": 7}},
        "disconnected": {"mode": "lines+markers", "line": {"color": colour, "dash": "dot", "width": 1.5}}
                        | {"marker": {"color": colour, "symbol": "diamond-open", "size": 9}},
        "curve": {"mode": "lines", "line": {"color": colour, "width": 2}},
        "beads": {"mode": "markers", "marker": {"color": colour, "size": 8, "line": {"width": 1.5}}},
        "threshold": {"mode": "lines", "line": {"color": THRESHOLD, "width": 1.5}},
    }  # fmt: skip
    style = looks[series.kind]
    if series.low:
        style["error_y"] = {
            "type": "data", "array": series.above, "arrayminus": series.below, "symmetric": False,
            "color": colour, "thickness": 1.5, "width": 4,
        }  # fmt: skip
    if series.texts:
        style |= {"text": [_text(text) for text in series.texts], "hovertemplate": "%{text}<br>%{y:.5g}<extra></extra>"}
    elif series.kind == "curve":
        style["hovertemplate"] = "%{y:.6g} at %{x:.4g}<extra></extra>"
    else:
        style["hoverinfo"] = "skip"
    figure.add_scatter(
        x=series.x, y=series.y, name=_text(series.name), showlegend=bool(series.name),
        legendgroup=str(series.look) if series.kind in ("mean", "pairs") else series.kind,
        visible=True if series.shown else "legendonly", **style,
    )  # fmt: skip


def _text(words: str) -> str:
    """Words as Plotly shows them: it reads tags in texts."""
    return html.escape(words, quote=False).replace("\n", "<br>")
