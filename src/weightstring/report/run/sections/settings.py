"""What determined the run, and repeats it."""

from __future__ import annotations

from weightstring.report.html import template
from weightstring.report.run.data import RunData
from weightstring.report.section import Section


def settings(run: RunData) -> Section:
    return Section("Settings", template("run/sections/settings.html", run=run))
