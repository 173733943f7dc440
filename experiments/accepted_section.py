"""What EXPERIMENTS.md says of experiments/accepted.py."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from tables import beside, read, table

ACCEPTED = """## Segments held to L0, and to 1.1 L0

`python experiments/accepted.py`; the same ends, trained to L0, and strings whose samples are at most L0, or at
most 1.1 L0 as the authors' scripts accept them; beads aim at .95 L0 in both, as in these scripts. Thresholds of the
paper's curves at which all pairs are connected.
"""
HEADINGS = ("task", "L0", "held to", "paper: length", "length", "length, weights", "paper: beads", "beads", "pairs")
Row = Mapping[str, Any]
Paper = Mapping[str, Mapping[float, tuple[float, float]]]


def section(paper: Paper) -> str:
    """A row for each threshold and what its strings are held to, and what comes of it."""
    result = read("accepted")
    if result is None:
        return ""
    return "\n".join([ACCEPTED, table((*HEADINGS, "connected"), [_row(paper, own) for own in result["rows"]]),
                      _finding(paper, result["rows"])])  # fmt: skip


def _row(paper: Paper, own: Row) -> tuple[object, ...]:
    length, beads = paper[own["task"]].get(own["level"], (None, None))
    pairs = round(own["connected"][0] * own["pairs"])
    return (
        own["task"],
        f"{own['level']:g}",
        "L0" if own["accepted"] == 1 else f"{own['accepted']:g} L0",
        *beside(length, beads, own, pairs),
    )


def _finding(paper: Paper, rows: Sequence[Row]) -> str:
    """How much fewer beads and how much shorter; beads beside the paper's where it has one that counts."""
    by_level: dict[tuple[str, float], dict[float, Mapping[str, Any]]] = {}
    for own in rows:
        by_level.setdefault((own["task"], own["level"]), {})[own["accepted"]] = own["means"]
    shorter, fewer, ours, theirs = [], [], [], []
    for (task, level), means in by_level.items():
        held, loose = (means[accepted] for accepted in sorted(means))
        shorter.append(1 - loose["normalized_length"][0] / held["normalized_length"][0])
        if task == "quadratic":  # the cubic's strings here are lines, but for the paper's bead in the middle
            fewer.append(1 - loose["beads"][0] / held["beads"][0])
            ours.append(held["beads"][0] / paper[task][level][1])
            theirs.append(loose["beads"][0] / paper[task][level][1])
    return (
        f"Held to 1.1 L0, strings of the quadratic have {min(fewer):.0%} to {max(fewer):.0%} fewer beads: "
        f"{min(theirs):.2f} to {max(theirs):.2f} times\nthe paper's, where those held to L0 have {min(ours):.2f} to "
        f"{max(ours):.2f} times as many. They are at most {max(shorter):.1%} shorter.\n"
    )
