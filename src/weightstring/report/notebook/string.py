"""A string and a certificate in a notebook."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import plotly.graph_objects as go

from weightstring.path import BARRIERS, WeightString
from weightstring.proof.certificate import Certificate
from weightstring.report.draw.along import metrics
from weightstring.report.draw.string import string_figure
from weightstring.report.draw.theme import CERTIFIED, theme
from weightstring.report.notebook.view import View
from weightstring.report.run.sections.along import along_figure
from weightstring.report.string.page import StringData, in_numbers

Figures = dict[str, Callable[[], go.Figure]]


def string_view(string: WeightString) -> View:
    """A string by itself: measured, not searched."""
    evaluation = string.problem.evaluation if string.problem is not None else ""
    data = StringData(in_numbers(string), list(string), evaluation, {})
    barriers = ", ".join(f"{name} {string.barrier(name):.4g}" for name in BARRIERS)
    return View(
        heading=f"a string of {len(string)} beads" if len(string) > 2 else "a straight line between two models",
        facts=[
            ("length, of all parameters", f"{string.length:.4g}, {string.normalized_length:.4f} of the ends' distance"),
            (f"barriers of the {data.labels['loss']}, sampled", barriers),
            ("samples", str(len(string.curve.s))),
        ],
        figures=figures_of(data),
        rows=partial(samples_of, string),
    )


def figures_of(data: StringData) -> Figures:
    """Every metric along a string, and the string in weight space, by name."""
    along: Figures = {name: partial(along_figure, data, name) for name in metrics(data.string.curve)}
    return {**along, "string": partial(string_figure, data.string.curve, data.beads)}


def samples_of(string: WeightString) -> Sequence[Mapping[str, Any]]:
    """A row a sample: where it lies, and every quantity there."""
    curve = string.curve
    columns = {"s": curve.s, "segment": curve.segment, "t": curve.t, **curve.values}
    return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]


def certificate_view(certificate: Certificate) -> View:
    """What was proved, and where it is how tight."""
    threshold = [("threshold", certificate.beside_threshold)] if certificate.threshold is not None else []
    return View(
        heading=f"certified: {certificate.quantity} at most {certificate.upper_bound:.6g} on the whole string",
        tone={True: "good", False: "open", None: ""}[certificate.holds],
        facts=[
            ("evidence", "certified: on every point, in real arithmetic"),
            *threshold,
            ("largest sample", f"{certificate.largest_sample:.6g}"),
            ("intervals", str(certificate.intervals)),
            ("computed in", f"{certificate.dtype}, {certificate.seconds:.1f} s"),
        ],
        figures={"bounds": partial(_bounds, certificate)},
        rows=lambda: [piece._asdict() for piece in certificate.partition],
    )


def _bounds(certificate: Certificate) -> go.Figure:
    """The bound of each interval, the segments side by side, each of width 1."""
    figure = go.Figure(layout={"template": theme(dark=False)})
    pieces = [(p.segment + p.low, p.segment + p.high, p.bound) for p in certificate.partition]
    figure.add_scatter(
        x=[place for low, high, _ in pieces for place in (low, high)],
        y=[bound for *_, bound in pieces for _ in range(2)],
        name="certified upper bound", mode="lines", line={"color": CERTIFIED, "width": 1.5},
    )  # fmt: skip
    if certificate.threshold is not None:
        figure.add_scatter(
            x=[0, pieces[-1][1]], y=[certificate.threshold] * 2, mode="lines", line={"dash": "dash", "width": 1.5},
            name=f"threshold {certificate.threshold:.6g}",
        )  # fmt: skip
    figure.update_layout(
        xaxis={"title": {"text": "segment + t"}, "range": [0, pieces[-1][1]]},
        yaxis={"title": {"text": f"bound of the {certificate.quantity}"}},
    )
    return figure
