"""Every variant at every threshold in numbers, and as a file to download."""

from __future__ import annotations

from weightstring.report.html import data_uri, source, template
from weightstring.report.run.sections.barriers import BARRIERS
from weightstring.report.section import Section
from weightstring.report.sweep.data import SweepData, summary_csv


def thresholds(sweep: SweepData) -> Section:
    html = template(
        "sweep/sections/thresholds.html",
        summary=sweep.summary,
        barriers=BARRIERS,
        summary_csv=data_uri(summary_csv(sweep.summary)),
    )
    return Section("By threshold", html, script=source("sweep/sections/download.js"))
