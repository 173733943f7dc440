"""Every metric along the string, against arc length, and what is proved of it."""

from __future__ import annotations

from itertools import accumulate

import plotly.graph_objects as go

from weightstring.path.quantities import split_quantity
from weightstring.report.draw.along import draw_certified, loss_figure, metrics
from weightstring.report.html import template
from weightstring.report.run.data import Shown
from weightstring.report.section import Drawing, Section


def along(run: Shown) -> Section:
    names, samples = metrics(run.string.curve), len(run.string.curve.s)
    return Section(
        "Loss along the string",
        template("run/sections/along.html", samples=samples, metrics=names, run=run),
        {"along": [Drawing(f"along-{name}", along_figure(run, name), label=name) for name in names]},
    )


def along_figure(run: Shown, metric: str) -> go.Figure:
    """One metric along the string, with what is proved of it."""
    curve, certificate = run.string.curve, run.certificate
    line = None if run.line is None or run.string.beads == 2 else run.line.curve
    figure = loss_figure(
        curve, metric, threshold=run.threshold, bound=run.bound, measured_on=run.measured_on, line=line
    )
    if certificate is not None and split_quantity(certificate.quantity, curve.values)[1] == metric:
        draw_certified(figure, _bounds(run), (curve.s, curve.values[certificate.quantity]))
    return figure


def _bounds(run: Shown) -> list[tuple[float, float, float]]:
    """The pieces of the certificate: from and to, as shares of the string's length, and the bound between them."""
    lengths = [segment.length for segment in run.string.segments]
    whole = sum(lengths) or 1.0
    starts = [before / whole for before in accumulate(lengths, initial=0.0)]

    def place(segment: int, t: float) -> float:
        return starts[segment] + t * lengths[segment] / whole

    assert run.certificate is not None
    pieces = run.certificate.partition
    return [(place(piece.segment, piece.low), place(piece.segment, piece.high), piece.bound) for piece in pieces]
