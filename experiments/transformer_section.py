"""What EXPERIMENTS.md says of experiments/aligned_transformers.py."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tables import RESULTS, read, table

HEADINGS = (
    "line", "barrier, nats", "of the line as given", "distance", "evaluations", "gradients", "CPU seconds",
    "string: gradients", "beads", "length",
)  # fmt: skip


def section() -> str:
    """The barrier of the line as given, and by each way to align, for each size."""
    names = [path.stem for path in RESULTS.glob("aligned_transformers_*.json")]
    found = [result for name in names if (result := read(name)) is not None]
    sizes = map(_of_size, sorted(found, key=lambda result: result["setting"]["parameters"]))
    return "\n".join(["## Two transformers, and the symmetries between them\n", *sizes]) if found else ""


def _of_size(result: Mapping[str, Any]) -> str:
    setting, rows = result["setting"], result["rows"]
    given = rows[0]["barrier"]
    cells = [
        (
            row["line"],
            f"{row['barrier']:.4f}",
            f"{row['barrier'] / given:.3f}",
            f"{row['distance']:.2f}",
            f"{row['evaluations']:.3g}",
            row["gradients"],
            row["CPU seconds"],
            *_of_string(row["string"]),
        )
        for row in rows
    ]
    ends = " and ".join(f"{rows[0]['losses'][index]:.3f}" for index in (0, -1))
    return "\n".join(
        [
            f"`python experiments/aligned_transformers.py --data FILE --store DIR --layers {setting['layers']} "
            f"--width {setting['width']} --steps {setting['steps']}`: GPT-2's layout, output layer not tied, "
            f"{setting['parameters']:,} parameters, two seeds on the characters of Tiny Shakespeare; losses of the "
            f"ends {ends} on {result['held out']} held-out examples. Barriers are over the straight line "
            f"between the ends' losses, sampled at {len(rows[0]['losses'])} points. "
            f"Strings are under {result['threshold']:.3f}, 1 % over the higher end, and their gradients are beside "
            "those of matching. Theus et al. 2025, 6 blocks of width 256: 2.02 as given, .34 by permutations, .02 by "
            "learned matching.\n",
            table(HEADINGS, cells),
            "",
        ]
    )


def _of_string(string: Mapping[str, Any] | None) -> tuple[object, ...]:
    """Its gradients, beads and length; how high it remained where it was not found; –: it was not searched for."""
    if string is None:
        return "–", "–", "–"
    if not string["connected"]:
        return string["gradients"], string["beads"], f"not found; {string['largest']:.3f} at its highest"
    return string["gradients"], string["beads"], f"{string['length']:.3f}"
