"""The paper's quadratic, ten thresholds × 32 pairs: the sweep in one batch against the plain reference, pair by pair.

    python -m benchmarks sweep [--pairs 32] [--alone 2] [--engines native stack]

All sides in one process, from the same ends (the authors' 1-4-4-1 network, mean absolute error). The reference is
eager PyTorch, one bead at a time; of each threshold it connects ``--alone`` pairs, whose time is scaled to all. Each
engine sweeps before the reference and after it, and the mean counts: what else the machine does changes meanwhile. The
sweep searches by the same algorithm, greedy search, and like the reference tries nothing else where that fails.
Training the ends is left out on both sides. A pair counts whether it was connected or not; how many were is kept.
The engine ``stack`` needs no compiler.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import nn

import weightstring as ws
from benchmarks.measuring import asked, keep, parser, timed
from benchmarks.reference import Plain
from weightstring.study.sweep.ends import EndTrainer, Networks
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
    plan = Plan(thresholds, chosen.pairs, stop=ws.MaxBeads(256))
    before, ends, found = swept(problem, plan, chosen.engines)
    rows = reference(problem, ends, found, chosen.alone)
    after, *_ = swept(problem, plan, chosen.engines)
    alone, pairs = sum(row["reference: CPU seconds for all"] for row in rows), len(found.rows)
    means = {engine: (before[engine] + after[engine]) / 2 for engine in chosen.engines}
    kept = {
        "pairs": pairs,
        "reference, pairs a CPU minute": round(60 * pairs / alone, 2),
        "engines": [
            {
                "engine": engine,
                "CPU seconds of the sweep": round(seconds, 1),
                "before the reference": round(before[engine], 1),
                "after it": round(after[engine], 1),
                "pairs a CPU minute": round(60 * pairs / seconds, 1),
                "times faster": round(alone / seconds, 1),
            }
            for engine, seconds in means.items()
        ],
        **{f"times faster, {engine}": round(alone / seconds, 1) for engine, seconds in means.items()},
        "by threshold": rows,
    }
    keep("sweep", kept, chosen.quick)


def swept(
    problem: ws.ModuleProblem, plan: Plan, engines: Sequence[str]
) -> tuple[dict[str, float], dict[float, Networks], ws.Sweep]:
    """CPU seconds of the whole sweep by each engine, without the training of the ends; the ends, and what was found."""
    own = {}
    for engine in engines:
        problem.use_engine(engine)
        problem.engine_choice()
        trainer = EndTrainer(problem, plan)
        _, training = timed(trainer.train)
        found, whole = timed(
            lambda: ws.sweep(problem, plan.levels, pairs=plan.pairs, stop=plan.stop, strategy=ws.Greedy())
        )
        own[engine] = whole.cpu - training.cpu  # the sweep trains the same ends again
        print(f"{engine}: {own[engine]:.1f} CPU s, and {training.cpu:.1f} to train the ends", flush=True)
    return own, {level: trainer.at(level) for level in plan.levels}, found


def reference(
    problem: ws.ModuleProblem, ends: Mapping[float, Networks], found: ws.Sweep, most: int
) -> list[dict[str, float]]:
    """A row a threshold: the first pairs one after the other, and their CPU seconds scaled to all."""
    plain = Plain.of(problem, nn.L1Loss())
    torch.manual_seed(0)
    rows = []
    for level, trained in ends.items():
        (summary,) = (each for each in found.summary if each.threshold == level)
        count = min(most, len(trained.seeds) // 2)
        ways = [(trained.thetas[2 * i], trained.thetas[2 * i + 1], level) for i in range(count)]
        strings, cost = timed(lambda ways=ways: [plain.connect(*way) for way in ways])
        rows.append(
            {
                "threshold": level,
                "pairs": summary.pairs,
                "connected in the sweep": round(summary.connected.value * summary.pairs),
                "reference: pairs": count,
                "reference: connected": sum(string is not None for string in strings),
                "reference: CPU seconds for all": round(cost.cpu * summary.pairs / count, 1),
            }
        )
        print(rows[-1], flush=True)
    return rows
