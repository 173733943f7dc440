"""Where the proof is loose: how far each segment's bound lies above the loss, and which operations put it there."""

from __future__ import annotations

from weightstring.report.draw.looseness import looseness_figure, operation
from weightstring.report.html import template
from weightstring.report.run.data import Shown
from weightstring.report.section import Drawing, Section

NAMED = 3
"""Operations named of each segment in the table."""


def looseness(run: Shown) -> Section | None:
    if run.certificate is None or not run.certificate.looseness:
        return None
    found = run.certificate.looseness
    bounds = {(piece.segment, piece.low): piece.bound for piece in run.certificate.partition}
    counts = [sum(piece.segment == each.segment for piece in run.certificate.partition) for each in found]
    rows = [
        (each, bounds[each.segment, each.low], count, [(operation(c.where), c.share) for c in each.causes[:NAMED]])
        for each, count in zip(found, counts, strict=True)
    ]
    html = template("run/sections/looseness.html", rows=rows, all=len(found) == run.string.beads - 1)
    drawing = Drawing("looseness", looseness_figure(found))
    return Section("Where the proof is loose", html, {"looseness": [drawing]})
