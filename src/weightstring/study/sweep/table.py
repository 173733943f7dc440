"""A sweep's table: one row a pair, in a form that pandas reads directly."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from weightstring.errors import InvalidRun
from weightstring.store import replace_file
from weightstring.store.files import one_line, writing
from weightstring.store.members import read_whole
from weightstring.text import as_cell, from_cell

AGAIN = "delete it, and every sweep makes its own rows again from their runs"
"""What helps where a table is damaged."""


@dataclass(frozen=True)
class Row:
    """One pair at one threshold. Losses are of the evaluation set and *sampled*; NaN where there is none.

    Args:
        variant: which form of the task, such as ``width=8``.
        parameters: P, how many parameters the networks have.
        threshold: L0.
        bind: what it binds.
        pair: number of the pair.
        seed_a: of the first network; and
        seed_b: of the second.
        outcome: connected, unresolved or disconnected, and
        reason: why it is unresolved.
        beads: on the string, ends counted; of an unresolved pair on the best string so far.
        beads_before_pruning: before superfluous ones were dropped.
        length: of the string, over all parameters.
        distance: of its ends.
        normalized_length: length over distance, over all parameters.
        normalized_length_weights: the same over weights alone, without biases and other vectors.
        end_a: what the threshold binds at the first end, and
        end_b: at the second.
        largest: its largest sample on the string, and
        largest_low: the lower and
        largest_high: the upper end of its bootstrap interval over the evaluation examples.
        barrier_max: the largest sampled evaluation loss on the string, and the other barriers of it:
        barrier_over_ends: over the larger end,
        barrier_over_mean: over the mean of the ends,
        barrier_over_linear: over the line between the end losses.
        line_over_mean: the barrier of the straight line, over the mean of the ends.
        gradients: steps of gradient descent, summed over beads.
        evaluations: models measured.
        seconds: of its rounds, by the clock; pairs that are searched together take theirs at the same time, so
            that these add up to far more than the sweep took.
        run: its run directory, from the sweep's; empty in memory.
    """

    variant: str
    parameters: int
    threshold: float
    bind: str
    pair: int
    seed_a: int
    seed_b: int
    outcome: str
    reason: str
    beads: int
    beads_before_pruning: int
    length: float
    distance: float
    normalized_length: float
    normalized_length_weights: float
    end_a: float
    end_b: float
    largest: float
    largest_low: float
    largest_high: float
    barrier_max: float
    barrier_over_ends: float
    barrier_over_mean: float
    barrier_over_linear: float
    line_over_mean: float
    gradients: int
    evaluations: int
    seconds: float
    run: str = ""

    @property
    def connected(self) -> bool:
        """Whether a string was found."""
        return self.outcome == "connected"


COLUMNS = tuple(field.name for field in fields(Row))
_READ: dict[str, Callable[[str], Any]] = {"int": int, "float": float, "str": from_cell}
_KINDS = {field.name: _READ[str(field.type)] for field in fields(Row)}


def as_csv(rows: Sequence[Row]) -> str:
    """The table as CSV, with a heading; numbers in full, and no text that a spreadsheet takes for a formula."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    for row in rows:
        writer.writerow([_shown(getattr(row, name)) for name in COLUMNS])
    return text.getvalue()


def write_table(path: Path, rows: Sequence[Row]) -> None:
    """Write the table whole, in one piece.

    Raises:
        StoreFailed: the disk refuses.
    """
    with writing(path, "the same sweep goes on"):
        replace_file(path, as_csv(rows).encode())


def read_table(path: Path) -> list[Row]:
    """Read a table back.

    Raises:
        InvalidRun: there is none, or it is damaged.
    """
    try:
        content = read_whole(path)
    except OSError as problem:
        raise InvalidRun(f"{path}: cannot be read: {problem.strerror}; make it readable, or {AGAIN}") from None
    try:
        return _rows(content.decode())
    except (KeyError, ValueError, TypeError, csv.Error) as problem:
        raise InvalidRun(f"{path}: damaged, or of another version: {one_line(problem)}; {AGAIN}") from None


def _rows(text: str) -> list[Row]:
    if not text.endswith("\n"):  # What is left of a number or a name can pass for a whole one.
        raise ValueError("its end is missing")
    reader = csv.DictReader(io.StringIO(text, newline=""))
    if missing := set(COLUMNS) - set(reader.fieldnames or ()):
        raise ValueError(f"no column {min(missing)}")
    return [Row(**{name: _KINDS[name](line[name]) for name in COLUMNS}) for line in reader]


def _shown(value: object) -> str:
    if isinstance(value, str):
        return as_cell(value)
    return "nan" if isinstance(value, float) and math.isnan(value) else str(value)
