"""What a certificate costs beside a 25-point grid of the same segments, and how many intervals it takes.

python -m benchmarks certificates [--rounds 5]

Two independently trained networks to a tolerance of 1e-3 of the largest sample, and the neighbouring beads of a
finished string under its threshold. The grid is ``ws.loss_curve`` in the network's own dtype, float32, which shares
a wide first layer among its points; certificates are float64. The plain grid is the same 25 models one after the other
in eager PyTorch and float64, the arithmetic that a certificate needs.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence

import torch
from sklearn.datasets import load_digits
from torch import nn

import weightstring as ws
from benchmarks.measuring import ROUNDS, alternating, asked, keep, parser
from weightstring.tasks import load_task

GRID = torch.linspace(0, 1, 25, dtype=torch.float64)


def digits(net: nn.Module, *shape: int) -> ws.ModuleProblem:
    """The loss of a network on all 1797 digits."""
    data = load_digits()
    inputs = torch.tensor(data.data / 16, dtype=torch.float32).view(-1, *shape)
    return ws.ModuleProblem(net, nn.functional.cross_entropy, (inputs, torch.tensor(data.target)))


def mlp(hidden: int) -> nn.Sequential:
    """64-64-…-10."""
    layers = [part for _ in range(hidden) for part in (nn.Linear(64, 64), nn.ReLU())]
    return nn.Sequential(*layers, nn.Linear(64, 10))


class Scaled(nn.Linear):
    """A layer that starts as He et al. (2015) have it, so that many of them can be trained."""

    def reset_parameters(self) -> None:
        """Weights of variance 2 / inputs, no bias."""
        nn.init.kaiming_normal_(self.weight, nonlinearity="relu")
        nn.init.zeros_(self.bias)


def deep(hidden: int) -> nn.Sequential:
    """64-64-…-10 of such layers."""
    layers = [part for _ in range(hidden) for part in (Scaled(64, 64), nn.ReLU())]
    return nn.Sequential(*layers, Scaled(64, 10))


def cnn() -> nn.Sequential:
    """Two convolutions with pooling."""
    return nn.Sequential(
        nn.Conv2d(1, 8, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(8, 16, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
        nn.Flatten(), nn.Linear(64, 10),
    )  # fmt: skip


def plain_grid(problem: ws.ModuleProblem, string: ws.WeightString) -> Callable[[], None]:
    """A grid on every segment, one model at a time, in float64."""
    net, criterion, examples, _ = problem.traceable("loss")
    wide = copy.deepcopy(net).double()
    inputs = examples.leaves[0].double()

    @torch.no_grad()
    def run() -> None:
        for i in range(len(string) - 1):
            for t in GRID.tolist():
                theta = torch.lerp(string[i].double(), string[i + 1].double(), t)
                torch.nn.utils.vector_to_parameters(theta, wide.parameters())
                criterion(wide(inputs), examples.targets).item()

    return run


def row(name: str, problem: ws.ModuleProblem, string: ws.WeightString, threshold: float | None, rounds: int) -> dict:
    """All three in turn, medians."""
    segments = len(string) - 1
    certificate = ws.certify(problem, string, threshold)
    costs = alternating(
        {
            "grid": lambda: [ws.loss_curve(problem, string[i], string[i + 1], GRID) for i in range(segments)],
            "plain grid in float64": plain_grid(problem, string),
            "certificate": lambda: ws.certify(problem, string, threshold),
        },
        rounds,
        warm=False,
    )
    proof = costs["certificate"]
    return {
        "network": name,
        "segments": segments,
        "intervals per segment": certificate.intervals / segments,
        "bound over largest sample": certificate.upper_bound / certificate.largest_sample - 1,
        **{f"{side}, CPU seconds": cost.cpu for side, cost in costs.items()},
        "their range": proof.spread,
        "certificate, wall seconds": proof.wall,
        "ratio to the grid": proof.cpu / costs["grid"].cpu,
        "ratio to the plain grid": proof.cpu / costs["plain grid in float64"].cpu,
    }


def main(arguments: Sequence[str]) -> None:
    """Measure all networks."""
    options = parser(__doc__)
    options.add_argument("--rounds", type=int, default=ROUNDS)
    options.add_argument("--without-mnist", action="store_true")
    chosen = asked(options, arguments)
    rows = []
    problems = {
        "64-64-64-64-10, digits, independent": digits(mlp(3), 64),
        "two convolutions, digits, independent": digits(cnn(), 1, 8, 8),
        "64-(8 × 64)-10, digits, independent": digits(mlp(8), 64),
    }
    if chosen.quick:
        problems = dict([*problems.items()][:1])
    elif not chosen.without_mnist:
        problems["784-256-128-10, MNIST test set, independent"] = load_task("mnist", {})
    for name, problem in problems.items():
        until = 0.15 if "MNIST" in name else 0.05
        a, b = problem.fit(0, until), problem.fit(1, until)
        pair = ws.WeightString(problem, torch.stack([a, b]))
        rows.append(row(name, problem, pair, None, chosen.rounds))
        print(rows[-1], flush=True)
        if "8 × 64" in name:
            continue
        threshold = 1.02 * max(float(problem.measure(end.unsqueeze(0))["loss"]) for end in (a, b))
        found = ws.connect(problem, a, b, threshold, progress=False)
        name = name.replace("independent", "string")
        rows.append(row(name, problem, found.string, threshold, chosen.rounds))
        print(rows[-1], flush=True)
    keep("certificates", {"tolerance": 1e-3, "certificates": rows}, chosen.quick or chosen.without_mnist)
