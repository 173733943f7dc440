"""Every pair in numbers, with a link to the page of its search, and as a file to download."""

from __future__ import annotations

import csv
import io

from weightstring.report.atlas.page import AtlasPage
from weightstring.report.html import data_uri, source, template
from weightstring.report.section import Section

ROWS = 500
"""Pairs that the table shows at most; the file to download has all."""


def pairs(page: AtlasPage) -> Section:
    rows = page.atlas.to_rows()
    text = io.StringIO()
    writer = csv.DictWriter(text, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    order = sorted(rows, key=lambda row: (not row["tree"], row["string"] is None, row["line"]))
    html = template(
        "atlas/sections/pairs.html",
        rows=order[:ROWS],
        total=len(rows),
        pages=page.pages,
        certified=any(row["certified"] is not None for row in rows),
        threshold=page.atlas.threshold,
        table=data_uri(text.getvalue()),
    )
    return Section("Pairs", html, script=source("sweep/sections/download.js"))
