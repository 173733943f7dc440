"""Every line in numbers, and as a file to download."""

from __future__ import annotations

import csv
import io

from weightstring.path import BARRIERS
from weightstring.report.html import data_uri, source, template
from weightstring.report.section import Section
from weightstring.study.lines import Matrix

ROWS = 500
"""Lines that the table shows at most; the file to download has all."""


def lines(matrix: Matrix) -> Section:
    rows = matrix.to_rows()
    text = io.StringIO()
    writer = csv.DictWriter(text, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    html = template(
        "matrix/sections/lines.html",
        matrix=matrix,
        rows=rows[:ROWS],
        total=len(rows),
        columns=[*BARRIERS, "t", "length"],
        table=data_uri(text.getvalue()),
    )
    return Section("Every line", html, script=source("sweep/sections/download.js"))
