"""What `repeats` says of a task in words: where a rival is ahead, why, and what would change it."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence

from benchmarks.measuring import kept
from benchmarks.rates import METHODS

OURS = "weightstring"
Row = dict[str, object]


def verdict(rows: Sequence[Row], task: str) -> str:
    """In which of success and seconds a rival is ahead; seconds are medians over what succeeded."""
    sides = by_side([row for row in rows if row["task"] == task])
    held = {side: [row for row in own if row["holds"]] for side, own in sides.items()}
    shares = {side: len(held[side]) / len(own) for side, own in sides.items()}
    more = [side for side in sides if shares[side] > shares.get(OURS, 0.0)]
    faster = [side for side in sides if side != OURS and held[side] and held.get(OURS)
              and middle(held[side], "CPU seconds") < middle(held[OURS], "CPU seconds")]  # fmt: skip
    words = [
        f"{task}: a larger share connected than ours: {', '.join(more) or 'no rival'}; fewer CPU seconds: "
        f"{', '.join(faster) or 'no rival'}."
    ]
    words += [why_not(sides[OURS])] if more else []
    words += [why_slower(side, held) for side in faster]
    unrated, unsearched = without(task)
    words += [f"No rate connected the other pairs for {', '.join(unrated)}."] if unrated else []
    words += [f"No rate was searched for {', '.join(unsearched)}."] if unsearched else []
    return " ".join(words)


def why_not(own: Sequence[Row]) -> str:
    """Of ours that did not hold, which were not found, and how far the others are over the threshold."""
    over = [float(row["largest evaluation loss"]) / float(row["threshold"]) for row in own
            if row["found"] and not row["holds"]]  # fmt: skip
    words = [f"Of ours {sum(not row['found'] for row in own)} of {len(own)} were not found: more steps would help"]
    if over:
        most = f"{max(over) - 1:.2%} at most"
        words += [f"{len(over)} exceed the threshold between their samples, by {most}: more samples would help"]
    return "; ".join(words) + "."


def why_slower(side: str, held: Mapping[str, Sequence[Row]]) -> str:
    """What both took, and at which part of our gradients and evaluations we would be level."""
    ratio = middle(held[side], "CPU seconds") / middle(held[OURS], "CPU seconds")
    took = {each: f"{middle(held[each], 'gradients'):g} gradients and {middle(held[each], 'evaluations'):g} evaluations"
            for each in (side, OURS)}  # fmt: skip
    return f"{side} takes {took[side]}, ours {took[OURS]}, of which {ratio:.0%} would take as many seconds."


def without(task: str) -> tuple[list[str], list[str]]:
    """Methods of which `rates` found none that connects, at any rate; and kinds of which it tried no form."""
    known: list[Row] = kept("rates").get("rates", [])
    rows = [row for row in known if (row["task"], row["bind"]) == (task, "evaluate")]
    tried = list(dict.fromkeys(str(row["method"]) for row in rows))
    rated = {row["method"] for row in rows if row["best"]}
    kinds = {method.partition(",")[0] for method in tried}
    unsearched = dict.fromkeys(kind for method in METHODS if (kind := method.partition(",")[0]) not in kinds)
    return [method for method in tried if method not in rated], list(unsearched)


def by_side(rows: Sequence[Row]) -> dict[str, list[Row]]:
    """Rows by their side; ours first."""
    sides = sorted({str(row["side"]) for row in rows}, key=lambda side: (side != OURS, side))
    return {side: [row for row in rows if row["side"] == side] for side in sides}


def middle(rows: Sequence[Row], column: str) -> float:
    """The median of a column."""
    return statistics.median(float(row[column]) for row in rows)
