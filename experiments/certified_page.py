"""Write docs/proofs.md and its figures from what `experiments/certified.py` kept.

python experiments/certified_page.py
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import matplotlib as mpl
from certified_section import seconds, trained_words
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from tables import read

from weightstring.report.draw.along import HEADROOM
from weightstring.report.draw.looseness import operation

DOCS = Path(__file__).parents[1] / "docs"
STYLE = {
    "font.size": 9, "axes.spines.top": False, "axes.spines.right": False, "svg.hashsalt": "0", "svg.fonttype": "none",
}  # fmt: skip
LOSS, BOUND, THRESHOLD = "#1d4ed8", "#0f766e", "#dc2626"
CAUSES = 5
"""Operations that are named."""

Row = Mapping[str, Any]

TEXT = """# Proofs of networks of today

Strings on which the loss is proved to stay under a threshold, from end to end: between transformers, recurrent
networks and networks with BatchNorm. Written by `python experiments/certified_page.py` from what

    python experiments/certified.py --data DIR --store runs/certified

kept; `--only NAME` does one of them, and `weightstring report runs/certified/NAME/run` writes the page of its run.
{trained} What the proofs cost beside a grid of samples is in
[EXPERIMENTS](../EXPERIMENTS.md#strings-between-networks-of-today-proved), what they rest on in
[certificates](certificates.md).

In each figure, on the left: the *sampled* loss along the string, which is over segments of the same width, and the
*certified* bound of each interval above it. On the right: which operations put the highest bound of the loosest
segment above the loss, and their shares.
"""


def main() -> None:
    """Write the page and the figures of what is kept."""
    result = read("certified")
    if result is None:
        raise SystemExit("no experiments/results/certified.json: run experiments/certified.py first")
    folder = DOCS / "figures" / "proofs"
    folder.mkdir(parents=True, exist_ok=True)
    parts = [TEXT.format(trained=trained_words(result))]
    for name, row in result["rows"].items():
        file = name.replace(", ", "-").replace(" ", "-") + ".svg"
        draw(row, folder / file)
        parts.append(f"## {name}\n\n{words(row)}\n\n![{about(row)}](figures/proofs/{file})\n")
    (DOCS / "proofs.md").write_text("\n".join(parts).rstrip() + "\n")
    print(f"wrote proofs.md and {len(result['rows'])} figures")


def words(row: Row) -> str:
    """What was found, in sentences."""
    beads = "the straight line" if row["segments"] == 1 else f"a string of {row['segments'] + 1} beads"
    line = "" if row["segments"] == 1 else f" On the straight line the loss is {row['line']:.3f} at most, sampled."
    bound = "no finite bound" if row["bound"] is None else f"at most {row['bound']:.5g}"
    proved = f"{bound} by {row['intervals']:,} intervals, in {seconds(row['certify, CPU seconds'])} CPU seconds"
    verified = (
        f" Verified by the second implementation in {seconds(row['verify, CPU seconds'])} CPU seconds."
        if row.get("verified")
        else " The second implementation did not get through it in its time."
        if row["holds"]
        else " So nothing is proved; the string is connected by its samples alone."
    )
    return (
        f"{row['parameters']:,} parameters, {row['distance']:.3g} apart; {row['examples']:,} examples. Along {beads} "
        f"the loss is {row['largest sample']:.5g} by samples, the threshold {row['threshold']:.6g}.{line} Certified: "
        f"{proved}.{verified}"
    )


def about(row: Row) -> str:
    """A figure's, for those who do not see it."""
    first = f", {operation(row['causes'][0][0])} the largest" if row["causes"] else ""
    return f"The loss along the string and its bounds; parts of the gap{first}"


def draw(row: Row, file: Path) -> None:
    """A figure of a row."""
    with mpl.rc_context(STYLE):
        figure, (along, parts) = plt.subplots(1, 2, figsize=(9, 2.6), layout="constrained", width_ratios=(3, 2))
        _draw_along(along, row)
        _draw_causes(parts, row)
        figure.savefig(file, metadata={"Date": None})
        plt.close(figure)


def _draw_along(axes: Axes, row: Row) -> None:
    points = len(row["heights"]) // row["segments"]
    places = [segment + k / (points - 1) for segment in range(row["segments"]) for k in range(points)]
    low, high = min(row["heights"]), max(*row["heights"], row["threshold"])
    top = high + HEADROOM * (high - low)
    pieces = [(segment + a, segment + b, top if bound is None else bound) for segment, a, b, bound in row["pieces"]]
    edges = [edge for a, b, _ in pieces for edge in (a, b)]
    bounds = [bound for *_, bound in pieces for _ in range(2)]
    axes.fill_between(edges, [low] * len(edges), bounds, color=BOUND, alpha=0.12, linewidth=0)
    axes.plot(edges, bounds, color=BOUND, linewidth=1, label="certified bound")
    axes.plot(places, row["heights"], color=LOSS, linewidth=1.5, label="sampled loss")
    axes.axhline(row["threshold"], color=THRESHOLD, linewidth=1, label=f"threshold {row['threshold']:.6g}")
    for bead in range(row["segments"] + 1):
        axes.axvline(bead, color="#9aa3b2", linewidth=0.5, zorder=0)
    axes.set_ylim(low - 0.05 * (high - low), min(max(bounds) + 0.05 * (high - low), top))
    axes.set_xlabel("segment + t")
    axes.set_ylabel("loss, nats")
    figure = axes.figure
    figure.legend(*axes.get_legend_handles_labels(), ncols=3, loc="outside upper left", frameon=False, fontsize=8)


def _draw_causes(axes: Axes, row: Row) -> None:
    causes = [(operation(where), share) for where, share in row["causes"][:CAUSES]][::-1]
    others = 1 - sum(share for _, share in causes)
    names = ["all others"] * (others > 0.005) + [name for name, _ in causes]
    shares = [others] * (others > 0.005) + [share for _, share in causes]
    axes.barh(names, [100 * share for share in shares], color=BOUND)
    axes.set_xlabel("% of the gap")


if __name__ == "__main__":
    main()
