"""Every pair in numbers, and as a file to download."""

from __future__ import annotations

from weightstring.report.html import data_uri, source, template
from weightstring.report.run.sections.barriers import BARRIERS
from weightstring.report.section import Section
from weightstring.report.sweep.data import SweepData
from weightstring.report.sweep.words import bound_words
from weightstring.study.sweep.table import as_csv

ROWS = 500
"""Pairs that the table shows at most; the file to download has all."""

EMBEDDED = 20_000
"""Pairs up to which the page holds the file, at half a kilobyte each: of more it would be too large to be opened."""


def pairs(sweep: SweepData) -> Section:
    html = template(
        "sweep/sections/pairs.html",
        rows=[row for name in sweep.names for row in sweep.pairs(name)][:ROWS],
        total=len(sweep.rows),
        barriers=BARRIERS,
        bound=bound_words(sweep),
        table_csv=data_uri(as_csv(sweep.rows)) if len(sweep.rows) <= EMBEDDED else None,
    )
    return Section("Every pair", html, script=source("sweep/sections/download.js"))
