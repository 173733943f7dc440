"""What the command line prints of a run's curves on other data."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence

import msgspec

from weightstring.cli.console import console_for_text, table
from weightstring.path import BARRIERS
from weightstring.runs.recording import curve_of
from weightstring.store import Store
from weightstring.store.measured import MeasuredRecord


def as_json(records: Sequence[MeasuredRecord]) -> list[Mapping[str, object]]:
    """The records, with the barriers of each curve's loss."""
    return [
        {**msgspec.to_builtins(record), "barriers": {name: curve_of(record.curve).barrier(name) for name in BARRIERS}}
        for record in records
    ]


def print_measured(store: Store, *, in_json: bool = False) -> None:
    """Print them as a table in 80 columns, or as JSON; nothing in words where there are none."""
    records = store.measured()
    if in_json:
        print(json.dumps({"run": str(store), "measured": as_json(records)}))
        return
    if not records:
        return
    console = console_for_text()
    rows = table("", "quantity", "first end", "last end", "largest sample", "over_mean", left=["", "quantity"])
    for record in records:
        curve = curve_of(record.curve)
        for number, (name, values) in enumerate(curve.values.items()):
            numbers = values[0], values[-1], curve.barrier("max", name), curve.barrier("over_mean", name)
            rows.add_row(record.name if number == 0 else "", name, *(f"{value:.5g}" for value in numbers))
    console.print("\non other data, measured since; the verdict is about the run's own")
    console.print(rows)
    for record in records:
        task = "a problem built in Python" if record.task is None else record.task.name.rpartition("/")[2]
        console.print(f"{record.name}: {task}, {record.date}")
