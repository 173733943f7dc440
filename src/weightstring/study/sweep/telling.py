"""What is told of a sweep to those who follow it: what it asks, how many pairs are done, and what it has found."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial

import msgspec

from weightstring.notebook import Viewable
from weightstring.runs.listening import Begun, Ended, Listeners
from weightstring.runs.told import flat
from weightstring.store import RunDirectory
from weightstring.study.sweep.directory import TABLE, SweepDirectory, record_of
from weightstring.study.sweep.plan import Plan
from weightstring.study.sweep.rows import Place
from weightstring.study.sweep.summary import Summary
from weightstring.study.sweep.table import Row


class Tally:
    """The pairs of a sweep that have rows, each counted once, and told in whole numbers of pairs.

    Args:
        told: who hears it.
        plan: what is asked.
        directory: where the sweep is kept; None: nowhere.
        shard: which of its processes this is; empty: all of it.
        known: rows of earlier sessions.
    """

    def __init__(
        self, told: Listeners, plan: Plan, directory: SweepDirectory | None, shard: str, known: Sequence[Row]
    ) -> None:
        self._told, self._directory = told, directory
        self._rows = {Place.of(row): row for row in known}
        told.begun(partial(self._begun, plan, shard))

    def add(self, rows: Sequence[Row]) -> None:
        """More pairs are done."""
        self._rows |= {Place.of(row): row for row in rows}
        self._told.reached(self._numbers)

    def end(self, swept: Viewable, rows: Sequence[Row], summary: Sequence[Summary]) -> None:
        """The sweep is over, with these rows and their means."""
        self.add(rows)
        self._told.ended(lambda: self._ended(swept, summary))
        self._told.answered(str(swept))

    def _begun(self, plan: Plan, shard: str) -> Begun:
        record = msgspec.to_builtins(record_of(plan, ()))
        kept = None if self._directory is None else RunDirectory(self._directory.path)
        name = "sweep" if self._directory is None else self._directory.path.name
        settings = flat({key: value for key, value in record.items() if key != "variants"})
        return Begun(f"{name} {shard}".strip(), {**settings, "command": "sweep"}, None if shard else kept)

    def _numbers(self) -> Iterator[tuple[int, dict[str, float]]]:
        rows = list(self._rows.values())
        connected = sum(row.connected for row in rows)
        numbers = {
            "pairs": float(len(rows)),
            "connected": float(connected),
            "gradients": float(sum(row.gradients for row in rows)),
            "evaluations": float(sum(row.evaluations for row in rows)),
        }
        yield len(rows), numbers

    def _ended(self, swept: Viewable, summary: Sequence[Summary]) -> Ended:
        fields: dict[str, str | float | bool | None] = {"pairs": len(self._rows)}
        for each in summary:
            where = f"{each.variant}/{each.threshold:g}"
            fields[f"{where}/connected"] = each.connected.value
            fields |= {f"{where}/{name}": each.means[name].value for name in ("normalized_length", "beads")}
        return Ended(str(swept), fields, swept, figures=self._figures(), files=self._files(), search=False)

    def _figures(self) -> Sequence[str]:
        return ("length-all",) if any(row.connected for row in self._rows.values()) else ()

    def _files(self) -> dict[str, Callable[[], bytes]]:
        if self._directory is None:
            return {}
        table = self._directory.path / TABLE
        return {TABLE: table.read_bytes} if table.exists() else {}
