"""The paper's quadratic, ten thresholds × 32 pairs: the sweep in one batch against the plain reference, pair by pair.

    python benchmarks/sweep.py [--pairs 32] [--alone 2] [--engine auto|fastest]

Both sides in one process, from the same ends (the authors' 1-4-4-1 network, mean absolute error). The reference is
eager PyTorch, one bead at a time; of each threshold it connects ``--alone`` pairs, whose time is scaled to all.
Training the ends is left out on both sides. A pair counts whether it was connected or not; how many were is kept.
"""

from __future__ import annotations

import argparse
import time

import torch
from measuring import keep
from reference import Plain
from torch import nn

import weightstring as ws
from weightstring.study.sweep.ends import EndTrainer
from weightstring.study.sweep.plan import Plan
from weightstring.tasks import load_task

THRESHOLDS = (0.125, 0.075, 0.05, 0.025, 0.015, 0.01, 0.005, 0.0025, 0.0015, 0.001)
SETTING = {"target": "quadratic", "activation": "sigmoid", "output": "sigmoid", "optimizer": "adam", "loss": "absolute"}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, default=32)
    parser.add_argument("--alone", type=int, default=2)
    parser.add_argument("--engine", choices=["auto", "fastest"], default="auto")
    options = parser.parse_args()
    problem = load_task("polynomial", SETTING)
    problem.use_engine(options.engine)
    problem.engine_choice()
    stop = ws.MaxBeads(256)
    plan = Plan(THRESHOLDS, options.pairs, stop=stop)
    trainer = EndTrainer(problem, plan, None)
    start = time.perf_counter()
    ends = {level: trainer.at(level, 2 * options.pairs) for level in plan.levels}
    training = time.perf_counter() - start
    start = time.perf_counter()
    found = ws.sweep(problem, THRESHOLDS, pairs=options.pairs, stop=stop)  # which trains the same ends again
    together = time.perf_counter() - start - training

    net = nn.Sequential(nn.Linear(1, 4), nn.Sigmoid(), nn.Linear(4, 4), nn.Sigmoid(), nn.Linear(4, 1), nn.Sigmoid())
    train, evaluate = problem.fitted()[0], problem.observed()
    plain = Plain(
        net, nn.L1Loss(), (train.leaves[0], train.targets), (evaluate.leaves[0], evaluate.targets), batch_size=256
    )
    torch.manual_seed(0)
    rows, alone = [], 0.0
    for level, own in ends.items():
        count = min(options.alone, len(own.seeds) // 2)
        start = time.perf_counter()
        connected = sum(
            plain.connect(own.thetas[2 * i], own.thetas[2 * i + 1], level) is not None for i in range(count)
        )
        seconds = (time.perf_counter() - start) * options.pairs / count
        alone += seconds
        (summary,) = (each for each in found.summary if each.threshold == level)
        rows.append(
            {
                "threshold": level,
                "pairs": summary.pairs,
                "connected in the sweep": round(summary.connected.value * summary.pairs),
                "reference: pairs": count,
                "reference: connected": connected,
                "reference: seconds for all": round(seconds, 1),
            }
        )
        print(rows[-1], flush=True)
    pairs = len(found.rows)
    keep(
        "sweep",
        {
            "engine": problem.engine_choice().reason,
            "pairs": pairs,
            "seconds to train the ends": round(training, 1),
            "seconds of the sweep without that": round(together, 1),
            "pairs a minute": round(60 * pairs / together, 1),
            "reference, pairs a minute": round(60 * pairs / alone, 2),
            "times faster": round(alone / together, 1),
            "by threshold": rows,
        },
    )


if __name__ == "__main__":
    main()
