"""A page's figures drawn by matplotlib, for files: the kinds of traces that they are made of."""

from __future__ import annotations

import html
import math
import re
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

import plotly.graph_objects as go

from weightstring.errors import InvalidSetting
from weightstring.report.draw.files import DASHES, SIZE, SYMBOLS
from weightstring.report.draw.theme import LOSS_SCALE

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.cm import ScalarMappable
    from matplotlib.figure import Figure

INK, PAPER, GRID = "#2b313c", "#ffffff", "#e2e5ea"
HOLLOW = ("circle-open", "diamond-open")
POINTS = 0.6
"""Points of a column's figure to a pixel of the page's."""
TICKS = 5
ROOM = 0.11
"""Share of a figure's width that a text in a bar needs."""
HATCHES = {"": "", "/": "////", ".": "..."}


def drawn(figure: go.Figure) -> Figure:
    """A figure of Plotly's as one of matplotlib's; what only a pointer or a slider shows is left out.

    Raises:
        InvalidSetting: it has a kind of trace that is not known here.
    """
    from matplotlib.figure import Figure

    spatial = any(trace.type == "scatter3d" for trace in figure.data)
    page = Figure(figsize=SIZE, layout="constrained")
    axes: Any = page.add_subplot(projection="3d" if spatial else None)
    colours = _colours(figure)
    for index, trace in enumerate(figure.data):
        if trace.visible == "legendonly":
            continue
        if trace.type not in DRAWERS:
            raise InvalidSetting(
                f"matplotlib draws no {trace.type!r} of Plotly's: make the figure of {', '.join(DRAWERS)}"
            )
        DRAWERS[trace.type](axes, trace, colours, figure.data[index - 1] if index else None)
    _add_shapes(axes, figure.layout)
    (_set_space if spatial else _set_plane)(axes, figure.layout)
    bar = figure.layout.coloraxis.colorbar
    if colours is not None and figure.layout.coloraxis.showscale:
        shown = page.colorbar(colours, ax=axes, shrink=0.8, pad=0.12 if spatial else 0.04, label=_plain(bar.title.text))
        if bar.tickvals is not None:  # logarithms
            ticks = [low + (high - low) * k / (TICKS - 1) for low, high in [colours.get_clim()] for k in range(TICKS)]
            shown.set_ticks(ticks, labels=[f"{10**tick:.3g}" for tick in ticks])
    handles, labels = axes.get_legend_handles_labels()
    if labels and figure.layout.showlegend is not False:
        once = dict(zip(labels, handles, strict=True))
        # Above the axes: inside there are points everywhere.
        page.legend(once.values(), once, loc="outside upper center", frameon=False, fontsize=8, ncols=min(4, len(once)))
    return page


def _colours(figure: go.Figure) -> ScalarMappable | None:
    """The scale of the losses that are drawn: the page's is that of all steps."""
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import LinearSegmentedColormap, Normalize

    values: list[float] = []
    for trace in figure.data:
        if trace.type == "contour":
            values += [z for row in trace.z for z in row if z is not None]
        elif _by_loss(trace):
            values += list(trace.marker.color)
    if not values:
        return None
    return ScalarMappable(Normalize(min(values), max(values)), LinearSegmentedColormap.from_list("loss", LOSS_SCALE))


def _by_loss(trace: Any) -> bool:
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
            axes.text(*(column[row] for column in columns), _plain(text), **look)


def _add_markers(
    axes: Any, trace: Any, colours: ScalarMappable | None, columns: list[list[float]], more: dict[str, Any]
) -> None:
    """The points of a trace; those with one symbol at a time, as matplotlib has them."""
    marker, by_loss = trace.marker, _by_loss(trace)
    colour = colours.to_rgba(marker.color) if colours is not None and by_loss else marker.color
    symbols = marker.symbol if isinstance(marker.symbol, tuple) else (marker.symbol or "circle",) * len(columns[0])
    size = ((1.5 if trace.type == "scatter3d" else 1) * POINTS * (marker.size or 6)) ** 2
    for symbol in dict.fromkeys(symbols):
        rows = [row for row, other in enumerate(symbols) if other == symbol]
        edge = marker.line.color or trace.line.color
        shade = [colour[row] for row in rows] if by_loss else (edge if symbol == "x-thin" else colour) or edge or INK
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


def _bars(axes: Axes, trace: Any, colours: ScalarMappable | None, before: Any) -> None:
    pattern = trace.marker.pattern.shape or ""
    axes.barh(
        trace.y, trace.x, left=trace.base, height=trace.width or 0.9, color=trace.marker.color, label=trace.name,
        hatch=HATCHES[pattern], edgecolor=PAPER, linewidth=0.8,
    )  # fmt: skip
    for y, width, left, text in zip(trace.y, trace.x, trace.base, trace.text, strict=True):
        # Which of them have room is known when all bars are there.
        axes.text(left + width / 2, y, _plain(text), ha="center", va="center", fontsize=7, color=PAPER, gid=str(width))


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
    "bar": _bars,
    "violin": _violin,
}


