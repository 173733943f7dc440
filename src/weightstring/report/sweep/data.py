"""What a sweep's directory holds, read once for its page and its figures."""

from __future__ import annotations

import csv
import io
import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from weightstring.errors import InvalidRun
from weightstring.store import RunDirectory
from weightstring.store.records import ResultRecord
from weightstring.study.sweep.collecting import shown
from weightstring.study.sweep.directory import SweepDirectory
from weightstring.study.sweep.records import SweepRecord
from weightstring.study.sweep.rows import tells_of
from weightstring.study.sweep.statistics import Interval
from weightstring.study.sweep.summary import MEANS, Summary, summarised
from weightstring.study.sweep.table import Row
from weightstring.text import as_cell


@dataclass(frozen=True)
class SweepData:
    """A sweep as its directory tells it.

    Args:
        record: its settings.
        rows: one a pair.
        failed: for each variant and threshold, seeds of networks that never reached it.
        trivial: what trivial predictors reach, by variant and predictor; None where there is no such predictor.
        examples: a few pairs and their results, whose strings are drawn.
    """

    record: SweepRecord
    rows: tuple[Row, ...]
    failed: Mapping[tuple[str, float], Sequence[int]]
    trivial: Mapping[str, Mapping[str, float | None]]
    examples: tuple[tuple[Row, ResultRecord], ...] = ()

    @cached_property
    def names(self) -> tuple[str, ...]:
        """Of the variants, in the order in which they were asked for, which sorting by name would lose."""
        variants = [variant.name for variant in self.record.variants]
        return tuple(dict.fromkeys([*variants, *(row.variant for row in self.rows)]))

    @cached_property
    def summary(self) -> tuple[Summary, ...]:
        """Of each variant in its order, thresholds falling."""
        place = {name: number for number, name in enumerate(self.names)}
        unordered = summarised(self.rows, self.failed, self.record.seed)
        return tuple(sorted(unordered, key=lambda summary: place.get(summary.variant, len(place))))

    def of(self, variant: str) -> tuple[Summary, ...]:
        """The summaries of one variant."""
        return tuple(summary for summary in self.summary if summary.variant == variant)

    def pairs(self, variant: str) -> tuple[Row, ...]:
        """The rows of one variant."""
        return tuple(row for row in self.rows if row.variant == variant)


def read_sweep(sweep_dir: str | os.PathLike[str]) -> SweepData:
    """Read a sweep's directory, and the results of a few of its runs.

    Raises:
        InvalidRun: there is no sweep, not one pair is finished, or a file is damaged.
    """
    directory = SweepDirectory(Path(sweep_dir))
    found = shown(directory.path)
    record, rows = found.record, found.rows
    sweep = SweepData(record, rows, found.failed, found.trivial)
    if not rows:
        failed = sum(map(len, sweep.failed.values()))
        raise InvalidRun(
            f"{directory.path}: no pair to show: {failed} networks, and none reached its threshold; add higher "
            "thresholds, allow more --tries, or let the task train longer"
        )
    examples = []
    for row in chosen(sweep):
        run = RunDirectory(directory.run(row.variant, row.threshold, row.pair))
        if row.run and run.finished:  # a table that travels without its runs still has its page
            result = run.result()
            if tells_of(row, result):
                examples.append((row, result))
    return SweepData(record, rows, sweep.failed, sweep.trivial, tuple(examples))


def chosen(sweep: SweepData) -> list[Row]:
    """Pairs whose strings are worth drawing.

    At the lowest, the middle and the highest threshold of the first and of the last variant, the connected pair of
    median normalized length (the first pair where none is connected); and the first that is unresolved.
    """
    picked: list[Row] = []
    for name in dict.fromkeys([*sweep.names[:1], *sweep.names[-1:]]):
        rows = sweep.pairs(name)
        levels = sorted({row.threshold for row in rows})
        for level in dict.fromkeys([*levels[:1], *levels[len(levels) // 2 :][:1], *levels[-1:]]):
            at_level = [row for row in rows if row.threshold == level]
            connected = sorted(
                (row for row in at_level if row.connected and math.isfinite(row.normalized_length)),
                key=lambda row: (row.normalized_length, row.pair),
            )
            picked.append(connected[(len(connected) - 1) // 2] if connected else at_level[0])
    unresolved = [row for row in sweep.rows if row.outcome == "unresolved"]
    return list(dict.fromkeys([*picked, *unresolved[:1]]))


def summary_csv(summary: Sequence[Summary]) -> str:
    """The summary as CSV: of every mean and share its value and both ends of its interval; nan where there is none."""
    names = ("connected", *MEANS, "line_over_mean")
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    counts = ("variant", "parameters", "threshold", "pairs", "unresolved", "disconnected", "failed_ends")
    writer.writerow([*counts, *(f"{name}{end}" for name in names for end in ("", "_low", "_high"))])
    for row in summary:
        intervals: list[Interval] = [row.connected, *(row.means[name] for name in MEANS), row.line_over_mean]
        cells = [as_cell(row.variant), *(getattr(row, name) for name in counts[1:])]
        writer.writerow([*cells, *(end for interval in intervals for end in interval)])
    return text.getvalue()
