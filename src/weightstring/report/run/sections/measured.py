"""The finished string on other data, measured since: each curve beside the run's own."""

from __future__ import annotations

import plotly.graph_objects as go

from weightstring.path import BARRIERS
from weightstring.report.draw.along import loss_figure, metrics
from weightstring.report.draw.theme import NOT_FINITE
from weightstring.report.html import template
from weightstring.report.run.data import RunData
from weightstring.report.section import Drawing, Section
from weightstring.runs.recording import curve_of
from weightstring.store.measured import MeasuredRecord


def measured(run: RunData) -> Section | None:
    if not run.measured:
        return None
    drawings = [
        Drawing(f"measured-{record.name}-{metric}", _figure(run, record, metric), label=f"{record.name}: {metric}")
        for record in run.measured
        for metric in metrics(record.curve)
    ]
    html = template(
        "run/sections/measured.html",
        run=run,
        labels=[drawing.label for drawing in drawings],
        rows=[(record, _rows(record)) for record in run.measured],
        barriers=BARRIERS[1:],
    )
    return Section("On other data", html, {"measured": drawings})


def _figure(run: RunData, record: MeasuredRecord, metric: str) -> go.Figure:
    """One metric of one curve, and the run's own of the same name behind it."""
    own = run.result.string.curve
    on = "evaluation" if record.evaluation == "evaluate" else "training"
    figure = loss_figure(record.curve, metric, bound=(), measured_on=on)
    for trace in figure.data:
        trace.name = f"{record.name}: {trace.name}"
    if metric in own.values:
        figure.add_scatter(
            x=own.s, y=own.values[metric], name=f"the run's own: {run.labels[metric]}", mode="lines",
            line={"color": NOT_FINITE, "dash": "dot", "width": 1.5}, hovertemplate="%{y:.6g}",
        )  # fmt: skip
    return figure


def _rows(record: MeasuredRecord) -> list[tuple[str, list[float]]]:
    """Every quantity: at both ends, the largest sample, and the other barriers."""
    curve = curve_of(record.curve)
    return [
        (name, [values[0], values[-1], *(curve.barrier(barrier, name) for barrier in BARRIERS)])
        for name, values in curve.values.items()
    ]
