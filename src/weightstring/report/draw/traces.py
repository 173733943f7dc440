"""The traces of a Plotly figure, drawn by matplotlib: the kinds that a page's figures are made of."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, cast

from weightstring.report.draw.files import DASHES, SYMBOLS, plain_words

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import Normalize

INK, PAPER = "#2b313c", "#ffffff"
HOLLOW = ("circle-open", "diamond-open")
POINTS = 0.6
"""Points of a column's figure to a pixel of the page's."""
HATCHES = {"": "", "/": "////", ".": "..."}


def by_loss(trace: Any) -> bool:
    """Whether its points are coloured by loss."""
    return trace.type in ("scatter", "scatter3d") and trace.marker.coloraxis is not None


def _scatter(axes: Axes, trace: Any, colours: ScalarMappable | None, before: Any) -> None:
    place = {"transform": axes.get_xaxis_transform(), "clip_on": False} if trace.yaxis == "y2" else {}
    _draw_scatter(axes, trace, colours, [_numbers(trace.x), _numbers(trace.y)], place)
    if trace.fill == "tonexty":
        _fill(axes, trace, before)


def _spatial(axes: Any, trace: Any, colours: ScalarMappable | None, before: Any) -> None:
    _draw_scatter(axes, trace, colours, [_numbers(trace.x), _numbers(trace.y), _numbers(trace.z)], {})


def _draw_scatter(
    axes: Any, trace: Any, colours: ScalarMappable | None, columns: list[list[float]], place: Mapping[str, Any]
) -> None:
    kind = trace.mode or "lines"
    label = {} if trace.showlegend is False or not trace.name else {"label": _label(trace.name)}
    width = 2 if trace.line.width is None else trace.line.width
    marker = trace.marker
    together = kind == "lines+markers" and not isinstance(marker.symbol, tuple)
    if "lines" in kind and width:
        look = {"color": _colour(trace.line.color or INK), "linestyle": DASHES[trace.line.dash or "solid"]}
        look |= label | dict(place) | {"linewidth": POINTS * width}
        if together:
            look |= {"marker": SYMBOLS[marker.symbol or "circle"], "markersize": POINTS * marker.size}
            look |= {"fillstyle": "none"} if marker.symbol in HOLLOW else {}
        if trace.type == "scatter" and trace.error_y.array is not None:
            axes.errorbar(*columns, [trace.error_y.arrayminus, trace.error_y.array], capsize=2, elinewidth=1, **look)
        else:
            axes.plot(*columns, **look)
        label = {}
    if "markers" in kind and columns[0] and not together:
        _add_markers(axes, trace, colours, columns, label | dict(place))
    if "text" in kind:
        look = {"weight": "bold", "ha": "center", "va": "bottom", "color": trace.textfont.color or INK}
        for row, text in enumerate(trace.text):
            axes.text(*(column[row] for column in columns), plain_words(text), **look)


def _add_markers(
    axes: Any, trace: Any, colours: ScalarMappable | None, columns: list[list[float]], more: dict[str, Any]
) -> None:
    """The points of a trace; those with one symbol at a time, as matplotlib has them."""
    marker, coloured = trace.marker, by_loss(trace)
    colour = colours.to_rgba(marker.color) if colours is not None and coloured else marker.color
    symbols = marker.symbol if isinstance(marker.symbol, tuple) else (marker.symbol or "circle",) * len(columns[0])
    size = ((1.5 if trace.type == "scatter3d" else 1) * POINTS * (marker.size or 6)) ** 2
    for symbol in dict.fromkeys(symbols):
        rows = [row for row, other in enumerate(symbols) if other == symbol]
        edge = marker.line.color or trace.line.color
        shade = [colour[row] for row in rows] if coloured else (edge if symbol == "x-thin" else colour) or edge or INK
        faint = {} if trace.opacity is None else {"alpha": trace.opacity, "edgecolors": "none"}
        _points(axes, [[column[row] for row in rows] for column in columns], symbol, shade, size, more | faint)
        more.pop("label", None)


def _points(
    axes: Any, columns: list[list[float]], symbol: str, colour: Any, size: float, more: Mapping[str, Any]
) -> None:
    face: dict[str, Any] = {"c": colour} if isinstance(colour, list) else {"color": colour}
    if symbol in HOLLOW:
        face = {"facecolors": "none", "edgecolors": colour}
    elif symbol in ("circle", "diamond"):
        face |= {"edgecolors": PAPER if colour != PAPER else INK, "linewidths": 0.5}
    axes.scatter(*columns, marker=SYMBOLS[symbol], s=size, zorder=3, **face | dict(more))


def _fill(axes: Axes, trace: Any, under: Any) -> None:
    """The band between a trace and the one before, whose places along x may be others."""
    import numpy as np

    x, top = np.array(_numbers(trace.x)), np.array(_numbers(trace.y))
    low = np.interp(x, _numbers(under.x), _numbers(under.y))
    axes.fill_between(x, low, top, color=_colour(trace.fillcolor), linewidth=0)


def _contour(axes: Axes, trace: Any, colours: ScalarMappable | None, before: Any) -> None:
    z = [_numbers(row) for row in trace.z]
    if trace.contours.type == "constraint":
        axes.contour(
            trace.x,
            trace.y,
            z,
            levels=[trace.contours.value],
            colors=[trace.line.color],
            linewidths=1.2,
            linestyles="solid",
        )
    elif colours is not None and colours.norm.vmin != colours.norm.vmax:
        axes.contourf(trace.x, trace.y, z, levels=trace.ncontours or 24, cmap=colours.cmap, norm=colours.norm)


def _heatmap(axes: Axes, trace: Any, colours: ScalarMappable | None, before: Any) -> None:
    if colours is not None:
        edges = [place - 0.5 for place in range(len(trace.x) + 1)]
        z, norm = [_numbers(row) for row in trace.z], cast("Normalize", colours.norm)
        axes.pcolormesh(edges, edges, z, cmap=colours.cmap, norm=norm, edgecolors=PAPER)
    for y, row in enumerate(trace.text if trace.texttemplate else ()):
        for x, text in enumerate(row):
            axes.text(x, y, plain_words(text), ha="center", va="center", fontsize=7, color=PAPER)


def _bars(axes: Axes, trace: Any, colours: ScalarMappable | None, before: Any) -> None:
    pattern = trace.marker.pattern.shape or ""
    axes.barh(
        trace.y, trace.x, left=trace.base, height=trace.width or 0.9, color=trace.marker.color, label=trace.name,
        hatch=HATCHES[pattern], edgecolor=PAPER, linewidth=0.8,
    )  # fmt: skip
    for y, width, left, text in zip(trace.y, trace.x, trace.base, trace.text, strict=True):
        # Which of them have room is known when all bars are there.
        axes.text(
            left + width / 2, y, plain_words(text), ha="center", va="center", fontsize=7, color=PAPER, gid=str(width)
        )


def _violin(axes: Axes, trace: Any, colours: ScalarMappable | None, before: Any) -> None:
    if not len(trace.x) or min(trace.x) == max(trace.x):
        return
    side: Literal["low", "high"] = "low" if trace.side == "negative" else "high"
    drawn = axes.violinplot([trace.x], [trace.y[0]], orientation="horizontal", side=side, showextrema=False)
    bodies: Any = drawn["bodies"]
    for body in bodies:
        body.set(facecolor=_colour(trace.fillcolor), edgecolor=trace.line.color, alpha=None)


DRAWERS: Mapping[str, Callable[[Any, Any, Any, Any], None]] = {
    "scatter": _scatter,
    "scatter3d": _spatial,
    "contour": _contour,
    "heatmap": _heatmap,
    "bar": _bars,
    "violin": _violin,
}


def _numbers(values: Sequence[float | None] | None) -> list[float]:
    return [] if values is None else [math.nan if value is None else float(value) for value in values]


def _label(name: str) -> str:
    """A name in the legend, from which matplotlib leaves out those that begin with an underscore."""
    words = plain_words(name)
    return f" {words}" if words.startswith("_") else words


def _colour(text: str) -> Any:
    """A colour as matplotlib reads it: rgba(…) is CSS."""
    parts = re.fullmatch(r"rgba\((\d+), (\d+), (\d+), ([\d.]+)\)", text)
    if parts is None:
        return text
    red, green, blue = (int(part) / 255 for part in parts.groups()[:3])
    return red, green, blue, float(parts[4])
