"""What changes with the threshold, as means over connected pairs (Section V).

A pair that is not connected is in no mean, and drawn as a cross.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from weightstring.report.draw.chart import Chart, Kind, Level, Series
from weightstring.report.draw.theme import wide
from weightstring.report.sweep.data import SweepData
from weightstring.report.sweep.words import counts, number_words, plural, prefix, shown, threshold_title, title
from weightstring.study.sweep.statistics import Interval
from weightstring.study.sweep.table import Row

POINTS = 2000
"""Connected pairs of a variant that are drawn at most as points: more are a blot, and megabytes."""
FAR = 10.0
"""A trivial predictor this many times beyond the thresholds is told but not drawn: it would squeeze all else."""


def mean_line(
    name: str, x: Sequence[float], means: Sequence[Interval], look: int, texts: Sequence[str], shown: bool = True
) -> Series:
    """Means with their intervals; those that are not finite are left out."""
    kept = [i for i, mean in enumerate(means) if all(map(math.isfinite, mean))]
    return Series(
        name,
        "mean",
        tuple(x[i] for i in kept),
        tuple(means[i].value for i in kept),
        tuple(means[i].low for i in kept),
        tuple(means[i].high for i in kept),
        look,
        tuple(texts[i] for i in kept),
        shown,
    )


def pair_points(rows: Sequence[Row], column: str, name: str, kind: Kind, look: int) -> Series:
    """A column of the table, each pair at its threshold."""
    return Series(
        name,
        kind,
        tuple(row.threshold for row in rows),
        tuple(float(getattr(row, column)) for row in rows),
        look=look,
        texts=tuple(f"{row.variant}, threshold {row.threshold:g}\npair {row.pair}, {row.outcome}" for row in rows),
    )


def spread(series: Sequence[Series]) -> bool:
    """Whether heights are positive and so far apart that a linear axis would hide the small ones."""
    return wide([y for points in series for y in points.y])


def mean_chart(
    sweep: SweepData, column: str, *, name: str, label: str, what: str, y_title: str, y_log: bool | None = False
) -> Chart:
    """A column's mean over connected pairs against threshold, one line a variant, and behind it every pair.

    Args:
        sweep: the sweep.
        column: of the table.
        name: of the chart.
        label: of the chart.
        what: how its sentence begins.
        y_title: of the axis.
        y_log: whether the axis is logarithmic; None: where all means are positive and far apart.
    """
    behind: list[Series] = []
    means: list[Series] = []
    finite = left_out = 0
    for look, variant in enumerate(sweep.names):
        connected = [summary for summary in sweep.of(variant) if summary.connected.value > 0]
        texts = [f"{counts(summary)}\nmean {shown(summary.means[column])}" for summary in connected]
        x = [summary.threshold for summary in connected]
        column_means = [summary.means[column] for summary in connected]
        means.append(mean_line(title(sweep, variant, "mean"), x, column_means, look, texts))
        rows = [row for row in sweep.pairs(variant) if math.isfinite(getattr(row, column))]
        finite += len(rows)
        joined, others = [row for row in rows if row.connected], [row for row in rows if not row.connected]
        drawn = joined[:: max(1, -(-len(joined) // POINTS))]
        left_out += len(joined) - len(drawn)
        if drawn:
            behind.append(pair_points(drawn, column, "", "pairs", look))
        if others:
            words = "" if any(series.kind == "open" for series in behind) else "not connected"
            behind.append(pair_points(others, column, words, "open", look))
    y_log = spread(means) if y_log is None else y_log
    levels, told = drawn_levels(sweep)
    sentence = f"{what}. Lines: means of connected pairs, with 95 % bootstrap intervals; {_lowest(sweep, column)}."
    sentence += " Faint points: the pairs"
    sentence += f", {left_out:,} of them left out" if left_out else ""
    open_pairs = sum(not row.connected for row in sweep.rows)
    sentence += f"; crosses: the {open_pairs:,} not connected, by their best string so far." if open_pairs else "."
    below = sum(y <= 0 for series in behind for y in series.y) if y_log else 0
    sentence += f" {plural(below, 'pair')} at or below 0 cannot stand on a logarithmic axis." if below else ""
    missing = len(sweep.rows) - finite
    sentence += f" {plural(missing, 'pair')} without a finite value cannot be drawn." if missing else ""
    return Chart(
        name, label, sentence + told, threshold_title(sweep), y_title, (*behind, *means), levels, y_log=y_log
    )  # fmt: skip


def _lowest(sweep: SweepData, column: str) -> str:
    """Each variant's mean at the lowest threshold at which a pair is connected."""
    said = []
    for variant in sweep.names:
        connected = [summary for summary in sweep.of(variant) if summary.connected.value > 0]
        if connected:
            lowest = connected[-1]
            pairs = plural(round(lowest.connected.value * lowest.pairs), "pair")
            said.append(f"{prefix(sweep, variant)}{shown(lowest.means[column])} at {lowest.threshold:g} ({pairs})")
    return "at the lowest threshold " + "; ".join(said) if said else "no pair is connected, so there is none"


def drawn_levels(sweep: SweepData) -> tuple[tuple[Level, ...], str]:
    """The levels of trivial predictors that are drawn, each once, and all of them in words."""
    thresholds = [row.threshold for row in sweep.rows] or [*sweep.record.thresholds]
    kinds = dict.fromkeys(kind for reached in sweep.trivial.values() for kind in reached)
    drawn, said = [], []
    for kind in kinds:
        known = {name: reached[kind] for name, reached in sweep.trivial.items() if reached.get(kind) is not None}
        groups: dict[str, list[str]] = {}
        for name, value in known.items():
            groups.setdefault(number_words(float(value or 0.0)), []).append(name)
        for words, names in groups.items():
            value = float(known[names[0]] or 0.0)
            whose = kind if len(groups) == 1 else f"{kind}, {', '.join(names)}"
            beyond = not min(thresholds) / FAR <= value <= max(thresholds) * FAR
            said.append(f"{whose} {words}{' (not drawn: too far away)' * beyond}")
            drawn += [] if beyond else [Level(whose, value)]
    return tuple(drawn), f" Vertical lines: what trivial predictors reach, {'; '.join(said)}." if said else ""
