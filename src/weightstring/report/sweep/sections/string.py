"""The loss along the strings of a few pairs, each with the bootstrap interval of its maximum."""

from __future__ import annotations

import math
from collections.abc import Sequence

from weightstring.report.draw.along import bead_rows
from weightstring.report.draw.chart import Chart, Series
from weightstring.report.draw.theme import wide
from weightstring.report.run.data import bound_quantities
from weightstring.report.section import Section
from weightstring.report.sweep.charts import chart_section
from weightstring.report.sweep.data import SweepData
from weightstring.report.sweep.means import mean_line
from weightstring.report.sweep.words import number_words, plural, shown
from weightstring.store.records import ResultRecord
from weightstring.study.sweep.statistics import Interval
from weightstring.study.sweep.table import Row

SAMPLES = 1200
"""Samples of a string that are drawn at most, about: its beads, and the largest of each bundle."""


def string(sweep: SweepData) -> Section | None:
    return chart_section("string", "Loss along the string", charts(sweep))


def charts(sweep: SweepData) -> list[Chart]:
    return [_example(sweep, *example, f"string-{place}") for place, example in enumerate(sweep.examples, 1)]


def _example(sweep: SweepData, row: Row, result: ResultRecord, name: str) -> Chart:
    curve, bound = result.string.curve, bound_quantities(result)
    tops = [_top(point) for point in zip(*(curve.values[name] for name in bound), strict=True)]
    beads = [i for i in bead_rows(curve, result.string.beads) if math.isfinite(tops[i])]
    kept = _thinned(tops, beads)
    highest = max(range(len(tops)), key=lambda i: math.inf if math.isnan(tops[i]) else tops[i])
    what = " and ".join("loss" if name == "loss" else name.replace("_", " ") for name in bound)
    series = [
        Series(what, "curve", tuple(curve.s[i] for i in kept), tuple(tops[i] for i in kept)),
        Series(f"L₀ = {row.threshold:g}", "threshold", (0.0, 1.0), (row.threshold, row.threshold)),
        Series("beads", "beads", tuple(curve.s[i] for i in beads), tuple(tops[i] for i in beads)),
    ]
    line = _line(result, bound)
    if line is not None:
        series.append(line)
    largest = Interval(row.largest, row.largest_low, row.largest_high)
    if all(map(math.isfinite, largest)):
        series.append(mean_line("largest", [curve.s[highest]], [largest], 1, [f"largest sample {shown(largest)}"]))
        over = row.largest_high > row.threshold
        measured = "training" if any(name.startswith("train_") for name in bound) else "evaluation"
        words = f"; drawn anew, the {measured} data put it between {number_words(row.largest_low)} and "
        words += f"{number_words(row.largest_high)} (95 % bootstrap interval), "
        words += f"{'which reaches over' if over else 'under'} the threshold {row.threshold:g}"
    else:
        words = " (without an interval: it is not a mean over examples, or not finite)"
    label = f"{f'{row.variant}, ' * (len(sweep.names) > 1)}L₀ = {row.threshold:g}, pair {row.pair}"
    label += f" ({row.outcome})" * (not row.connected)
    whose = f"Pair {row.pair}{f' of {row.variant}' * (len(sweep.names) > 1)} at threshold {row.threshold:g}"
    sentence = (
        f"{whose}, {row.outcome}: the {what} along its string "
        f"of {plural(row.beads, 'bead')}, normalized length {number_words(row.normalized_length)}. "
        f"The largest of {plural(len(tops), 'sample')} is {number_words(row.largest)}{words}."
    )
    sentence += f" {plural(len(tops) - len(kept), 'sample')} lower than those beside them are not drawn." * (
        len(kept) < len(tops)
    )
    gaps = sum(map(math.isnan, tops))
    sentence += f" {plural(gaps, 'sample')} not finite: gaps." if gaps else ""
    heights = [y for points in series for y in (*points.y, *points.low) if math.isfinite(y)]
    y_log = wide(heights)
    if line is not None:
        top = number_words(max(line.y)) if all(map(math.isfinite, line.y)) else "not finite"
        sentence += f" Beside it the straight line between its ends, whose largest of {len(line.y)} samples is {top}."
    return Chart(name, label, sentence, "arc length s / length", what, tuple(series), x_log=False, y_log=y_log)


def _line(result: ResultRecord, bound: Sequence[str]) -> Series | None:
    """What the threshold binds on the straight line beside a string; None: it is that, or none is known."""
    if result.line is None or result.string.beads == 2 or not set(bound) <= result.line.curve.values.keys():
        return None
    curve = result.line.curve
    tops = tuple(map(_top, zip(*(curve.values[name] for name in bound), strict=True)))
    return Series("straight line", "fit", curve.s, tops, look=0)


def _top(values: Sequence[float | None]) -> float:
    """The largest of what the threshold binds; NaN where one is not finite."""
    known = [value for value in values if value is not None]
    return max(known) if len(known) == len(values) else math.nan


def _thinned(tops: Sequence[float], beads: Sequence[int]) -> list[int]:
    """Which samples are drawn: all beads and gaps, and of each bundle of neighbours the largest."""
    every = max(1, -(-len(tops) // SAMPLES))
    bundles = (range(start, min(start + every, len(tops))) for start in range(0, len(tops), every))
    largest = {max(bundle, key=lambda i: -math.inf if math.isnan(tops[i]) else tops[i]) for bundle in bundles}
    gaps = {i for i, top in enumerate(tops) if math.isnan(top)}
    return sorted({*largest, *gaps, *beads})
