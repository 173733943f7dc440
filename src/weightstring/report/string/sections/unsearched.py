"""What stands behind the page, and the numbers that are asked for first."""

from __future__ import annotations

from weightstring.report.html import template
from weightstring.report.section import Section
from weightstring.report.string.page import StringData


def unsearched(data: StringData) -> Section:
    return Section("", template("string/sections/unsearched.html", data=data, samples=len(data.string.curve.s)))
