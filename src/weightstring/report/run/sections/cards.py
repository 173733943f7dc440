"""The numbers of a run that are asked for first."""

from __future__ import annotations

from weightstring.report.html import template
from weightstring.report.run.data import RunData
from weightstring.report.section import Section


def cards(run: RunData) -> Section:
    return Section("", template("run/sections/cards.html", run=run))
