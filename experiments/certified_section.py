"""What EXPERIMENTS.md says of experiments/certified.py."""

from __future__ import annotations

from typing import Any

from tables import read, table

HEADINGS = (
    "networks", "parameters", "straight line", "segments", "threshold", "largest sample", "certified bound",
    "intervals", "grid, CPU s", "certify, CPU s", "verify, CPU s",
)  # fmt: skip


def section() -> str:
    """Strings that were proved, and what that costs beside a grid."""
    result = read("certified")
    if result is None:
        return ""
    rows = result["rows"]
    examples = sorted({row["examples"] for row in rows.values()})
    return "\n".join(
        [
            "## Strings between networks of today, proved\n",
            "`python experiments/certified.py --data DIR --store DIR`: fine-tunes are of one base, on either half "
            "of its data; independent networks differ in their seeds. Bases took "
            f"{result['steps']} steps of AdamW; losses are of {' or '.join(map(str, examples))} examples that no end "
            "was trained on, thresholds 1 % (fine-tunes) or 5 % (independent) over the higher end. "
            "`connect(certify=True)` found the strings; then each was certified and verified once more beside a grid "
            f"of {result['points']} points on every segment, in one process: CPU seconds of one thread. The straight "
            "line's height is sampled; –: not verified to the end.\n",
            table(HEADINGS, [_cells(name, row) for name, row in rows.items()]),
            "",
        ]
    )


def _cells(name: str, row: dict[str, Any]) -> tuple[object, ...]:
    bound = "none that is finite" if row["bound"] is None else f"{row['bound']:.4f}"
    verified = row.get("verify, CPU seconds")
    return (
        name,
        f"{row['parameters']:,}",
        f"{row['line']:.3f}",
        row["segments"],
        f"{row['threshold']:.4f}",
        f"{row['largest sample']:.4f}",
        bound if row["holds"] else f"{bound}, not within the threshold in {row['seconds at most']:.0f} s",
        row["intervals"],
        f"{row['grid, CPU seconds']:.2g}",
        f"{row['certify, CPU seconds']:.2g}",
        "–" if verified is None else f"{verified:.2g}{'' if row['verified'] else ', refused'}",
    )
