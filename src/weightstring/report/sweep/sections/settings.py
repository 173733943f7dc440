"""What determined the sweep."""

from __future__ import annotations

from weightstring.report.html import template
from weightstring.report.section import Section
from weightstring.report.sweep.data import SweepData
from weightstring.report.sweep.words import bound_words


def settings(sweep: SweepData) -> Section:
    html = template(
        "sweep/sections/settings.html",
        record=sweep.record,
        trivial=sweep.trivial,
        bound=bound_words(sweep),
        failed=[place for place in sweep.failed.items() if place[1]],
    )
    return Section("Settings", html)
