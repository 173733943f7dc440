"""What EXPERIMENTS.md says of experiments/certified.py."""

from __future__ import annotations

from typing import Any

from tables import read, table

HEADINGS = (
    "networks", "parameters", "distance", "straight line", "segments", "threshold", "largest sample", "certified bound",
    "intervals", "grid, CPU s", "certify, CPU s", "verify, CPU s",
)  # fmt: skip


def seconds(value: float) -> str:
    """To two digits, or whole ones."""
    return f"{value:.0f}" if value >= 10 else f"{value:.2g}"


def trained_words(result: dict[str, Any]) -> str:
    """What the networks are."""
    examples = sorted({row["examples"] for row in result["rows"].values()})
    return (
        "Fine-tunes are of one base, on either half of its data; independent networks differ in their seeds. Bases "
        f"took {result['steps']} steps of AdamW, fine-tunes a quarter of that, with a rate of 10⁻³, ResNets of 10⁻⁶; "
        f"losses are of {' or '.join(f'{count:,}' for count in examples)} examples that no end was trained on, "
        "thresholds 1 % (fine-tunes) or 5 % (independent) over the higher end."
    )


def section() -> str:
    """Strings that were proved, and what that costs beside a grid."""
    result = read("certified")
    if result is None:
        return ""
    rows = result["rows"]
    return "\n".join(
        [
            "## Strings between networks of today, proved\n",
            f"`python experiments/certified.py --data DIR --store DIR`; [each with its figure](docs/proofs.md). "
            f"{trained_words(result)} "
            "`connect(certify=True)` found the strings; then each was certified and verified once more beside a grid "
            f"of {result['points']} points on every segment, in one process: CPU seconds of one thread. The straight "
            "line's height is sampled; –: not verified to the end.\n",
            table(HEADINGS, [_cells(name, row) for name, row in rows.items()]),
            "",
        ]
    )


def _cells(name: str, row: dict[str, Any]) -> tuple[object, ...]:
    bound = "none that is finite" if row["bound"] is None else f"{row['bound']:.5g}"
    verified = row.get("verify, CPU seconds")
    return (
        name,
        f"{row['parameters']:,}",
        f"{row['distance']:.3g}",
        f"{row['line']:.3f}",
        row["segments"],
        f"{row['threshold']:.5g}",
        f"{row['largest sample']:.5g}",
        bound if row["holds"] else f"{bound}, not within the threshold in {row['seconds at most']:.0f} s",
        row["intervals"],
        seconds(row["grid, CPU seconds"]),
        seconds(row["certify, CPU seconds"]),
        "–" if verified is None else f"{seconds(verified)}{'' if row['verified'] else ', refused'}",
    )
