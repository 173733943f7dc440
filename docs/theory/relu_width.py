"""Draw how the bounds of theory.relu fall with width: python docs/theory/relu_width.py docs/theory/relu-width.svg."""

import statistics
import sys

import matplotlib as mpl
import torch
from matplotlib import pyplot as plt
from sklearn.datasets import load_digits
from torch import nn

import weightstring as ws
from weightstring.theory import relu
from weightstring.theory.one_hidden import OneHidden

WIDTHS = (4, 6, 8, 12, 16, 24, 32, 48, 64)
SEEDS = (0, 1, 2)
STEPS = 400
SHARES = (1.5, 1.1, 1.02)
OVER = ("connect, lasso", "connect, greedy", "exchange", "greedy DSS, sampled")
SHOWN = {
    "straight line, sampled": ("#94a3b8", "", ":"),
    "connect, lasso": ("#d97706", "s", "-"),
    "connect, greedy": ("#b91c1c", "o", "-"),
    "exchange": ("#1d4ed8", "D", "-"),
    "greedy DSS, sampled": ("#15803d", "v", ":"),
    "larger end": ("#475569", "", "--"),
}


def task(width: int) -> ws.ModuleProblem:
    """64-width-10 with ReLU and squared loss on all 1,797 digits of scikit-learn, in float64."""
    images, labels = load_digits(return_X_y=True)
    inputs = torch.tensor(images, dtype=torch.float64) / 16
    targets = nn.functional.one_hot(torch.tensor(labels), 10).double()
    net = nn.Sequential(nn.Linear(64, width), nn.ReLU(), nn.Linear(width, 10)).double()
    return ws.ModuleProblem(net, nn.MSELoss(), (inputs, targets), engine="stack")


def end(problem: ws.ModuleProblem, seed: int) -> torch.Tensor:
    """A model trained by L-BFGS, its outer weights then set to the best ones: no refit alone lowers its loss."""
    theta = problem.initial(seed)
    optimizer = torch.optim.LBFGS([theta], max_iter=STEPS, history_size=20, line_search_fn="strong_wolfe")

    def closure() -> torch.Tensor:
        (loss,), (theta.grad,) = problem.gradient(theta[None], None)
        return loss

    optimizer.step(closure)
    net = OneHidden.of(problem)
    inner, outer = net.parts(theta)
    return net.theta(inner, net.fit(net.features(inner), range(len(inner)), outer))


def searched(problem: ws.ModuleProblem, a: torch.Tensor, b: torch.Tensor, higher: float) -> float:
    """The lowest maximum, as sampled, of greedy strings at thresholds that fall towards the larger end's loss."""
    recipe = ws.Recipe("adam", {"lr": 1e-2}, max_steps=2000)
    strategy = ws.Greedy(retries=1, max_depth=8)
    lowest = ws.locate_maximum(problem, a, b).value
    for share in SHARES:
        found = ws.connect(problem, a, b, share * higher, strategy=strategy, recipe=recipe, progress=False)
        if not found.connected:
            break
        lowest = min(lowest, found.string.max_loss)
    return lowest


def measured(width: int, seed: int) -> dict[str, float]:
    """The larger end's loss, the bound of each path between the ends, and what sampled paths reach."""
    problem = task(width)
    a, b = end(problem, 2 * seed), end(problem, 2 * seed + 1)
    higher = problem.measure(torch.stack([a, b]))["loss"].max().item()
    return {
        "larger end": higher,
        "straight line, sampled": ws.locate_maximum(problem, a, b).value,
        "connect, lasso": relu.connect(problem, a, b, method="lasso").bound,
        "connect, greedy": relu.connect(problem, a, b).bound,
        "exchange": relu.exchange(problem, a, b).bound,
        "greedy DSS, sampled": searched(problem, a, b, higher),
    }


def draw(out: str) -> None:
    """Bounds, and their excess over the larger end, against width: medians as lines, every pair as a faint dot."""
    mpl.rcParams.update({"font.size": 10, "axes.spines.top": False, "axes.spines.right": False, "svg.hashsalt": "0"})
    found = {width: [measured(width, seed) for seed in SEEDS] for width in WIDTHS}
    figure, (heights, excess) = plt.subplots(1, 2, figsize=(8.4, 3.4), layout="constrained")
    for name, (color, marker, kind) in SHOWN.items():
        rows = {width: [pair[name] for pair in pairs] for width, pairs in found.items()}
        style = {"color": color, "marker": marker, "markersize": 4}
        line = {**style, "linestyle": kind, "label": name}
        heights.plot(WIDTHS, [statistics.median(row) for row in rows.values()], **line)
        if name in OVER:
            over = {w: [pair[name] - pair["larger end"] for pair in pairs] for w, pairs in found.items()}
            medians = [statistics.median(row) for row in over.values()]
            print(name, " ".join(f"{width}:{median:.2g}" for width, median in zip(WIDTHS, medians, strict=True)))
            excess.plot(WIDTHS, medians, **line)
            pairs = [(width, value) for width, row in over.items() for value in row]
            excess.plot(*zip(*pairs, strict=True), **style, linestyle="", alpha=0.25)
    for axes in (heights, excess):
        axes.set_xscale("log", base=2)
        axes.set_xticks(WIDTHS, [str(width) for width in WIDTHS])
        axes.minorticks_off()
        axes.set_xlabel("hidden units m")
    heights.set_yscale("log")
    heights.set_ylabel("squared loss, 1,797 digits")
    heights.set_title(f"how high a path goes (median of {len(SEEDS)} pairs)", fontsize=10)
    excess.set_title("the same, over the pair's larger end", fontsize=10)
    excess.set_ylim(bottom=-0.0005)
    heights.legend(frameon=False, fontsize=8, loc="lower left")
    figure.savefig(out, metadata={"Date": None})


if __name__ == "__main__":
    draw(*sys.argv[1:])
