"""What EXPERIMENTS.md says of experiments/verdicts.py."""

from __future__ import annotations

from typing import Any

from tables import lines_of, table

HEADINGS = (
    "models", "averaged as they are", "the verdict", "by", "loss, as said", "the models' own", "held out",
    "the models' own, held out", "right", "evaluations", "gradients of matching", "CPU seconds", "beyond these",
)  # fmt: skip


def section() -> str:
    """What was said of each kind, and what is so."""
    rows = lines_of("verdicts")
    if not rows:
        return ""
    right = sum(_right(row) for row in rows)
    longest = max(row["CPU seconds"] - row["of which evaluations"] for row in rows)
    return "\n".join(
        [
            "## Will they merge? The verdict, held against the truth\n",
            "`python experiments/verdicts.py`: perceptrons on 8 × 8 digits; verdicts measure on 300 examples, the "
            "truth is 397 others. A verdict is right where what it recommends is no worse on these, by cross-entropy, "
            "than the worst of its models, or where it refuses and the average as it is is worse. "
            f"{right} of {len(rows)} are right; beyond its evaluations and gradients a verdict took at most "
            f"{longest:.1f} CPU seconds, alignment, search and the layer to blame included.\n",
            table(HEADINGS, map(_cells, rows)),
            "",
        ]
    )


def _best(row: dict[str, Any]) -> dict[str, Any]:
    best: dict[str, Any] = next(way for way in row["ways"] if way["way"] == row["best"])
    return best


def _right(row: dict[str, Any]) -> bool:
    """Whether it is as the verdict said."""
    way = _best(row) if row["merges"] else row["ways"][0]
    if way["held out"] is None:  # an ensemble is not one model
        return True
    return bool((way["held out"]["loss"] <= max(row["models held out"]["loss"])) == row["merges"])


def _cells(row: dict[str, Any]) -> tuple[object, ...]:
    best, own, held = _best(row), row["models"], row["models held out"]["loss"]
    name = f"{best['way']} of {best['members']}" if best["members"] != len(own) else best["way"]
    return (
        row["part"],
        f"{row['ways'][0]['said']:.4f}",
        "they merge" if row["merges"] else "they do not",
        name,
        f"{best['said']:.4f}",
        f"{min(own):.4f} to {max(own):.4f}",
        "–" if best["held out"] is None else f"{best['held out']['loss']:.4f}",
        f"{min(held):.4f} to {max(held):.4f}",
        "yes" if _right(row) else "no",
        f"{row['evaluations']:.0f}",
        row["gradients of matching"],
        f"{row['CPU seconds']:.1f}",
        f"{row['CPU seconds'] - row['of which evaluations']:.1f}",
    )
