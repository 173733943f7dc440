"""Every segment of the string: its length, its largest sample, and how far that is from the threshold."""

from __future__ import annotations

from weightstring.report.html import template
from weightstring.report.run.data import Shown
from weightstring.report.section import Section


def segments(run: Shown) -> Section:
    return Section("Segments", template("run/sections/segments.html", run=run))
