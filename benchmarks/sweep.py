"""The paper's quadratic, ten thresholds × 32 pairs: the sweep in one batch against the plain reference, pair by pair.

    python -m benchmarks sweep [--pairs 32] [--alone 2] [--engine NAME]

Both sides in one process, from the same ends (the authors' 1-4-4-1 network, mean absolute error). The reference is
eager PyTorch, one bead at a time; of each threshold it connects ``--alone`` pairs, whose time is scaled to all.
Training the ends is left out on both sides. A pair counts whether it was connected or not; how many were is kept.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn

import weightstring as ws
from benchmarks.measuring import asked, keep, parser, timed
from benchmarks.reference import Plain
from weightstring.study.sweep.ends import EndTrainer
from weightstring.study.sweep.plan import Plan
from weightstring.tasks import load_task

THRESHOLDS = (0.125, 0.075, 0.05, 0.025, 0.015, 0.01, 0.005, 0.0025, 0.0015, 0.001)
SETTING = {"target": "quadratic", "activation": "sigmoid", "output": "sigmoid", "optimizer": "adam", "loss": "absolute"}


def main(arguments: Sequence[str]) -> None:
    options = parser(__doc__)
    options.add_argument("--pairs", type=int, default=32)
    options.add_argument("--alone", type=int, default=2)
    options.add_argument("--engine", default="auto")
    chosen = asked(options, arguments)
    thresholds = THRESHOLDS[:2] if chosen.quick else THRESHOLDS
    problem = load_task("polynomial", SETTING)
    problem.use_engine(chosen.engine)
    problem.engine_choice()
    stop = ws.MaxBeads(256)
    plan = Plan(thresholds, chosen.pairs, stop=stop)
    trainer = EndTrainer(problem, plan, None)
    ends, cost = timed(lambda: {level: trainer.at(level, 2 * chosen.pairs) for level in plan.levels})
    training = cost.cpu
    found, cost = timed(lambda: ws.sweep(problem, thresholds, pairs=chosen.pairs, stop=stop))
    together = cost.cpu - training  # the sweep trains the same ends again

    net = nn.Sequential(nn.Linear(1, 4), nn.Sigmoid(), nn.Linear(4, 4), nn.Sigmoid(), nn.Linear(4, 1), nn.Sigmoid())
    train, evaluate = problem.fitted()[0], problem.observed()
    plain = Plain(
        net, nn.L1Loss(), (train.leaves[0], train.targets), (evaluate.leaves[0], evaluate.targets), batch_size=256
    )
    torch.manual_seed(0)
    rows, alone = [], 0.0
    for level, own in ends.items():
        count = min(chosen.alone, len(own.seeds) // 2)
        ways = [(own.thetas[2 * i], own.thetas[2 * i + 1], level) for i in range(count)]
        strings, cost = timed(lambda ways=ways: [plain.connect(*way) for way in ways])
        connected = sum(string is not None for string in strings)
        seconds = cost.cpu * chosen.pairs / count
        alone += seconds
        (summary,) = (each for each in found.summary if each.threshold == level)
        rows.append(
            {
                "threshold": level,
                "pairs": summary.pairs,
                "connected in the sweep": round(summary.connected.value * summary.pairs),
                "reference: pairs": count,
                "reference: connected": connected,
                "reference: CPU seconds for all": round(seconds, 1),
            }
        )
        print(rows[-1], flush=True)
    pairs = len(found.rows)
    keep(
        "sweep",
        {
            "engine": problem.engine_choice().reason,
            "pairs": pairs,
            "CPU seconds to train the ends": round(training, 1),
            "CPU seconds of the sweep without that": round(together, 1),
            "pairs a CPU minute": round(60 * pairs / together, 1),
            "reference, pairs a CPU minute": round(60 * pairs / alone, 2),
            "times faster": round(alone / together, 1),
            "by threshold": rows,
        },
        chosen.quick,
    )
