"""Write docs/atlas.md and its figure from what `experiments/atlas.py` kept.

python experiments/atlas_page.py
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import combinations, zip_longest
from pathlib import Path
from statistics import median
from typing import Any

import matplotlib as mpl
import torch
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from tables import read, table

import weightstring as ws
from weightstring.report.draw.tree import disconnectivity_tree
from weightstring.study.sweep.statistics import share_of

DOCS = Path(__file__).parents[1] / "docs"
KINDS = ("as trained", "aligned")
STYLE = {"font.size": 9, "axes.spines.top": False, "axes.spines.right": False, "svg.hashsalt": "0"}
COLOURS = dict(zip(KINDS, ("#c2410c", "#1d4ed8"), strict=True))
Found = Mapping[str, Any]

TEXT = """# An atlas of minima on CIFAR-10

Written by `python experiments/atlas_page.py` from what

    python experiments/atlas.py --data DIR --store runs/atlas

kept: {networks} networks of the paper's form, an eighth as wide ({parameters:,} parameters), trained on
{train_size} images of CIFAR-10 until the loss on {test_size} test images is {level}. All heights are *sampled*
evaluation losses.

![Barriers of straight lines, disconnectivity trees, and curvature half way](figures/atlas.svg)

- **Upper left and middle.** The barrier of the straight line between every two networks, over the mean of the two:
  as they were trained, and with the units of each permuted to those of the first. {barriers}
- **Right, and lower left.** Each network hangs at its own loss; where branches meet, a string of that height joins
  them. Strings are sought along the spanning tree of the lowest lines, with {steps} gradient steps for each, so that
  every join is an upper bound of the lowest one. {joins}
- **Lower middle and right.** κ, the largest eigenvalue of the Hessian of the training loss (on {curved} training
  images), half way along each of these strings, over the mean κ of its two ends; and the loss there over the mean of
  theirs. {curvature} Strings that share a network are not independent, which these intervals take them to be.

"""


def main() -> None:
    """Write the page and the figure of what is kept."""
    result = read("atlas")
    if result is None:
        raise SystemExit("no experiments/results/atlas.json: run experiments/atlas.py first")
    kinds = {kind: result[kind] for kind in KINDS if kind in result}
    words = TEXT.format(
        **{key: result[key] for key in ("networks", "parameters", "level", "curved", "steps")},
        **{key: result["setting"][key] for key in ("train_size", "test_size")},
        barriers=" ".join(barrier_words(kind, found) for kind, found in kinds.items()),
        joins=" ".join(join_words(kind, found) for kind, found in kinds.items()),
        curvature=" ".join(curvature_words(kind, found) for kind, found in kinds.items() if "middles" in found)
        or "(Not measured yet.)",
    )
    parts = [words, *(tree_table(kind, found) for kind, found in kinds.items())]
    (DOCS / "atlas.md").write_text("\n".join(parts).rstrip() + "\n")
    draw(kinds, DOCS / "figures" / "atlas.svg")
    print("wrote atlas.md and atlas.svg")


def barrier_words(kind: str, found: Found) -> str:
    """Barriers of the lines in a sentence."""
    values = off_diagonal(found["barriers"])
    distances = off_diagonal(found["distances"])
    return (
        f"{kind.capitalize()}: median {median(values):.3f} nats, from {min(values):.3f} to {max(values):.3f}, of "
        f"{len(values)} lines; distances {min(distances):.1f} to {max(distances):.1f}."
    )


def join_words(kind: str, found: Found) -> str:
    """How far strings sank, in a sentence."""
    tree = found["tree"]
    resolved = sum(own["resolved"] for own in tree)
    gradients, length = (median(own[name] for own in tree) for name in ("gradients", "length"))
    return (
        f"{kind.capitalize()}: {resolved} of {len(tree)} strings are no higher than their higher end; the highest is "
        f"at {max(own['height'] for own in tree):.3f}; medians: {gradients:g} gradients, length {length:.3f}."
    )


def curvature_words(kind: str, found: Found) -> str:
    """Whether strings are sharper half way than at their ends, in a sentence."""
    ratios = [ratio for ratio, _ in curvatures(found)]
    higher = sum(ratio > 1 for ratio in ratios)
    share = share_of(higher, len(ratios))
    verdict = "rises" if share.low > 0.5 else "falls" if share.high < 0.5 else "neither rises nor falls for certain"
    return (
        f"{kind.capitalize()}: κ is higher half way on {higher} of {len(ratios)} strings (95 % interval of the share "
        f"{share.low:.2f} to {share.high:.2f}): it {verdict}; the median ratio is {median(ratios):.2f}."
    )


def curvatures(found: Found) -> list[tuple[float, float]]:
    """For each string: κ half way over the mean of its ends', and the loss there over the mean of theirs."""
    own = []
    for middle in found.get("middles", ()):
        i, j = middle["edge"]
        kappa = (found["ends"][i] + found["ends"][j]) / 2
        loss = (found["lines"][i][i] + found["lines"][j][j]) / 2
        own.append((middle["kappa"] / kappa, middle["loss"] - loss))
    return own


