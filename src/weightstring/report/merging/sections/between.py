"""Of two models: the loss from one to the other, on the line as given, on the aligned one, and on the string."""

from __future__ import annotations

from weightstring.path.string_curve import StringCurve
from weightstring.report.draw.between import between_figure
from weightstring.report.html import template
from weightstring.report.section import Drawing, Section
from weightstring.study.mergeability import Mergeability


def between(found: Mergeability) -> Section | None:
    if len(found.models) != 2 or found.lines is None:
        return None
    lines = found.lines.lines[0, 1]
    curves: dict[str, StringCurve] = {"line": lines.given.curve}
    if lines.aligned is not None:
        curves["line to the aligned copy"] = lines.aligned.curve
    if found.string is not None:
        curves["string"] = found.string
    names = list(found.models)
    samples = {name: len(curve.s) for name, curve in curves.items()}
    html = template("merging/sections/between.html", names=names, samples=samples, moved=_moved(found))
    figure = between_figure(curves, "loss", found.label("loss"))
    return Section("From one to the other", html, {"between": [Drawing("between", figure)]})


def _moved(found: Mergeability) -> str:
    """Which of the two the aligned copy is of."""
    return next(name for name in found.models if name != found.reference)
