"""The loss on the plane through three models, as contours, with the string projected on it."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain

import plotly.graph_objects as go

from weightstring.arrays import Theta, Thetas
from weightstring.codec import finite_or_none
from weightstring.path import WeightString
from weightstring.path.plane import RESOLUTION, Plane, plane
from weightstring.protocol import LossProblem
from weightstring.report.draw.colours import Colours, short
from weightstring.report.draw.theme import THRESHOLD, theme
from weightstring.store.plane_record import PlaneRecord

ON_PLANE = 1e-6
"""A bead nearer to the plane than this share of the plane's size lies on it: what is left is rounding."""


def plane_figure(
    problem: LossProblem,
    a: Theta,
    b: Theta,
    c: Theta,
    string: WeightString | Thetas | Sequence[Theta] = (),
    *,
    resolution: int = RESOLUTION,
    threshold: float | None = None,
) -> go.Figure:
    """Measure the evaluation loss on the plane through any three models, and draw it.

    Args:
        problem: the loss.
        a: the first of the three models (P,), and
        b: the second, towards which the first axis runs;
        c: the third.
        string: what is projected on the plane.
        resolution: grid points a side.
        threshold: L0, drawn as the contour of its level.

    Raises:
        InvalidCheckpoint: a model is not the problem's.
        InvalidSetting: the three lie on one line, or the resolution is out of range.

    >>> from weightstring.problem.surfaces import Ring
    >>> a, b = Ring(size=3).ends
    >>> figure = plane_figure(Ring(size=3), a, b, 2 * a + b, resolution=4)
    >>> [trace.type for trace in figure.data]
    ['contour', 'scatter']
    """
    measured = plane(problem, string, resolution, (a, b, c))
    return draw_plane(to_record(measured), threshold, " and ".join(measured.names))


def to_record(measured: Plane, beads_sha256: str = "") -> PlaneRecord:
    """The form on disk, without the models. Losses that are not finite become null.

    Args:
        measured: the plane.
        beads_sha256: of the bead file of the string.
    """
    first, second, third = (_pair(corner) for corner in measured.corners.tolist())
    return PlaneRecord(
        names=measured.names,
        x=tuple(measured.x.tolist()),
        y=tuple(measured.y.tolist()),
        losses=tuple(tuple(map(finite_or_none, row)) for row in measured.losses.tolist()),
        corners=(first, second, third),
        beads=tuple(_pair(bead) for bead in measured.beads.tolist()),
        distances=tuple(measured.distances.tolist()),
        beads_sha256=beads_sha256,
    )


def draw_plane(measured: PlaneRecord, threshold: float | None = None, label: str = "loss") -> go.Figure:
    """Draw a plane: filled contours of the loss, that of the threshold as a line, the string, and the three models.

    Args:
        measured: what was measured.
        threshold: L0; None for no line.
        label: what was measured, in words.
    """
    colours = Colours.over(chain.from_iterable(measured.losses))
    figure = go.Figure(layout={"template": theme(dark=False)})
    grid = {
        "x": [short(x) for x in measured.x],
        "y": [short(y) for y in measured.y],
        "z": [[colours.place(loss) for loss in row] for row in measured.losses],
    }
    texts = [["not finite" if loss is None else f"{loss:.6g}" for loss in row] for row in measured.losses]
    figure.add_contour(
        **grid, name=label, coloraxis="coloraxis", ncontours=24, line={"width": 0}, text=texts,
        hovertemplate=f"{label} %{{text}}<br>(%{{x:.4g}}, %{{y:.4g}})<extra></extra>", connectgaps=False,
    )  # fmt: skip
    if threshold is not None and (not colours.logarithmic or threshold > 0):
        level = colours.place(threshold)
        figure.add_contour(
            **grid, name=f"threshold {threshold:.6g}", showscale=False, hoverinfo="skip",
            contours={"type": "constraint", "operation": "=", "value": level}, line={"color": THRESHOLD, "width": 2},
        )  # fmt: skip
    if measured.beads:
        _add_string(figure, measured)
    figure.add_scatter(
        x=[short(x) for x, _ in measured.corners], y=[short(y) for _, y in measured.corners], name="the three models",
        mode="markers+text", text=["<b>A</b>", "<b>B</b>", "<b>C</b>"], textposition="top center",
        textfont={"color": "#ffffff", "size": 15}, showlegend=False, hoverinfo="skip",
        marker={"size": 10, "color": "#ffffff", "line": {"width": 1.5, "color": "#1c2129"}},
    )  # fmt: skip
    figure.update_layout(
        hovermode="closest",
        showlegend=False,
        coloraxis=colours.axis(label),
        xaxis={"title": {"text": "distance along A – B"}, "showgrid": False, "range": [measured.x[0], measured.x[-1]]},
        yaxis={
            "title": {"text": "across, towards C"}, "showgrid": False, "range": [measured.y[0], measured.y[-1]],
            "scaleanchor": "x", "scaleratio": 1, "constrain": "domain",
        },
    )  # fmt: skip
    figure.update_xaxes(constrain="domain")
    return figure


def _add_string(figure: go.Figure, measured: PlaneRecord) -> None:
    """The projected string; a bead that lies off the plane is an empty circle."""
    size = max(measured.x[-1] - measured.x[0], measured.y[-1] - measured.y[0])
    last = len(measured.beads) - 1
    names = ["end A" if k == 0 else "end B" if k == last else f"bead {k}" for k in range(last + 1)]
    symbols = ["circle" if distance <= ON_PLANE * size else "circle-open" for distance in measured.distances]
    figure.add_scatter(
        x=[short(x) for x, _ in measured.beads], y=[short(y) for _, y in measured.beads], name="string, projected",
        showlegend=False, mode="lines+markers", line={"color": "#ffffff", "width": 2},
        marker={"size": 8, "symbol": symbols, "color": "#ffffff", "line": {"width": 2, "color": "#ffffff"}},
        text=[f"{name}<br>{d:.4g} from the plane" for name, d in zip(names, measured.distances, strict=True)],
        hovertemplate="%{text}<extra></extra>",
    )  # fmt: skip


def _pair(point: Sequence[float]) -> tuple[float, float]:
    x, y = point
    return x, y
