"""Draw the README's picture from a finished run: python docs/picture.py RUN docs/digits.svg."""

import sys

import matplotlib as mpl
import torch
from matplotlib import pyplot as plt

import weightstring as ws
from weightstring.tasks import load_task


def draw(run: str, out: str) -> None:
    """Loss along the string and along the straight line, against the share of the way."""
    mpl.rcParams.update({"font.size": 10, "axes.spines.top": False, "axes.spines.right": False, "svg.hashsalt": "0"})
    problem = load_task("digits")
    result = ws.load(run, problem)
    string = result.string
    ts = torch.linspace(0, 1, 101, dtype=torch.float64)
    line = ws.loss_curve(problem, string[0], string[-1], ts)

    figure, (wide, close) = plt.subplots(1, 2, figsize=(8.4, 2.9), layout="constrained")
    for axes in (wide, close):
        axes.plot(ts, line, color="#c2410c", label="straight line")
        axes.plot(string.curve.s, string.curve.values["loss"], color="#1d4ed8", label="string")
        beads = [i for i, t in enumerate(string.curve.t) if t in (0.0, 1.0)]
        axes.plot(
            [string.curve.s[i] for i in beads],
            [string.curve.values["loss"][i] for i in beads],
            "o",
            color="#1d4ed8",
            markersize=4,
            label="beads",
        )
        axes.axhline(result.threshold, color="#475569", linestyle="--", linewidth=1, label="threshold")
        axes.set_xlabel("share of the way")
    low = min(string.curve.values["loss"])
    close.set_ylim(low - 0.15 * (result.threshold - low), result.threshold + 0.6 * (result.threshold - low))
    wide.set_ylabel("evaluation loss, 500 digits")
    wide.set_title("sampled loss between two digit classifiers", fontsize=10)
    close.set_title("the same, close to the threshold", fontsize=10)
    wide.legend(frameon=False, fontsize=9)
    figure.savefig(out, metadata={"Date": None})


if __name__ == "__main__":
    draw(*sys.argv[1:])
