"""The paper's quadratic, ten thresholds × 32 pairs: the sweep in one batch against the plain reference, pair by pair.

    python -m benchmarks sweep [--pairs 32] [--alone 2] [--engines native stack]

All sides in one process, from the same ends (the authors' 1-4-4-1 network, mean absolute error). The reference is
eager PyTorch, one bead at a time; of each threshold it connects ``--alone`` pairs, whose time is scaled to all. The
sweep searches by the same algorithm, greedy search, and like the reference tries nothing else where that fails.
Training the ends is left out on both sides. A pair counts whether it was connected or not; how many were is kept.
The engine ``stack`` needs no compiler.
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
    options.add_argument("--engines", nargs="+", default=["native", "stack"])
    chosen = asked(options, arguments)
    thresholds = THRESHOLDS[:2] if chosen.quick else THRESHOLDS
    problem = load_task("polynomial", SETTING)
    stop = ws.MaxBeads(256)
    plan = Plan(thresholds, chosen.pairs, stop=stop)
    own: dict[str, float] = {}
    for engine in chosen.engines:
        problem.use_engine(engine)
        problem.engine_choice()
        trainer = EndTrainer(problem, plan)
        _, training = timed(trainer.train)
        ends = {level: trainer.at(level) for level in plan.levels}
        found, whole = timed(lambda: ws.sweep(problem, thresholds, pairs=chosen.pairs, stop=stop, strategy=ws.Greedy()))
        own[engine] = whole.cpu - training.cpu  # the sweep trains the same ends again
        print(f"{engine}: {own[engine]:.1f} CPU s, and {training.cpu:.1f} to train the ends", flush=True)

    plain = Plain.of(problem, nn.L1Loss())
    torch.manual_seed(0)
    rows, alone = [], 0.0
    for level, trained in ends.items():
        count = min(chosen.alone, len(trained.seeds) // 2)
        ways = [(trained.thetas[2 * i], trained.thetas[2 * i + 1], level) for i in range(count)]
        strings, cost = timed(lambda ways=ways: [plain.connect(*way) for way in ways])
        seconds = cost.cpu * chosen.pairs / count
        alone += seconds
        (summary,) = (each for each in found.summary if each.threshold == level)
        rows.append(
            {
                "threshold": level,
                "pairs": summary.pairs,
                "connected in the sweep": round(summary.connected.value * summary.pairs),
                "reference: pairs": count,
                "reference: connected": sum(string is not None for string in strings),
                "reference: CPU seconds for all": round(seconds, 1),
            }
        )
        print(rows[-1], flush=True)
    pairs = len(found.rows)
    keep(
        "sweep",
        {
            "pairs": pairs,
            "reference, pairs a CPU minute": round(60 * pairs / alone, 2),
            "engines": [
                {
                    "engine": engine,
                    "CPU seconds of the sweep": round(seconds, 1),
                    "pairs a CPU minute": round(60 * pairs / seconds, 1),
                    "times faster": round(alone / seconds, 1),
                }
                for engine, seconds in own.items()
            ],
            **{f"times faster, {engine}": round(alone / seconds, 1) for engine, seconds in own.items()},
            "by threshold": rows,
        },
        chosen.quick,
    )
