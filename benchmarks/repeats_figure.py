"""The figure that `repeats` draws of its rows: who is connected after so many seconds, and by how long a path."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

FIGURE = Path(__file__).parents[1] / "docs" / "figures" / "repeats.svg"
COLOURS = ("#1d4ed8", "#c2410c", "#15803d", "#7e22ce", "#475569")
Row = dict[str, object]


def draw(rows: Sequence[Row]) -> None:
    """A line of panels for each task: share connected against CPU seconds, and length against seconds."""
    import matplotlib as mpl
    from matplotlib import pyplot as plt

    tasks = list(dict.fromkeys(str(row["task"]) for row in rows))
    if not tasks:
        return
    style = {"font.size": 9, "axes.spines.top": False, "axes.spines.right": False, "svg.hashsalt": "0"}
    with mpl.rc_context(style):
        figure, panels = plt.subplots(
            len(tasks), 2, figsize=(8.4, 2.9 * len(tasks)), layout="constrained", squeeze=False
        )
        for task, (share, length) in zip(tasks, panels, strict=True):
            own = [row for row in rows if row["task"] == task]
            for colour, side in zip(COLOURS, sorted({str(row["side"]) for row in own}, reverse=True), strict=False):
                mine = [row for row in own if row["side"] == side]
                held = sorted((row for row in mine if row["holds"]), key=seconds)
                ups = [(i + 1) / len(mine) for i in range(len(held))]
                share.step([seconds(row) for row in held], ups, where="post", color=colour, label=side)
                lengths = [float(row["normalized length"]) for row in held]
                length.plot([seconds(row) for row in held], lengths, "o", color=colour, markersize=3, alpha=0.6)
            share.set(xscale="log", ylim=(0, 1.03), ylabel="share connected", title=task)
            length.set(xscale="log", ylabel="normalized length", title=task)
            for axes in (share, length):
                axes.set_xlabel("CPU seconds")
                low, high = axes.get_xlim()
                ticks = [d * 10.0**k for k in range(-3, 5) for d in (1, 2, 5) if low <= d * 10.0**k <= high]
                axes.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
                axes.minorticks_off()
        handles = {line.get_label(): line for axes in panels[:, 0] for line in axes.get_lines()}
        figure.legend(handles.values(), handles, loc="outside upper center", frameon=False, ncols=len(handles))
        FIGURE.parent.mkdir(exist_ok=True)
        figure.savefig(FIGURE, metadata={"Date": None})
        plt.close(figure)


def seconds(row: Row) -> float:
    """CPU seconds of a row."""
    return float(row["CPU seconds"])
