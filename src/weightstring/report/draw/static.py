"""A page's figures drawn by matplotlib, for files."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import plotly.graph_objects as go

from weightstring.errors import InvalidSetting
from weightstring.report.draw.files import DASHES, SIZE, plain_words
from weightstring.report.draw.theme import LOSS_SCALE
from weightstring.report.draw.traces import DRAWERS, PAPER, POINTS, by_loss

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.cm import ScalarMappable
    from matplotlib.figure import Figure

GRID = "#e2e5ea"
TICKS = 5
ROOM = 0.11
"""Share of a figure's width that a text in a bar needs."""

MARK, LETTER = 0.5, 0.06
"""Inches that a legend's mark takes, and each letter of a name beside it."""


def drawn(figure: go.Figure, size: tuple[float, float] = SIZE) -> Figure:
    """A figure of Plotly's as one of matplotlib's; what only a pointer or a slider shows is left out.

    Args:
        figure: what is drawn.
        size: in inches.

    Raises:
        InvalidSetting: it has a kind of trace that is not known here.
    """
    from matplotlib.figure import Figure

    page = Figure(figsize=size, layout="constrained")
    # Above the axes: inside there are points everywhere.
    draw_on(page.add_subplot(projection="3d" if in_space(figure) else None), figure, legend="outside upper center")
    return page


def draw_on(axes: Any, figure: go.Figure, *, legend: str = "best") -> None:
    """Draw a figure of Plotly's on axes of matplotlib's; a figure in space needs those of three dimensions.

    Args:
        axes: to draw on; what they hold stays.
        figure: what is drawn.
        legend: where, in matplotlib's words; outside is of the whole page.

    Raises:
        InvalidSetting: it has a kind of trace that is not known here, or the axes are flat and it is not.
    """
    page, spatial = axes.figure, in_space(figure)
    if spatial and axes.name != "3d":
        raise InvalidSetting("this figure is in space: give axes made by add_subplot(projection='3d')")
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
        shown = page.colorbar(
            colours, ax=axes, shrink=0.8, pad=0.12 if spatial else 0.04, label=plain_words(bar.title.text)
        )
        if bar.tickvals is not None:  # logarithms
            ticks = [low + (high - low) * k / (TICKS - 1) for low, high in [colours.get_clim()] for k in range(TICKS)]
            shown.set_ticks(ticks, labels=[f"{10**tick:.3g}" for tick in ticks])
    handles, labels = axes.get_legend_handles_labels()
    if labels and figure.layout.showlegend is not False:
        once = dict(zip(labels, handles, strict=True))
        outside = legend.startswith("outside")
        where, columns = (page, _columns(page, once)) if outside else (axes, 1)  # a wide one would cover the curves
        where.legend(once.values(), once, loc=legend, frameon=False, fontsize=8, ncols=columns)


def _columns(page: Any, names: Mapping[str, Any]) -> int:
    """Names of a legend side by side: as many as the page's width takes."""
    width = page.get_figwidth()
    each = MARK + LETTER * max(map(len, names))
    return max(1, min(4 if width >= SIZE[0] else 3, len(names), int(width / each)))


def in_space(figure: go.Figure) -> bool:
    """Whether it has three dimensions."""
    return any(trace.type == "scatter3d" for trace in figure.data)


def _colours(figure: go.Figure) -> ScalarMappable | None:
    """The scale of the losses that are drawn: the page's is that of all steps."""
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import LinearSegmentedColormap, Normalize

    values: list[float] = []
    for trace in figure.data:
        if trace.type in ("contour", "heatmap"):
            values += [z for row in trace.z for z in row if z is not None]
        elif by_loss(trace):
            values += list(trace.marker.color)
    if not values:
        return None
    return ScalarMappable(Normalize(min(values), max(values)), LinearSegmentedColormap.from_list("loss", LOSS_SCALE))


def _add_shapes(axes: Any, layout: go.Layout) -> None:
    """Vertical lines and shaded parts, over the whole height, and names beside points."""
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
                plain_words(note.text), (10**note.x if layout.xaxis.type == "log" else note.x, 0.98),
                xycoords=("data", "axes fraction"), xytext=(-2 if before else 2, 0), textcoords="offset points",
                rotation=90, ha="right" if before else "left", va="top", fontsize=7, color=note.font.color,
            )  # fmt: skip
            continue
        axes.annotate(
            plain_words(note.text), (note.x, note.y), xytext=(POINTS * (note.xshift or 0), 0),
            textcoords="offset points", weight="bold", ha="center", va="center",
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
            axis.set_ticks(list(settings.tickvals), [plain_words(text) for text in settings.ticktext])
            axis.minorticks_off()
        if (step := settings.dtick) is not None:
            low, high = sorted(settings.range)
            axis.set_ticks([tick * step for tick in range(math.ceil(low / step), int(high // step) + 1)])
        if settings.visible is False:
            axis.set_visible(False)
            axes.spines["bottom" if name == "x" else "left"].set_visible(False)
        axis.set_label_text(plain_words(settings.title.text))
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
        axis.set_label_text(plain_words(settings.title.text))
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
