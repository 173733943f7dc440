"""What was measured at the two ends."""

from __future__ import annotations

from weightstring.report.html import template
from weightstring.report.run.data import Shown
from weightstring.report.section import Section


def ends(run: Shown) -> Section:
    return Section("Ends", template("run/sections/ends.html", run=run))
