"""Draw docs/figures/panels.svg: the five panels of the paper's figure, its means and ours with their intervals.

python experiments/panels.py
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
from figure_section import PANELS, PAPER
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from tables import read

TO = Path(__file__).parents[1] / "docs" / "figures" / "panels.svg"
STYLE = {"font.size": 8, "axes.spines.top": False, "axes.spines.right": False, "svg.hashsalt": "0"}
OURS = ("#1d4ed8", "#15803d", "#7e22ce", "#0e7490")
MEASURES = {"normalized_length": (0, "normalized length"), "beads": (1, "beads")}


def main() -> None:
    """Lengths in the upper row, beads in the lower one."""
    with mpl.rc_context(STYLE):
        figure, panels = plt.subplots(2, len(PANELS), figsize=(13, 5.2), layout="constrained")
        for column, (panel, (words, names)) in enumerate(PANELS.items()):
            for measure, (row, label) in MEASURES.items():
                axes = panels[row, column]
                levels = sorted(PAPER[panel])
                axes.plot(levels, [PAPER[panel][level][row] for level in levels], "o--", color="#c2410c",
                          markersize=4, linewidth=1, label="paper")  # fmt: skip
                for colour, name in zip(OURS, names, strict=False):
                    if (result := read(name)) is not None:
                        _add(axes, panel, name, result, measure, colour)
                axes.set(xscale="log", yscale="log" if measure == "beads" else "linear", ylabel=label)
                axes.set_xlabel(words)
                _ticks(axes, levels, measure)
            panels[0, column].legend(frameon=False, fontsize=7)
        TO.parent.mkdir(exist_ok=True)
        figure.savefig(TO, metadata={"Date": None})
        plt.close(figure)
    print(f"wrote {TO.name}")


def _add(axes: Axes, panel: str, name: str, result: Mapping[str, Any], measure: str, colour: str) -> None:
    """Our means with their intervals; a single pair's as an open mark."""
    known = [own for own in result["summary"] if own["means"][measure][0] is not None]
    places = [math.exp(own["threshold"]) if panel == "language" else own["threshold"] for own in known]
    values = [own["means"][measure] for own in known]
    axes.plot(places, [value[0] for value in values], color=colour, linewidth=1, label=_label(panel, name))
    for place, (value, low, high), own in zip(places, values, known, strict=True):
        single = low is None or own["pairs"] == 1
        axes.plot([place], [value], "o", color=colour, markersize=4, markerfacecolor="white" if single else colour)
        if not single:
            axes.vlines(place, low, high, color=colour, linewidth=1)


def _label(panel: str, name: str) -> str:
    _, _, rest = name.partition("_")
    first, _, images = rest.partition("_")
    if panel not in ("mnist", "cifar10"):
        return "ours"
    return f"ours, σ {'PyTorch' if first == '0' else first}, {int(images):,}"


def _ticks(axes: Axes, levels: Sequence[float], measure: str) -> None:
    """Plain numbers; thresholds that lie close together share a tick."""
    shown: list[float] = []
    for level in levels:
        if not shown or level > 1.2 * shown[-1]:
            shown.append(level)
    axes.set_xticks(shown, [f"{level:g}" for level in shown], rotation=45)
    if measure == "beads":
        low, high = axes.get_ylim()
        ticks = [tick for tick in (2, 3, 4, 6, 10, 20, 40, 60) if low <= tick <= high]
        axes.set_yticks(ticks, [str(tick) for tick in ticks])
    axes.minorticks_off()


if __name__ == "__main__":
    main()
