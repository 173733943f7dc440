"""The straight line's barrier against what distinguishes variants."""

from __future__ import annotations

import math
from collections.abc import Sequence

from weightstring.report.draw.chart import Chart
from weightstring.report.section import Section
from weightstring.report.sweep.charts import chart_section
from weightstring.report.sweep.data import SweepData
from weightstring.report.sweep.means import mean_line, spread
from weightstring.report.sweep.words import counts, plural, shown

LINES = 4
"""Thresholds whose lines are drawn at first; a long sweep's all at once would be a thicket."""


def line(sweep: SweepData) -> Section | None:
    return chart_section("line", "Barrier of the straight line", charts(sweep))


def charts(sweep: SweepData) -> list[Chart]:
    names = [name for name in sweep.names if sweep.pairs(name)]
    if len(names) < 2:
        return []
    title, places = _axis(sweep, names)
    names.sort(key=places.__getitem__)
    levels = sorted({row.threshold for row in sweep.rows}, reverse=True)
    first = {levels[round(k * (len(levels) - 1) / (LINES - 1))] for k in range(LINES)}
    series, said = [], []
    for look, level in enumerate(levels):
        summaries = [
            summary for name in names for summary in sweep.of(name) if summary.threshold == level and summary.pairs
        ]
        texts = [f"{counts(summary)}\n{shown(summary.line_over_mean)}" for summary in summaries]
        x = [places[summary.variant] for summary in summaries]
        means = [summary.line_over_mean for summary in summaries]
        series.append(mean_line(f"L₀ = {level:g}", x, means, look, texts, level in first))
        said = [
            f"{summary.variant} {shown(summary.line_over_mean)} ({plural(summary.pairs, 'pair')})"
            for summary in summaries
        ]
    missing = sum(not math.isfinite(row.line_over_mean) for row in sweep.rows)
    sentence = (
        "Mean barrier of the straight line between the ends, its largest sampled evaluation loss over the mean of the "
        "end losses, of all pairs, connected or not, with 95 % bootstrap intervals. "
        f"At the lowest threshold, {levels[-1]:g}: {'; '.join(said)}."
    )
    sentence += f" {plural(missing, 'pair')} without a finite barrier leave their means out." if missing else ""
    hidden = len(levels) - len(first)
    sentence += f" Lines of {plural(hidden, 'threshold')} appear when their legend is chosen." if hidden else ""
    named = title == "variant"
    chart = Chart(
        "line", "", sentence, title, "barrier of the straight line", tuple(series), x_log=not named,
        x_ticks=_apart(sorted(places.values())), y_log=spread(series), categories=tuple(names) if named else (),
    )  # fmt: skip
    return [chart]


def _axis(sweep: SweepData, names: Sequence[str]) -> tuple[str, dict[str, float]]:
    """What the axis shows: the one option in which variants differ, else their size, else their order."""
    options = {variant.name: dict(variant.options) or _parsed(variant.name) for variant in sweep.record.variants}
    keys = {tuple(options.get(name, {})) for name in names}
    if len(keys) == 1 and len(key := next(iter(keys))) == 1:
        try:
            values = {name: float(options[name][key[0]]) for name in names}
        except ValueError:
            values = {}
        if len(set(values.values())) == len(names) and all(0 < value < math.inf for value in values.values()):
            return key[0], values
    sizes = {name: float(sweep.pairs(name)[0].parameters) for name in names}
    if len(set(sizes.values())) == len(names) and min(sizes.values()) > 0:
        return "parameters", sizes
    return "variant", {name: float(place) for place, name in enumerate(names)}


def _apart(places: Sequence[float]) -> tuple[float, ...]:
    """Those of rising places that are far enough from the one before to be labelled."""
    kept: list[float] = []
    for place in places:
        if not kept or place > 1.2 * kept[-1]:
            kept.append(place)
    return tuple(kept)


def _parsed(name: str) -> dict[str, str]:
    """Options of a variant that was named after them in Python."""
    parts = [part.partition("=") for part in name.split(",")]
    return {key: value for key, _, value in parts} if all(sign for _, sign, _ in parts) else {}
