"""What EXPERIMENTS.md says of experiments/aligned_vision.py."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tables import lines_of, table

HEADINGS = (
    "networks", "line to", "barrier, averaged", "BatchNorm re-estimated", "repaired", "test error of the ends, %",
    "half way, averaged", "re-estimated or repaired", "distance", "gradients", "CPU seconds",
)  # fmt: skip


def section() -> str:
    """Barriers of lines as given, matched, re-estimated and repaired."""
    rows = lines_of("aligned_vision")
    if not rows:
        return ""
    sizes = {row["part"]: row for row in rows}
    trained = "; ".join(
        f"{part}: {row['parameters']:,} parameters, {row['sizes']['steps']} steps of 128 images, lines measured on "
        f"{row['sizes']['tested']:,} test images, {row['sizes']['seen']:,} training images for statistics and matching"
        for part, row in sizes.items()
    )
    return "\n".join(
        [
            "## Networks of pictures, matched, re-estimated and repaired\n",
            "`python experiments/aligned_vision.py --data DIR --store DIR`: two seeds on CIFAR-10. "
            f"{trained}. Barriers are of the test loss, over the straight line between the ends' losses, sampled at "
            f"{len(rows[0]['lines']['averaged'])} points. *Averaged*: as averaging state dicts does, running "
            "statistics too. Repaired: units brought back to their mean and deviation (REPAIR, Jordan et al. 2022), "
            "where there is no BatchNorm, whose statistics are re-estimated instead. Theirs, of ResNet-20 matched "
            "and re-estimated at widths 1, 2, 4, read off a figure: .99, .34, .11. A ViT whose ends have 83.8 % "
            "(Theus et al. 2025): 1.69 as given, .36 by permutations, .00 learned.\n",
            table(HEADINGS, map(_cells, rows)),
            "",
        ]
    )


def _cells(row: Mapping[str, Any]) -> tuple[object, ...]:
    lines, barriers = row["lines"], row["barriers"]
    restored = next(name for name in lines if name != "averaged")
    errors = {name: [100 * each["error"] for each in line] for name, line in lines.items()}
    half = len(errors[restored]) // 2
    return (
        row["part"],
        row["line"],
        f"{barriers['averaged']:.3f}",
        *(f"{barriers[name]:.3f}" if name in barriers else "–" for name in ("re-estimated", "repaired")),
        f"{errors[restored][0]:.1f}, {errors[restored][-1]:.1f}",
        f"{errors['averaged'][half]:.1f}",
        f"{errors[restored][half]:.1f}",
        f"{row['distance']:.1f}",
        row["gradients"],
        row["CPU seconds"],
    )
