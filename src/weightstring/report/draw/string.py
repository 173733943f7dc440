"""The string in the plane that shows most of it: the first two principal components of its beads."""

from __future__ import annotations

from collections.abc import Sequence

import plotly.graph_objects as go
import torch

from weightstring.arrays import Theta, Thetas
from weightstring.report.draw.along import bead_rows
from weightstring.report.draw.projection import places
from weightstring.report.draw.theme import LOSS_SCALE, NOT_FINITE, theme
from weightstring.store.records import CurveRecord


def string_figure(curve: CurveRecord, beads: Thetas | Sequence[Theta]) -> go.Figure:
    """Draw the string in the first two principal components of its beads, coloured by the sampled evaluation loss.

    Both axes have one scale, so lengths and angles in the plane are true. Small points are the samples on the
    straight segments between the beads; the dotted line is the straight line between the ends.

    Args:
        curve: the sampled string.
        beads: its models (B, P), B ≥ 2, in order.

    >>> curve = CurveRecord(s=(0.0, 1.0), segment=(0, 0), t=(0.0, 1.0), values={"loss": (0.1, 0.2)})
    >>> string_figure(curve, torch.tensor([[1.0, 5.0], [3.0, 5.0]])).layout.xaxis.title.text
    'component 1 (100 % of the variance)'

    Raises:
        InvalidRun: curve and beads do not belong together, or a bead holds a weight that is not finite.
    """
    rows = bead_rows(curve, len(beads))
    placed = places(list(beads))
    positions, explained = placed.positions[:, :2], placed.explained[:2]
    corners = positions.tolist()
    losses = curve.values["loss"]
    segments, ts = torch.tensor(curve.segment), torch.tensor(curve.t, dtype=torch.float64)
    samples = torch.lerp(positions[segments], positions[segments + 1], ts[:, None]).tolist()
    figure = go.Figure(layout={"template": theme(dark=False)})
    _add_line(figure, [corners[0], corners[-1]], "straight line between the ends", dash="dot")
    _add_line(figure, corners, "string", dash="solid")
    texts = [
        f"segment {segment}, t = {t:.4g}<br>loss {_text(loss)}"
        for segment, t, loss in zip(curve.segment, curve.t, losses, strict=True)
    ]
    _add_points(figure, samples, losses, texts, "samples", {"size": 6})
    bead_losses = [losses[row] for row in rows]
    names = ["end A", *(f"bead {bead}" for bead in range(1, len(beads) - 1)), "end B"]
    texts = [f"{name}<br>loss {_text(loss)}" for name, loss in zip(names, bead_losses, strict=True)]
    _add_points(figure, corners, bead_losses, texts, "beads", {"size": 12, "line": {"width": 1.5}})
    for name, (x, y), side in (("A", corners[0], -1), ("B", corners[-1], 1)):
        figure.add_annotation(x=x, y=y, text=f"<b>{name}</b>", showarrow=False, xshift=18 * side)
    titles = [f"component {rank} ({100 * share:.3g} % of the variance)" for rank, share in enumerate(explained, 1)]
    if explained[1] == 0 < explained[0]:
        reach = max(abs(x) for x, _ in corners)
        figure.update_yaxes(range=[-reach / 2, reach / 2])  # else plotly shows ±1, whatever the string's length
    figure.update_layout(
        hovermode="closest",
        showlegend=False,
        coloraxis=_colour_axis(losses),
        xaxis={"title": {"text": titles[0]}},
        yaxis={"title": {"text": titles[1]}, "scaleanchor": "x", "scaleratio": 1},
    )
    return figure


def _colour_axis(losses: Sequence[float | None]) -> dict[str, object]:
    finite = [loss for loss in losses if loss is not None]
    bar = {"title": {"text": "loss"}, "thickness": 10, "outlinewidth": 0, "len": 0.9, "yanchor": "bottom", "y": 0}
    # A bar over a single value would make up a range around it.
    return {"colorscale": LOSS_SCALE, "colorbar": bar, "showscale": len(set(finite)) > 1}


def _add_line(figure: go.Figure, points: Sequence[Sequence[float]], name: str, *, dash: str) -> None:
    xs, ys = zip(*points, strict=True)
    figure.add_scatter(x=xs, y=ys, name=name, mode="lines", line={"dash": dash, "width": 1}, hoverinfo="skip")


def _add_points(
    figure: go.Figure,
    points: Sequence[Sequence[float]],
    losses: Sequence[float | None],
    texts: Sequence[str],
    name: str,
    marker: dict[str, object],
) -> None:
    """Points coloured by loss, and grey crosses for those without one: a colour scale has no place for them."""
    finite = [row for row, loss in enumerate(losses) if loss is not None]
    missing = [row for row, loss in enumerate(losses) if loss is None]
    crosses = {"color": NOT_FINITE, "symbol": "x", "size": 9}
    for rows, label, style in (
        (finite, name, {"color": [losses[row] for row in finite], "coloraxis": "coloraxis", **marker}),
        (missing, f"{name}: not finite", crosses),
    ):
        if rows:
            xs, ys = zip(*(points[row] for row in rows), strict=True)
            figure.add_scatter(
                x=xs, y=ys, name=label, mode="markers", marker=style,
                text=[texts[row] for row in rows], hovertemplate="%{text}<extra></extra>",
            )  # fmt: skip


def _text(loss: float | None) -> str:
    return "not finite" if loss is None else f"{loss:.6g}"
