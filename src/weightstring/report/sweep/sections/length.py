"""Mean normalized length against threshold, in both conventions."""

from __future__ import annotations

from weightstring.report.draw.chart import Chart
from weightstring.report.section import Section
from weightstring.report.sweep.charts import chart_section
from weightstring.report.sweep.data import SweepData
from weightstring.report.sweep.means import mean_chart

LENGTHS = {
    "normalized_length": ("all parameters", "over all parameters"),
    "normalized_length_weights": ("weights only", "over weights only, without biases and other vectors"),
}


def length(sweep: SweepData) -> Section | None:
    return chart_section("length", "Normalized length against threshold", charts(sweep))


def charts(sweep: SweepData) -> list[Chart]:
    return [
        mean_chart(
            sweep,
            column,
            name="length-" + label.split()[0],
            label=label,
            what=f"Mean normalized length: the string's length over the distance of its ends, {words}",
            y_title="normalized length",
        )
        for column, (label, words) in LENGTHS.items()
    ]
