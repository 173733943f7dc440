"""Connect pairs of MNIST networks: the library against the plain reference, in one process.

    python -m benchmarks connect [--net mlp|small-cnn] [--until 0.15] [--seeds 10] [--data DIR]

Pair s are the networks of seeds 2s and 2s + 1, trained on 10,000 images to a test loss of ``--until``;
the threshold is 1.02 × the larger end. Our strings are checked on 401 points of every segment.
"""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import torch
from torch import nn

import weightstring as ws
from benchmarks.measuring import asked, keep, parser, timed
from benchmarks.reference import Plain
from weightstring.tasks.images import CONVOLUTIONAL, mnist
from weightstring.tasks.networks import mlp

POINTS = 401
MARGIN = 1.02


def main(arguments: Sequence[str]) -> None:
    options = parser(__doc__)
    options.add_argument("--net", choices=["mlp", *CONVOLUTIONAL], default="mlp")
    options.add_argument("--until", type=float, default=0.15)
    options.add_argument("--seeds", type=int, default=10)
    options.add_argument("--points", type=int, default=POINTS, help="of the check, on each segment")
    options.add_argument("--data", type=Path)
    chosen = asked(options, arguments)

    if chosen.quick:
        chosen.seeds, chosen.points = 1, 101
    problem = mnist(net=chosen.net, train_size=10_000, data=chosen.data)
    net = mlp([784, 256, 128, 10]) if chosen.net == "mlp" else CONVOLUTIONAL[chosen.net]()
    plain = Plain(net, nn.CrossEntropyLoss(), *tensors(problem))
    problem.engine_choice()
    rows = []
    for seed in range(chosen.seeds):
        a, b = (problem.fit(seed=2 * seed + i, until=chosen.until) for i in (0, 1))
        threshold = MARGIN * max(plain.loss(a), plain.loss(b))
        torch.manual_seed(seed)
        beads, theirs = timed(lambda a=a, b=b, threshold=threshold: plain.connect(a, b, threshold))
        result, own = timed(lambda a=a, b=b, threshold=threshold: ws.connect(problem, a, b, threshold))
        row = {
            "plain": theirs.cpu,
            "ours": own.cpu,
            "plain connected": beads is not None,
            "ours connected": result.connected,
            "plain beads": len(beads or []),
            "ours beads": len(result.string),
            "threshold": threshold,
            "largest of ours": highest(problem, plain, list(result.string), chosen.points),
        }
        rows.append(row)
        print(seed, {k: round(v, 4) if isinstance(v, float) else v for k, v in row.items()}, flush=True)
    ratios = [row["ours"] / row["plain"] for row in rows]
    keep(
        f"connect-{chosen.net}",
        {
            "engine": problem.engine_choice().reason,
            "trained to": chosen.until,
            "median CPU seconds, plain": round(statistics.median(row["plain"] for row in rows), 2),
            "median CPU seconds, ours": round(statistics.median(row["ours"] for row in rows), 2),
            "median ratio": round(statistics.median(ratios), 3),
            "ratio of all": round(sum(row["ours"] for row in rows) / sum(row["plain"] for row in rows), 3),
            "connected, plain": f"{sum(row['plain connected'] for row in rows)} of {len(rows)}",
            "connected, ours": f"{sum(row['ours connected'] for row in rows)} of {len(rows)}",
            f"under the threshold at {chosen.points} points a segment, ours": (
                f"{sum(row['largest of ours'] <= row['threshold'] for row in rows)} of {len(rows)}"
            ),
            "pairs": rows,
        },
        chosen.quick,
    )


def tensors(problem: ws.ModuleProblem) -> tuple[tuple[torch.Tensor, torch.Tensor], tuple[torch.Tensor, torch.Tensor]]:
    """The problem's own training and evaluation examples."""
    return tuple((data.leaves[0], data.targets) for data in (problem.fitted()[0], problem.observed()))


def highest(problem: ws.ModuleProblem, plain: Plain, beads: list[torch.Tensor], points: int) -> float:
    """The largest loss on the string; the point found highest on each segment is evaluated by plain PyTorch too."""
    ts = torch.linspace(0, 1, points, dtype=torch.float64)
    largest = 0.0
    for a, b in pairwise(beads):
        curve = ws.loss_curve(problem, a, b, ts)
        top = float(ts[curve.argmax()])
        largest = max(largest, float(curve.max()), plain.loss(torch.lerp(a, b, top)))
    return largest
