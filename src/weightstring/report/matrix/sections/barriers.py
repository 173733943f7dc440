"""Every barrier of all lines, as given and aligned, as a map of colours."""

from __future__ import annotations

from weightstring.codec import finite_or_none
from weightstring.path import BARRIERS
from weightstring.report.draw.heat import heat_figure
from weightstring.report.html import template
from weightstring.report.run.sections.barriers import BARRIERS as DEFINITIONS
from weightstring.report.section import Drawing, Section
from weightstring.study.lines import Matrix, Square

ORDER = ("over_mean", *(name for name in BARRIERS if name != "over_mean"))


def barriers(matrix: Matrix) -> Section:
    kinds = {"": False, ", aligned": True} if matrix.aligned else {"": False}
    drawings = [
        _drawing(matrix, f"{name}{words}", matrix.barriers(name, aligned=aligned), DEFINITIONS[name])
        for name in ORDER
        for words, aligned in kinds.items()
    ]
    drawings += [
        _drawing(matrix, f"length{words}", matrix.lengths(aligned=aligned), "the distance of the two models")
        for words, aligned in kinds.items()
    ]
    labels, captions = [drawing.label for drawing in drawings], [drawing.caption for drawing in drawings]
    said = [_extremes(matrix, aligned) for aligned in kinds.values()]
    html = template("matrix/sections/barriers.html", matrix=matrix, labels=labels, captions=captions, said=said)
    return Section("Barriers", html, {"barriers": drawings})


def _extremes(matrix: Matrix, aligned: bool) -> str:
    """Between which barriers all lines are, and which models they join, in a sentence."""
    table = matrix.barriers("over_mean", aligned=aligned)
    pairs = sorted(matrix.lines, key=lambda pair: float(table[pair]))
    told = [f"{table[i, j]:.4g} ({matrix.names[i]} and {matrix.names[j]})" for i, j in (pairs[0], pairs[-1])]
    which = "lines to aligned copies" if aligned else "straight lines"
    span = f"from {told[0]} to {told[1]}" if len(pairs) > 1 else told[0]
    return f"Barriers of the {len(pairs)} {which}, over the mean of their ends: {span}."


def _drawing(matrix: Matrix, label: str, table: Square, caption: str) -> Drawing:
    rows = [[finite_or_none(value) for value in row] for row in table.tolist()]
    return Drawing(label.replace(", ", "-"), heat_figure(matrix.names, rows, label), label, caption)
