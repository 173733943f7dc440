"""A metric along the arc length of a string, drawn from its samples: nothing in between is invented."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise

import plotly.graph_objects as go

from weightstring.errors import InvalidRun, InvalidSetting
from weightstring.path.quantities import quantity_label, set_prefixes, split_quantity
from weightstring.report.draw.theme import (
    CERTIFIED,
    CERTIFIED_BAND,
    SETS,
    THRESHOLD,
    styles_of,
    theme,
    vertical_axis,
)
from weightstring.store.records import CurveRecord

HEADROOM = 4.0
"""What bounds may lie above all else, in heights of the rest, before the axis leaves them out."""


def metrics(curve: CurveRecord) -> tuple[str, ...]:
    """Names of the metrics of a curve, each one standing for its evaluation, training and holdout values.

    >>> metrics(CurveRecord(s=(), segment=(), t=(), values={"loss": (), "train_loss": (), "error": ()}))
    ('loss', 'error')
    """
    return tuple(dict.fromkeys(split_quantity(name, curve.values)[1] for name in curve.values))


def bead_rows(curve: CurveRecord, beads: int) -> list[int]:
    """Where each of the beads lies among the points of the curve.

    >>> bead_rows(CurveRecord(s=(0.0, 0.4, 1.0), segment=(0, 0, 0), t=(0.0, 0.4, 1.0), values={}), 2)
    [0, 2]

    Raises:
        InvalidRun: a bead was not measured, or the curve has segments that the beads do not span.
    """
    spanned = set(range(beads - 1))
    if not spanned.issuperset(curve.segment):
        raise InvalidRun(
            f"the curve lies on segments {min(curve.segment)} to {max(curve.segment)}, but {beads} beads "
            f"span segments 0 to {beads - 2}; pass the beads of the same run"
        )
    rows: dict[int, int] = {}
    for row, (segment, t) in enumerate(zip(curve.segment, curve.t, strict=True)):
        if t in (0.0, 1.0):
            rows.setdefault(segment + int(t), row)
    for bead in range(beads):
        if bead not in rows:
            raise InvalidRun(
                f"the curve has no point at bead {bead} of {beads} (t = 0 or 1 there); measure the string again"
            )
    return [rows[bead] for bead in range(beads)]


def loss_figure(
    curve: CurveRecord,
    metric: str = "loss",
    *,
    threshold: float | None = None,
    bound: Sequence[str] = ("loss",),
    measured_on: str = "evaluation",
    line: CurveRecord | None = None,
) -> go.Figure:
    """Draw one metric along the whole string against arc length, on every data set it was measured on.

    Beads are marked, segment boundaries are thin lines, and a segment with a sampled value of a bound quantity
    over the threshold (or not finite) is shaded.

    Args:
        curve: the sampled string.
        metric: one of :func:`metrics`.
        threshold: L0, drawn where the figure shows a bound quantity; None for no line.
        bound: names of the quantities that the threshold binds.
        measured_on: what to call the data set of the quantities without a prefix.
        line: the straight line between the ends, drawn dotted against its own length: of the evaluation set, and of
            what the threshold binds.

    >>> curve = CurveRecord(s=(0.0, 1.0), segment=(0, 0), t=(0.0, 1.0), values={"loss": (0.1, 0.2)})
    >>> [trace.name for trace in loss_figure(curve, threshold=0.3).data]
    ['evaluation loss', 'beads', 'threshold 0.3']

    Raises:
        InvalidSetting: the curve has no such metric.
        InvalidRun: the curve misses a bead.
    """
    shown = {name: values for name, values in curve.values.items() if split_quantity(name, curve.values)[1] == metric}
    if not shown:
        raise InvalidSetting(f"no metric {metric!r} was measured along the string; choose one of {metrics(curve)}")
    figure = go.Figure(layout={"template": theme(dark=False)})
    styles = styles_of(set_prefixes(curve.values))
    places = [[segment, t] for segment, t in zip(curve.segment, curve.t, strict=True)]
    for name, values in shown.items():
        colour, dash = styles[split_quantity(name, curve.values)[0]]
        figure.add_scatter(
            x=curve.s, y=values, name=quantity_label(name, curve.values, measured_on), mode="lines",
            line={"color": colour, "dash": dash, "width": 2}, customdata=places,
            hovertemplate="%{y:.6g} (segment %{customdata[0]}, t = %{customdata[1]:.4g})",
        )  # fmt: skip
    rows = bead_rows(curve, max(curve.segment) + 2)
    _mark_beads(figure, [curve.s[row] for row in rows], [next(iter(shown.values()))[row] for row in rows])
    mark_not_finite(figure, [s for s, *values in zip(curve.s, *shown.values(), strict=True) if None in values])
    beside = {} if line is None else _on_line(line, shown, bound)
    for name, on_line in beside.items():
        figure.add_scatter(
            x=line.s if line is not None else (), y=on_line, mode="lines",
            name=f"straight line: {quantity_label(name, curve.values, measured_on)}",
            line={"color": styles[split_quantity(name, curve.values)[0]][0], "dash": "dot", "width": 1.5},
            hovertemplate="%{y:.6g}",
        )  # fmt: skip
    finite = [value for values in (*shown.values(), *beside.values()) for value in values if value is not None]
    if threshold is not None and any(name in shown for name in bound):
        finite.append(threshold)
        figure.add_scatter(
            x=[-0.02, 1.02], y=[threshold, threshold], name=f"threshold {threshold:.6g}", mode="lines",
            line={"color": THRESHOLD, "width": 1.5}, hoverinfo="skip",
        )  # fmt: skip
        _shade_over(figure, curve.s, rows, threshold, [shown[name] for name in bound if name in shown])
    horizontal = {"title": {"text": "arc length s / length"}, "range": [-0.02, 1.02], "hoverformat": ".4g"}
    figure.update_layout(
        hovermode="x unified", xaxis=horizontal | {"showgrid": False}, yaxis=vertical_axis(metric, finite)
    )
    return figure


def _on_line(
    line: CurveRecord, shown: Mapping[str, Sequence[float | None]], bound: Sequence[str]
) -> dict[str, Sequence[float | None]]:
    """Of what is shown of a string, what is of the straight line: its first quantity, and those that are bound."""
    names = dict.fromkeys([next(iter(shown)), *(name for name in bound if name in shown)])
    return {name: line.values[name] for name in names if name in line.values}


def mark_not_finite(figure: go.Figure, where: Sequence[float], name: str = "not finite") -> None:
    """Crosses along the upper edge, on an axis of their own: a loss that is not finite has no height."""
    if where:
        figure.add_scatter(
            x=where, y=[0.97] * len(where), yaxis="y2", name=name, mode="markers",
            marker={"symbol": "x", "size": 9, "color": THRESHOLD}, hovertemplate="not finite<extra></extra>",
        )  # fmt: skip
        figure.update_layout(yaxis2={"overlaying": "y", "range": [0, 1], "visible": False, "fixedrange": True})


def draw_certified(
    figure: go.Figure,
    pieces: Sequence[tuple[float, float, float]],
    curve: tuple[Sequence[float], Sequence[float | None]],
) -> None:
    """Draw a certificate's upper bounds as a band above the sampled curve.

    Where a proof did not reach its threshold a bound may be far above all else: the axis then ends where the rest can
    still be told apart, and the legend says how far the bounds go on.

    Args:
        figure: of the quantity that is certified.
        pieces: (from, to, bound), in order along the string, from 0 to 1.
        curve: the sampled quantity, arc lengths and values.

    >>> curve = CurveRecord(s=(0.0, 1.0), segment=(0, 0), t=(0.0, 1.0), values={"loss": (0.1, 0.2)})
    >>> figure = loss_figure(curve)
    >>> draw_certified(figure, [(0.0, 0.5, 0.2), (0.5, 1.0, 0.25)], (curve.s, curve.values["loss"]))
    >>> figure.data[-1].name
    'certified upper bound'
    """
    drawn = [y for trace in figure.data for y in trace.y or () if y is not None and trace.yaxis != "y2"]
    low, high, most = min(drawn, default=0.0), max(drawn, default=0.0), max(bound for *_, bound in pieces)
    top = high + HEADROOM * (high - low)
    beyond = low < high and most > top and figure.layout.yaxis.type != "log"
    further = f", up to {most:.3g}" if beyond else ""
    if beyond:
        figure.update_layout(yaxis={"range": [low - 0.05 * (top - low), top]})
    figure.add_scatter(
        x=curve[0], y=curve[1], mode="lines", line={"width": 0}, showlegend=False, hoverinfo="skip",
    )  # fmt: skip
    figure.add_scatter(
        x=[s for low, high, _ in pieces for s in (low, high)],
        y=[bound for *_, bound in pieces for _ in range(2)],
        name="certified upper bound" + further, mode="lines", line={"color": CERTIFIED, "width": 1},
        fill="tonexty", fillcolor=CERTIFIED_BAND, hovertemplate="at most %{y:.6g}",
    )  # fmt: skip


def _mark_beads(figure: go.Figure, places: Sequence[float], values: Sequence[float | None]) -> None:
    figure.add_scatter(
        x=places, y=values, name="beads", mode="markers", hoverinfo="skip",
        marker={"size": 8, "color": SETS[""][0], "line": {"width": 1.5}},
    )  # fmt: skip
    for s in places:
        figure.add_shape(x0=s, x1=s, y0=0, y1=1, yref="paper", layer="below")


def _shade_over(
    figure: go.Figure, s: Sequence[float], rows: list[int], threshold: float, bound: list[Sequence[float | None]]
) -> None:
    for first, last in pairwise(rows):
        sampled = [value for values in bound for value in values[first : last + 1]]
        if any(value is None or value > threshold for value in sampled):
            figure.add_shape(
                type="rect", x0=s[first], x1=s[last], y0=0, y1=1, yref="paper", layer="below",
                fillcolor=THRESHOLD, opacity=0.1, line={"width": 0},
            )  # fmt: skip
