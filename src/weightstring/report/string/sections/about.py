"""By what the string was measured, and between which models."""

from __future__ import annotations

from weightstring.report.html import template
from weightstring.report.section import Section
from weightstring.report.string.page import StringData


def about(data: StringData) -> Section:
    return Section("Measured by", template("string/sections/about.html", data=data))
