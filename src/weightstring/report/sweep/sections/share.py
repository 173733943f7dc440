"""The share connected against threshold, with Wilson intervals; the shares unresolved and disconnected too."""

from __future__ import annotations

from weightstring.report.draw.chart import Chart, Kind, Series
from weightstring.report.section import Section
from weightstring.report.sweep.charts import chart_section
from weightstring.report.sweep.data import SweepData
from weightstring.report.sweep.means import drawn_levels, mean_line
from weightstring.report.sweep.words import counts, outcome_words, threshold_title, title

KINDS: tuple[Kind, ...] = ("unresolved", "disconnected")
ASIDE = 0.012
"""How far variants are shifted, as a share of the axis."""


def share(sweep: SweepData) -> Section | None:
    return chart_section("share", "Share connected against threshold", charts(sweep))


def charts(sweep: SweepData) -> list[Chart]:
    series: list[Series] = []
    thresholds = [row.threshold for row in sweep.rows]
    span = max(thresholds) / min(thresholds) if max(thresholds) > min(thresholds) else 2.0
    for look, name in enumerate(sweep.names):
        summaries = [summary for summary in sweep.of(name) if summary.pairs]
        # Side by side: shares are often equal, and one line would hide the other.
        aside = span ** (ASIDE * (look - (len(sweep.names) - 1) / 2))
        x, texts = tuple(summary.threshold * aside for summary in summaries), tuple(map(counts, summaries))
        shares = [summary.connected for summary in summaries]
        series.append(mean_line(title(sweep, name, "connected"), x, shares, look, texts))
        for kind in KINDS:
            others = tuple(getattr(summary, kind) / summary.pairs for summary in summaries)
            if any(others):
                words = "" if any(points.kind == kind for points in series) else kind
                series.append(Series(words, kind, x, others, look=look, texts=texts))
    levels, told = drawn_levels(sweep)
    sentence = (
        f"Share of pairs that a string connects, with 95 % Wilson intervals. {outcome_words(sweep)} Unresolved means "
        f"not connected within the limits, which does not show that there is no path; such pairs count here.{told}"
    )
    sentence += " Variants are shifted a little, so that none hides another." if len(sweep.names) > 1 else ""
    x_title = threshold_title(sweep)
    chart = Chart(
        "connected", "", sentence, x_title, "share of pairs", tuple(series), levels, y_range=(-0.04, 1.04)
    )  # fmt: skip
    return [chart]
