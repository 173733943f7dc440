"""What the sections of EXPERIMENTS.md are written with."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).parent / "results"


def read(name: str) -> dict[str, Any] | None:
    """A result, if it is there."""
    path = RESULTS / f"{name}.json"
    return json.loads(path.read_text()) if path.exists() else None


def lines_of(name: str, part: str = "") -> list[dict[str, Any]]:
    """The lines of a campaign that is kept line by line, or those of one part of it; none where there is none."""
    path = RESULTS / f"{name}.jsonl"
    lines = path.read_text().splitlines() if path.exists() else []
    return [row for row in map(json.loads, lines) if not part or row["part"] == part]


def table(headings: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """In Markdown."""
    lines = ["| " + " | ".join(headings) + " |", "|" + "---|" * len(headings)]
    return "\n".join(lines + ["| " + " | ".join(map(str, row)) + " |" for row in rows]) + "\n"


def interval(found: Sequence[float | None] | None, digits: int = 3, of: int = 0) -> str:
    """An estimate with the ends of its interval; of a single pair, which has none, its value alone."""
    if found is None or found[0] is None:
        return "–"
    if of == 1 or found[1] is None or found[2] is None:
        return f"{found[0]:.{digits}f} (one pair)"
    return f"{found[0]:.{digits}f} [{found[1]:.{digits}f}, {found[2]:.{digits}f}]"


def plain(value: float | None) -> str:
    """A number of the paper's."""
    return "–" if value is None else f"{value:g}"


def beside(length: float | None, beads: float | None, own: Mapping[str, Any], pairs: int) -> tuple[object, ...]:
    """The paper's length and beads beside ours, of so many connected pairs, and the share that was connected."""
    means = own["means"]
    return (
        plain(length),
        interval(means["normalized_length"], 3, pairs),
        interval(means["normalized_length_weights"], 3, pairs),
        plain(beads),
        interval(means["beads"], 1, pairs),
        own["pairs"],
        interval(own["connected"], 2),
    )
