"""Colours that all figures have in common, and what Plotly needs to draw on a light or a dark page."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any

import plotly.graph_objects as go

# Blue, orange and green differ for every kind of colour vision, and the dashes differ without any.
SETS = {
    "": ("#3b82d6", "solid"),
    "train_": ("#e0861c", "dash"),
    "holdout_": ("#2f9e74", "dot"),
}
MORE = ("#a45bd0", "#d6508f", "#7d8a1f", "#0d97b0", "#96705a")
"""Colours where there are more things to tell apart than sets."""
DASHES = ("dot", "dashdot", "dash", "solid")
THRESHOLD = "#e0475b"
CERTIFIED = "#0f766e"
CERTIFIED_BAND = "rgba(20, 160, 140, 0.18)"
# No colour of the scale is near white or black: both themes must show the lowest and the highest loss.
LOSS_SCALE = ((0.0, "#2c7fd1"), (0.4, "#8a63d2"), (0.7, "#d6508f"), (1.0, "#f2862f"))
NOT_FINITE = "#8b919c"
LOG_RATIO = 50.0
"""Beyond this ratio of the largest to the smallest loss, a linear axis would hide the small ones."""


def wide(values: Sequence[float]) -> bool:
    """Whether values are positive and so far apart that a linear axis would hide the small ones.

    >>> wide([0.001, 1.0]), wide([0.5, 1.0]), wide([0.0, 1.0]), wide([])
    (True, False, False, False)
    """
    return bool(values) and min(values) > 0 and max(values) > LOG_RATIO * min(values)


def vertical_axis(label: str, values: Sequence[float]) -> dict[str, Any]:
    """The axis of these values, which says so where it is logarithmic."""
    return {"title": {"text": f"{label} (log scale)"}, "type": "log"} if wide(values) else {"title": {"text": label}}


def styles_of(prefixes: Sequence[str]) -> dict[str, tuple[str, str]]:
    """Colour and dash of each data set, told by what its quantities begin with; the three usual ones as always.

    >>> styles_of(("", "train_", "shifted_"))["shifted_"]
    ('#2f9e74', 'dot')
    """
    free = [SETS["holdout_"][0], *MORE] if "holdout_" not in prefixes else list(MORE)
    others = [prefix for prefix in prefixes if prefix not in SETS]
    return SETS | {
        prefix: (free[number % len(free)], DASHES[number // len(free) % len(DASHES)])
        for number, prefix in enumerate(others)
    }


@cache  # a figure copies it
def theme(*, dark: bool) -> go.layout.Template:
    """Ink, grid and fonts for light or dark surroundings; the background stays that of the page.

    >>> theme(dark=True).layout.font.color
    '#d8dce4'
    """
    ink, muted, grid, surface = (
        ("#d8dce4", "#6d7686", "#3a404c", "#1b1f27") if dark else ("#2b313c", "#9aa3b2", "#e2e5ea", "#ffffff")
    )
    axis = {"gridcolor": grid, "linecolor": grid, "zeroline": False, "exponentformat": "power"}
    spatial = {"gridcolor": grid, "linecolor": grid, "zeroline": False, "showbackground": False, "color": muted}
    return go.layout.Template(
        layout={
            "font": {"family": "system-ui, -apple-system, 'Segoe UI', Roboto, sans-serif", "size": 13, "color": ink},
            "paper_bgcolor": "rgba(0,0,0,0)",
            "plot_bgcolor": "rgba(0,0,0,0)",
            "margin": {"l": 64, "r": 12, "t": 12, "b": 48},
            "legend": {"orientation": "h", "yanchor": "bottom", "y": 1.02, "x": 0},
            "hoverlabel": {"bgcolor": surface, "bordercolor": grid, "font": {"color": ink}},
            "modebar": {"bgcolor": "rgba(0,0,0,0)", "color": muted, "activecolor": ink},
            "shapedefaults": {"line": {"color": grid, "width": 1}},
            "xaxis": axis,
            "yaxis": axis,
            "scene": {f"{name}axis": spatial for name in "xyz"},
        },
        data={
            "scatter": [{"line": {"color": ink}, "marker": {"line": {"color": surface}}}],
            "scatter3d": [{"line": {"color": ink}, "textfont": {"color": ink}}],
            "bar": [{"marker": {"line": {"color": surface}}}],
        },
    )