def off_diagonal(rows: Sequence[Sequence[float]]) -> list[float]:
    """Each pair's number once."""
    return [rows[i][j] for i, j in combinations(range(len(rows)), 2)]


def tree_table(kind: str, found: Found) -> str:
    """The strings along the spanning tree."""
    rows = [
        (
            " – ".join(map(str, own["edge"])),
            f"{own['line']:.4f}",
            f"{own['height']:.4f}" + (", the higher end's" if own["resolved"] else ""),
            f"{own['length']:.3f}",
            own["beads"],
            own["gradients"],
            "–" if math.isnan(ratio) else f"{ratio:.2f}",
            "–" if math.isnan(rise) else f"{rise:+.4f}",
        )
        for own, (ratio, rise) in zip_longest(found["tree"], curvatures(found), fillvalue=(math.nan, math.nan))
    ]
    headings = ("networks", "line: largest loss", "string: largest loss", "length", "beads", "gradients")
    headings += ("κ half way / at the ends", "loss half way − at the ends")
    return f"## The spanning tree, {kind}\n\n" + table(headings, rows)


def draw(kinds: Mapping[str, Found], to: Path) -> None:
    """Two rows: lines and trees, as trained and aligned, and curvature."""
    with mpl.rc_context(STYLE):
        figure, panels = plt.subplots(2, 3, figsize=(11, 6.6), layout="constrained")
        top = max(max(off_diagonal(found["barriers"])) for found in kinds.values())
        trees = (panels[0, 2], panels[1, 0])
        for place, (kind, found) in enumerate(kinds.items()):
            image = panels[0, place].imshow(found["barriers"], vmin=0, vmax=top, cmap="viridis")
            panels[0, place].set_title(f"barrier of the line, {kind}")
            draw_tree(trees[place], kind, found)
        figure.colorbar(image, ax=panels[0, :2], label="nats over the mean of the two", shrink=0.8)
        low = min(min(map(min, found["heights"])) for found in kinds.values())
        high = max(max(map(max, found["heights"])) for found in kinds.values())
        for axes in trees:
            axes.set_ylim(low - 0.15 * (high - low), high + 0.05 * (high - low))
        draw_curvature(panels[1, 1], panels[1, 2], kinds)
        to.parent.mkdir(exist_ok=True)
        figure.savefig(to, metadata={"Date": None})
        plt.close(figure)


def draw_tree(axes: Axes, kind: str, found: Found) -> None:
    """The library's disconnectivity tree."""
    losses = torch.tensor(found["lines"], dtype=torch.float64).diag()
    above = torch.tensor(found["heights"], dtype=torch.float64)
    bounds = ws.Components(losses, above, torch.maximum(losses[:, None], losses[None, :]))
    *branches, leaves = disconnectivity_tree(bounds).data
    for branch in branches:
        axes.plot(branch.x, branch.y, color=COLOURS[kind], linewidth=1.2)
    axes.plot(leaves.x, leaves.y, "o", color="#475569", markersize=3)
    for x, y, name in zip(leaves.x, leaves.y, leaves.text, strict=True):
        axes.annotate(name, (x, y), xytext=(0, -9), textcoords="offset points", ha="center", fontsize=7)
    axes.set(xticks=[], ylabel="evaluation loss", title=f"joins of strings, {kind}")


def draw_curvature(ratios: Axes, both: Axes, kinds: Mapping[str, Found]) -> None:
    """κ half way over that at the ends, string by string; and against the rise of the loss."""
    for kind, found in kinds.items():
        own = curvatures(found)
        ordered = sorted(ratio for ratio, _ in own)
        ratios.plot(range(1, len(own) + 1), ordered, "o-", color=COLOURS[kind], markersize=4, label=kind)
        both.plot([rise for _, rise in own], [ratio for ratio, _ in own], "o", color=COLOURS[kind], markersize=4)
    for axes in (ratios, both):
        axes.axhline(1, color="#475569", linestyle=":", linewidth=1)
        axes.set_ylabel("κ half way / at the ends")
    ratios.set(xlabel="strings, in order", title="curvature half way")
    both.set(xlabel="loss half way − at the ends", title="curvature and height")
    ratios.legend(frameon=False)


if __name__ == "__main__":
    main()
