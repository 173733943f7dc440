"""What EXPERIMENTS.md says of experiments/cubic_ends.py."""

from __future__ import annotations

import json
from statistics import median
from typing import Any

from tables import RESULTS, table

from weightstring.study.sweep.statistics import share_of

HEADINGS = (
    "search",
    "ends under L0 by",
    "segments held to",
    "connected",
    "beads",
    "length",
    "gradients",
    "where not connected: lowest maximum / L0",
)


def section() -> str:
    """A line for each way to search, over the pairs that it has done."""
    path = RESULTS / "cubic_ends.jsonl"
    if not path.exists():
        return ""
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    parts = dict.fromkeys(row["part"] for row in rows)
    return "\n".join(
        [
            "## The cubic at .01: ends on the rim\n",
            "`python experiments/cubic_ends.py`; Adam 3e-3, descents of up to 50,000 steps, α = .8, depth 20. The same "
            "pairs of seeds in each line, as far as they have been run. Ends are trained until they are under L0 by "
            "at least the share in the second column, each line further along the same training. *lower ends*: each "
            "end is first led down to half of L0 along segments under L0, and the search is between the lowest "
            "beads. Medians are of connected pairs; Wilson's 95 % intervals; all maxima are sampled, from below.\n",
            table(HEADINGS, [_line([row for row in rows if row["part"] == part]) for part in parts]),
        ]
    )


def _line(rows: list[dict[str, Any]]) -> tuple[object, ...]:
    connected = [row for row in rows if row["connected"]]
    share = share_of(len(connected), len(rows))
    missed = sorted(row["largest"] for row in rows if not row["connected"])
    return (
        rows[0]["part"].split(",")[0],
        f"{rows[0]['margin']:.0%}",
        "L0" if rows[0]["accepted"] == 1 else f"{rows[0]['accepted']:g} L0",
        f"{len(connected)} of {len(rows)} ({share.low:.2f}–{share.high:.2f})",
        *(_median(connected, key, digits) for key, digits in (("beads", 0), ("length", 2), ("gradients", 0))),
        ", ".join(f"{value:.3g}" for value in missed) or "–",
    )


def _median(rows: list[dict[str, Any]], key: str, digits: int) -> str:
    return f"{median(row[key] for row in rows):.{digits}f}" if rows else "–"
