"""Two figures about single pairs: the straight line's barrier by variant, and the loss along a few strings."""

from __future__ import annotations

import math
from collections.abc import Sequence

from weightstring.report.draw.along import bead_rows
from weightstring.report.draw.theme import LOG_RATIO
from weightstring.report.run.data import bound_quantities
from weightstring.report.sweep.chart import Chart, Series, counts, mean_line, number_words, plural, shown, spread
from weightstring.report.sweep.data import Swept
from weightstring.store.records import ResultRecord
from weightstring.study.sweep.statistics import Interval
from weightstring.study.sweep.table import Row

LINES = 4
"""Thresholds whose lines are drawn at first; a long sweep's all at once would be a thicket."""
SAMPLES = 1200
"""Samples of a string that are drawn at most, about: its beads, and the largest of each bundle."""


def line_chart(swept: Swept) -> Chart | None:
    """The straight line's barrier against what distinguishes variants; None where fewer than two have pairs."""
    names = [name for name in swept.names if swept.pairs(name)]
    if len(names) < 2:
        return None
    title, places = _axis(swept, names)
    names.sort(key=places.__getitem__)
    levels = sorted({row.threshold for row in swept.rows}, reverse=True)
    first = {levels[round(k * (len(levels) - 1) / (LINES - 1))] for k in range(LINES)}
    series, said = [], []
    for look, level in enumerate(levels):
        own = [one for name in names for one in swept.of(name) if one.threshold == level and one.pairs]
        texts = [f"{counts(one)}\n{shown(one.line_over_mean)}" for one in own]
        x = [places[one.variant] for one in own]
        found = [one.line_over_mean for one in own]
        series.append(mean_line(f"L₀ = {level:g}", x, found, look, texts, level in first))
        said = [f"{one.variant} {shown(one.line_over_mean)} ({plural(one.pairs, 'pair')})" for one in own]
    missing = sum(not math.isfinite(row.line_over_mean) for row in swept.rows)
    sentence = (
        "Mean barrier of the straight line between the ends, its largest sampled evaluation loss over the mean of the "
        "end losses, of all pairs, connected or not, with 95 % bootstrap intervals. "
        f"At the lowest threshold, {levels[-1]:g}: {'; '.join(said)}."
    )
    sentence += f" {plural(missing, 'pair')} without a finite barrier leave their means out." if missing else ""
    hidden = len(levels) - len(first)
    sentence += f" Lines of {plural(hidden, 'threshold')} appear when their legend is chosen." if hidden else ""
    named = title == "variant"
    return Chart(
        "line", "", sentence, title, "barrier of the straight line", tuple(series), x_log=not named,
        x_ticks=_apart(sorted(places.values())), y_log=spread(series), categories=tuple(names) if named else (),
    )  # fmt: skip


def _axis(swept: Swept, names: Sequence[str]) -> tuple[str, dict[str, float]]:
    """What variants are set out by: the one option in which they differ, else parameters, else their order."""
    options = {one.name: dict(one.options) or _parsed(one.name) for one in swept.record.variants}
    keys = {tuple(options.get(name, {})) for name in names}
    if len(keys) == 1 and len(key := next(iter(keys))) == 1:
        try:
            values = {name: float(options[name][key[0]]) for name in names}
        except ValueError:
            values = {}
        if len(set(values.values())) == len(names) and all(0 < value < math.inf for value in values.values()):
            return key[0], values
    sizes = {name: float(swept.pairs(name)[0].parameters) for name in names}
    if len(set(sizes.values())) == len(names) and min(sizes.values()) > 0:
        return "parameters", sizes
    return "variant", {name: float(place) for place, name in enumerate(names)}


def _apart(places: Sequence[float]) -> tuple[float, ...]:
    """Those of rising places that are far enough from the one before for a label of their own."""
    kept: list[float] = []
    for place in places:
        if not kept or place > 1.2 * kept[-1]:
            kept.append(place)
    return tuple(kept)


def _parsed(name: str) -> dict[str, str]:
    """Options of a variant that was named after them in Python."""
    parts = [part.partition("=") for part in name.split(",")]
    return {key: value for key, _, value in parts} if all(sign for _, sign, _ in parts) else {}


def example_charts(swept: Swept) -> tuple[Chart, ...]:
    """The loss along the strings of a few pairs, each with the bootstrap interval of its maximum."""
    return tuple(_example(swept, *example, f"string-{place}") for place, example in enumerate(swept.examples, 1))


def _example(swept: Swept, row: Row, result: ResultRecord, name: str) -> Chart:
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
    largest = Interval(row.largest, row.largest_low, row.largest_high)
    if all(map(math.isfinite, largest)):
        series.append(mean_line("largest", [curve.s[highest]], [largest], 1, [f"largest sample {shown(largest)}"]))
        over = row.largest_high > row.threshold
        measured = "training" if any(name.startswith("train_") for name in bound) else "evaluation"
        words = f"; drawn anew, the {measured} examples put it between {number_words(row.largest_low)} and "
        words += f"{number_words(row.largest_high)} (95 % bootstrap interval), "
        words += f"{'which reaches over' if over else 'under'} the threshold {row.threshold:g}"
    else:
        words = " (without an interval: it is not a mean over examples, or not finite)"
    label = f"{f'{row.variant}, ' * (len(swept.names) > 1)}L₀ = {row.threshold:g}, pair {row.pair}"
    label += f" ({row.outcome})" * (not row.connected)
    whose = f"Pair {row.pair}{f' of {row.variant}' * (len(swept.names) > 1)} at threshold {row.threshold:g}"
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
    heights = [y for one in series for y in (*one.y, *one.low) if math.isfinite(y)]
    y_log = min(heights) > 0 and max(heights) > LOG_RATIO * min(heights)
    return Chart(name, label, sentence, "arc length s / length", what, tuple(series), x_log=False, y_log=y_log)


def _top(values: Sequence[float | None]) -> float:
    """The largest of what the threshold binds; NaN where one is not finite."""
    known = [value for value in values if value is not None]
    return max(known) if len(known) == len(values) else math.nan


def _thinned(tops: Sequence[float], beads: Sequence[int]) -> list[int]:
    """Which samples are drawn: all beads and gaps, and of each bundle of neighbours the largest."""
    every = max(1, -(-len(tops) // SAMPLES))
    bundles = (range(start, min(start + every, len(tops))) for start in range(0, len(tops), every))
    largest = {max(own, key=lambda i: -math.inf if math.isnan(tops[i]) else tops[i]) for own in bundles}
    gaps = {i for i, top in enumerate(tops) if math.isnan(top)}
    return sorted({*largest, *gaps, *beads})
