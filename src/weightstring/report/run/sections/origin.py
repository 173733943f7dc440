"""Which files the ends came from, when the run began, and by what command."""

from __future__ import annotations

from weightstring.report.html import template
from weightstring.report.run.data import RunData
from weightstring.report.section import Section
from weightstring.runs.summary import origin as rows_of


def origin(run: RunData) -> Section:
    rows = [
        (label, value, label == "command" and bool(run.manifest.provenance.command))
        for label, value in rows_of(run.manifest)
    ]
    return Section("Where it comes from", template("run/sections/origin.html", rows=rows))
