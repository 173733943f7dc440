"""What a sweep found, in sentences."""

from __future__ import annotations

from collections.abc import Iterator

from weightstring.report.html import template
from weightstring.report.section import Section
from weightstring.report.sweep.data import SweepData
from weightstring.report.sweep.words import outcome_words, plural, prefix, shown


def headline(sweep: SweepData) -> Section:
    all_connected = all(row.connected for row in sweep.rows)
    sentences = [_counts(sweep), _lengths(sweep), *_lines(sweep), *_missing(sweep)]
    return Section("", template("sweep/sections/headline.html", headline=sentences, all_connected=all_connected))


def _counts(sweep: SweepData) -> str:
    levels = sorted({row.threshold for row in sweep.rows})
    where = f"{len(levels)} thresholds, {levels[-1]:g} to {levels[0]:g}" if levels[1:] else f"threshold {levels[0]:g}"
    variants = len({row.variant for row in sweep.rows})
    of_variants = f" of {variants} variants" if variants > 1 else ""
    return f"{plural(len(sweep.rows), 'pair')} of networks{of_variants} at {where}: {outcome_words(sweep)}"


def _lengths(sweep: SweepData) -> str:
    said = []
    for name in sweep.names:
        connected = [summary for summary in sweep.of(name) if summary.connected.value > 0]
        extremes = [*connected[:1], *connected[1:][-1:]]
        means = [f"{shown(summary.means['normalized_length'])} at {summary.threshold:g}" for summary in extremes]
        said += [prefix(sweep, name) + " and ".join(means)] if means else []
    if not said:
        return "No pair is connected, so there is no mean length."
    return f"Mean normalized length of connected pairs, with 95 % intervals: {'; '.join(said)}."


def _lines(sweep: SweepData) -> Iterator[str]:
    """What the straight lines meet, beside which strings are seen."""
    said = []
    for name in sweep.names:
        known = [summary for summary in sweep.of(name) if summary.pairs]
        extremes = [*known[:1], *known[1:][-1:]]
        means = [f"{shown(summary.line_over_mean)} at {summary.threshold:g}" for summary in extremes]
        said += [prefix(sweep, name) + " and ".join(means)] if means else []
    if said:
        yield (
            "Mean barrier of the straight line between the ends, its largest sampled evaluation loss over their mean, "
            f"of all pairs: {'; '.join(said)}."
        )


def _missing(sweep: SweepData) -> Iterator[str]:
    record = sweep.record
    planned = record.pairs * len(record.thresholds) * len(record.variants)
    if len(sweep.rows) < planned:
        yield (
            f"{plural(record.pairs, 'pair')} at each of {plural(len(record.thresholds), 'threshold')} "
            f"would be {planned:,}: {planned - len(sweep.rows):,} are missing, because their ends never reached the "
            "threshold, the sweep is not finished, or fewer were requested there."
        )
    failed = sum(map(len, sweep.failed.values()))
    if failed:
        replaced = "" if record.ends == "given" else ", each replaced by the next seed while tries last"
        yield f"Ends that never reached a threshold{replaced}: {failed:,}."
