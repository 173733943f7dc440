"""The commands that repeat the sweep."""

from __future__ import annotations

from weightstring.report.html import template
from weightstring.report.section import Section
from weightstring.report.sweep.command import repeating
from weightstring.report.sweep.data import SweepData


def repeat(sweep: SweepData) -> Section:
    return Section("To repeat it", template("sweep/sections/repeat.html", commands=repeating(sweep.record)))
