"""The figures of a sweep as files for a paper."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from weightstring.report.draw.files import DASHES, SIZE, SYMBOLS, write_figures
from weightstring.report.draw.theme import NOT_FINITE, THRESHOLD
from weightstring.report.sweep.chart import Chart, Series, ticks
from weightstring.report.sweep.data import read_sweep
from weightstring.report.sweep.figures import FAINT, look_of
from weightstring.report.sweep.page import panels_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.axis import Axis
    from matplotlib.figure import Figure


def export_figures(sweep_dir: str | os.PathLike[str], folder: str | os.PathLike[str]) -> list[Path]:
    """Write every figure of a sweep's page as SVG, PDF and PNG.

    Args:
        sweep_dir: the sweep's directory.
        folder: where to; made if it is not there.

    Returns:
        The files, three a figure.

    Raises:
        InvalidSetting: matplotlib is not installed.
        InvalidRun: there is no sweep, not one pair is finished, or a file is damaged.
        StoreFailed: the disk refuses.
    """
    charts = [chart for panel in panels_of(read_sweep(sweep_dir)) for chart in panel.charts]
    return write_figures(folder, lambda: ((chart.name, drawn(chart)) for chart in charts))


def drawn(chart: Chart) -> Figure:
    """A chart as a figure of matplotlib, which is in no window and on no list."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=SIZE, layout="constrained")
    axes = figure.add_subplot()
    for one in chart.series:
        if one.shown:
            _draw(axes, one)
    low, high = chart.x_ends
    if chart.x_log:
        axes.set_xscale("log")
        _label(axes.xaxis, chart.x_ticks or ticks(low, high))
    if chart.categories:
        axes.set_xticks(range(len(chart.categories)), chart.categories)
    axes.set_xlim(low, high)
    if chart.y_log:
        axes.set_yscale("log", nonpositive="clip")
        axes.set_ylim(*chart.y_ends)
        _label(axes.yaxis, ticks(*chart.y_ends))
    if chart.y_range:
        axes.set_ylim(*chart.y_range)
    for level, after in chart.named_levels:
        axes.axvline(level.value, color=NOT_FINITE, linewidth=0.8, linestyle=":")
        axes.annotate(
            level.name, (level.value, 0.98), xycoords=("data", "axes fraction"), xytext=(2 if after else -2, 0),
            textcoords="offset points", rotation=90, ha="left" if after else "right", va="top", fontsize=7,
            color=NOT_FINITE,
        )  # fmt: skip
    axes.set_xlabel(chart.x_title)
    axes.set_ylabel(chart.y_title)
    if named := len(axes.get_legend_handles_labels()[0]):
        # Above the axes: inside there are points everywhere.
        figure.legend(loc="outside upper center", frameon=False, fontsize=8, ncols=min(5, named))
    return figure


def _label(axis: Axis, places: Sequence[float]) -> None:
    from matplotlib.ticker import NullLocator

    axis.set_ticks(places, [f"{place:g}" for place in places])
    axis.set_minor_locator(NullLocator())


def _draw(axes: Axes, one: Series) -> None:
    colour, dash, symbol = look_of(one.look)
    looks: dict[str, dict[str, Any]] = {
        "mean": {"linestyle": DASHES[dash], "marker": SYMBOLS[symbol], "markersize": 4.5, "linewidth": 1.4},
        "pairs": {"linestyle": "", "marker": SYMBOLS[symbol], "markersize": 3.5, "alpha": FAINT, "markeredgewidth": 0},
        "open": {"linestyle": "", "marker": "x", "markersize": 4.5},
        "fit": {"linestyle": "--", "linewidth": 1},
        "unresolved": {"linestyle": ":", "marker": "x", "markersize": 4.5},
        "disconnected": {"linestyle": ":", "marker": "D", "markersize": 4.5, "fillstyle": "none"},
        "curve": {"linewidth": 1.3},
        "beads": {"linestyle": "", "marker": "o", "markersize": 4.5},
        "threshold": {"color": THRESHOLD, "linewidth": 1},
    }
    # matplotlib leaves out names that begin with an underscore.
    label = f" {one.name}" if one.name.startswith("_") else one.name or None
    line = {"color": colour, "label": label, **looks[one.kind]}
    if one.low:
        axes.errorbar(one.x, one.y, [one.below, one.above], capsize=2, elinewidth=1, **line)
    else:
        axes.plot(one.x, [y if math.isfinite(y) else math.nan for y in one.y], **line)