def _add_shapes(axes: Any, layout: go.Layout) -> None:
    """Upright lines and shaded parts, over the whole height, and names beside points."""
    for shape in layout.shapes:
        if shape.x0 == shape.x1:
            dash = DASHES[shape.line.dash or "solid"]
            axes.axvline(shape.x0, color=shape.line.color or GRID, linewidth=0.6, linestyle=dash, zorder=0)
        else:
            axes.axvspan(shape.x0, shape.x1, color=shape.fillcolor, alpha=shape.opacity, linewidth=0, zorder=0)
    for note in layout.annotations:
        if note.textangle is not None:  # beside an upright line
            before = note.xanchor == "right"
            axes.annotate(
                _plain(note.text), (10**note.x if layout.xaxis.type == "log" else note.x, 0.98),
                xycoords=("data", "axes fraction"), xytext=(-2 if before else 2, 0), textcoords="offset points",
                rotation=90, ha="right" if before else "left", va="top", fontsize=7, color=note.font.color,
            )  # fmt: skip
            continue
        axes.annotate(
            _plain(note.text), (note.x, note.y), xytext=(POINTS * (note.xshift or 0), 0), textcoords="offset points",
            weight="bold", ha="center", va="center",
        )  # fmt: skip


def _set_plane(axes: Axes, layout: go.Layout) -> None:
    for settings, name in ((layout.xaxis, "x"), (layout.yaxis, "y")):
        axis = getattr(axes, f"{name}axis")
        logarithmic = settings.type == "log"
        if logarithmic:
            getattr(axes, f"set_{name}scale")("log", nonpositive="clip")
        if settings.range is not None:
            getattr(axes, f"set_{name}lim")(*(10**end if logarithmic else end for end in settings.range))
        if settings.tickvals is not None:
            axis.set_ticks(list(settings.tickvals), [_plain(text) for text in settings.ticktext])
            axis.minorticks_off()
        if (step := settings.dtick) is not None:
            low, high = sorted(settings.range)
            axis.set_ticks([tick * step for tick in range(math.ceil(low / step), int(high // step) + 1)])
        if settings.visible is False:
            axis.set_visible(False)
            axes.spines["bottom" if name == "x" else "left"].set_visible(False)
        axis.set_label_text(_plain(settings.title.text))
    if layout.yaxis.scaleanchor is not None:
        axes.set_aspect("equal", adjustable="datalim" if layout.xaxis.range is None else "box")
    low, high = axes.get_xlim()
    for text in axes.texts:
        if (gid := text.get_gid()) is not None:
            text.set_visible(float(gid) >= ROOM * (high - low))


def _set_space(axes: Any, layout: go.Layout) -> None:
    scene = layout.scene
    for name in "xyz":
        settings = scene[f"{name}axis"]
        getattr(axes, f"set_{name}lim")(*settings.range)
        axis = getattr(axes, f"{name}axis")
        axis.set_label_text(_plain(settings.title.text))
        axis.set_major_locator(_few())
        axis.set_pane_color(PAPER)
    axes.computed_zorder = False  # or lines would hide the points on them
    axes.set_box_aspect([scene.aspectratio[name] for name in "xyz"], zoom=0.9)
    eye = scene.camera.eye
    axes.view_init(
        elev=math.degrees(math.atan2(eye.z, math.hypot(eye.x, eye.y))), azim=math.degrees(math.atan2(eye.y, eye.x))
    )


def _few() -> Any:
    from matplotlib.ticker import MaxNLocator

    return MaxNLocator(4)


def _numbers(values: Sequence[float | None] | None) -> list[float]:
    return [] if values is None else [math.nan if value is None else float(value) for value in values]


def _plain(text: str | None) -> str:
    """Words without Plotly's tags, and with the signs that those would take for one."""
    return html.unescape(re.sub(r"<[^>]*>", "", (text or "").replace("<br>", "\n")))


def _label(name: str) -> str:
    """A name in the legend, from which matplotlib leaves out those that begin with an underscore."""
    words = _plain(name)
    return f" {words}" if words.startswith("_") else words


def _colour(text: str) -> Any:
    """A colour as matplotlib reads it: rgba(…) is CSS."""
    found = re.fullmatch(r"rgba\((\d+), (\d+), (\d+), ([\d.]+)\)", text)
    if found is None:
        return text
    red, green, blue = (int(part) / 255 for part in found.groups()[:3])
    return red, green, blue, float(found[4])
