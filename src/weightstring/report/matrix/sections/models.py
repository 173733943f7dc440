"""What was measured at each of the models."""

from __future__ import annotations

from weightstring.report.html import template
from weightstring.report.section import Section
from weightstring.study.lines import Matrix


def models(matrix: Matrix) -> Section:
    rows = zip(matrix.names, matrix.ends, strict=True)
    html = template("matrix/sections/models.html", matrix=matrix, quantities=list(matrix.ends[0]), rows=list(rows))
    return Section("Models", html)
