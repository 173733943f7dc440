"""Mean barrier of the strings against threshold, by each of the four definitions."""

from __future__ import annotations

from weightstring.report.draw.chart import Chart
from weightstring.report.run.sections.barriers import BARRIERS
from weightstring.report.section import Section
from weightstring.report.sweep.charts import chart_section
from weightstring.report.sweep.data import SweepData
from weightstring.report.sweep.means import mean_chart


def barrier(sweep: SweepData) -> Section | None:
    return chart_section("barrier", "Barriers of strings against threshold", charts(sweep))


def charts(sweep: SweepData) -> list[Chart]:
    return [
        mean_chart(
            sweep,
            f"barrier_{name}",
            name=f"barrier-{name.replace('_', '-')}",
            label=name.replace("_", " "),
            what=f"Mean barrier of the strings, {name.replace('_', ' ')}: {words}",
            y_title=f"barrier, {name.replace('_', ' ')}",
            y_log=None,
        )
        for name, words in BARRIERS.items()
    ]
