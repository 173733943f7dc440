"""Sections of a sweep's page that are a figure, drawn in one or several ways."""

from __future__ import annotations

from collections.abc import Sequence

from weightstring.report.draw.chart import Chart
from weightstring.report.draw.chart_figure import chart_figure
from weightstring.report.html import template
from weightstring.report.section import Drawing, Section


def chart_section(name: str, title: str, charts: Sequence[Chart]) -> Section | None:
    """A figure with a switch, where it is drawn in several ways; None without a chart.

    Args:
        name: of the section.
        title: of the section.
        charts: what is drawn.
    """
    if not charts:
        return None
    drawings = [Drawing(chart.name, chart_figure(chart), chart.label, chart.sentence) for chart in charts]
    html = template("sweep/sections/chart.html", figure=name, title=title, drawings=drawings)
    return Section(title, html, {name: drawings})
