"""Draw how a string's maximum falls with its segments' length: python docs/theory/quartic_rate.py OUT.svg."""

import sys

import matplotlib as mpl
import numpy as np
import torch
from matplotlib import pyplot as plt

import weightstring as ws
from weightstring.theory.quartic import Quartic, minimiser, rotation, segment_bound, split_segments

LEVEL = 0.2
"""L0 of the second experiment: products 0.8 a*, ‖a*‖² = 5."""


def splitting(toy: Quartic, depths: range) -> tuple[list[float], list[float]]:
    """Longest segment and maximum of the strings that splitting gives between two minimisers."""
    strings = [split_segments(toy, *toy.ends, depth) for depth in depths]
    return [longest(string) for string in strings], [string.max_loss for string in strings]


def inscribed(toy: Quartic, counts: list[int]) -> tuple[list[float], list[float]]:
    """Longest segment and excess over ``LEVEL`` of strings inscribed in a turn at constant loss."""
    product = 0.8 * torch.tensor(toy.target, dtype=torch.float64)
    first, last = (
        minimiser(torch.tensor(w1, dtype=torch.float64), product) for w1 in ([1.0, 0.2, 0.0], [-0.5, 1.0, 0.3])
    )
    (turn, *_) = rotation(toy, first, last).pieces
    strings = [ws.WeightString(toy, torch.stack([turn(i / n) for i in range(n + 1)])) for n in counts]
    return [longest(string) for string in strings], [string.max_loss - LEVEL for string in strings]


def longest(string: ws.WeightString) -> float:
    """Length of the longest segment."""
    return float((string.beads[1:] - string.beads[:-1]).norm(dim=1).max())


def slope(lengths: list[float], rises: list[float]) -> float:
    """The fitted exponent."""
    return float(np.polyfit(np.log(lengths), np.log(rises), 1)[0])


def draw(out: str) -> None:
    """Excess against length, measured and bounded, both axes logarithmic."""
    mpl.rcParams.update({"font.size": 10, "axes.spines.top": False, "axes.spines.right": False, "svg.hashsalt": "0"})
    toy = Quartic(target=(1.0, -2.0), width=3)
    figure, axes = plt.subplots(figsize=(6.4, 3.6), layout="constrained")
    for (lengths, rises), level, color, name in (
        (inscribed(toy, [4, 8, 16, 32, 64]), LEVEL, "#c2410c", "level 0.2"),
        (splitting(toy, range(1, 7)), 0.0, "#1d4ed8", "between minimisers"),
    ):
        exponent = slope(lengths[1:], rises[1:])
        print(f"{name}: exponent {exponent:.3f}, lengths {lengths}, rises {rises}")
        axes.loglog(lengths, rises, "o", color=color, label=f"{name}: slope {exponent:.2f}")
        bounds = [segment_bound(length, level) - level for length in lengths]
        axes.loglog(lengths, bounds, color=color, linewidth=1, label="its bound")
    axes.set_xlabel("length of the longest segment")
    axes.set_ylabel("largest loss on the string, less $L_0$")
    axes.legend(frameon=False, fontsize=9)
    figure.savefig(out, metadata={"Date": None})


if __name__ == "__main__":
    draw(*sys.argv[1:])
