"""Beads against threshold, and the power law fitted to the pairs of each variant."""

from __future__ import annotations

from dataclasses import replace

from weightstring.report.draw.chart import Chart, Series
from weightstring.report.section import Section
from weightstring.report.sweep.charts import chart_section
from weightstring.report.sweep.data import SweepData
from weightstring.report.sweep.means import mean_chart
from weightstring.report.sweep.words import plural, prefix, shown
from weightstring.study.sweep.summary import beads_law


def beads(sweep: SweepData) -> Section | None:
    return chart_section("beads", "Beads against threshold", charts(sweep))


def charts(sweep: SweepData) -> list[Chart]:
    what = "Mean number of beads on the string, ends counted"
    chart = mean_chart(sweep, "beads", name="beads", label="", what=what, y_title="beads", y_log=True)
    fits: list[Series] = []
    said = []
    for look, name in enumerate(sweep.names):
        law = beads_law(sweep.pairs(name), sweep.record.seed)
        if law is None:
            continue
        levels = [row.threshold for row in sweep.pairs(name) if row.connected]
        x = (min(levels), max(levels))
        y = tuple(law.factor * place**law.exponent.value for place in x)
        fits.append(Series("power law" if not fits else "", "fit", x, y, look=look))
        said.append(f"{prefix(sweep, name)}{shown(law.exponent)}, {plural(law.points, 'pair')}")
    words = (
        "Dashed: the power law beads ~ threshold^p, by least squares on logarithms of all connected pairs, "
        f"p = {'; '.join(said)}."
        if said
        else "No power law is fitted: that takes connected pairs at two thresholds."
    )
    chart = replace(chart, sentence=f"{chart.sentence} {words}", series=(*chart.series, *fits))
    return [chart]
