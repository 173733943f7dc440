"""What the three strategies cost on digits and MNIST: gradients per bead and wall time, on the same pairs.

python benchmarks/strategies.py [--pairs 3]
"""

from __future__ import annotations

import argparse
import statistics

import torch
from measuring import keep

import weightstring as ws
from weightstring.path import Objective
from weightstring.tasks import load_task

STRATEGIES = {
    "greedy": ws.Greedy(),
    "constrained (hyperplane)": ws.Constrained(),
    "breadth-first (hyperplane)": ws.BreadthFirst(),
}
UNTIL = {"digits": 0.2, "mnist": 0.12}
MARGIN = 1.02


def measured(problem: ws.ModuleProblem, pairs: list[tuple[torch.Tensor, torch.Tensor]]) -> list[dict[str, object]]:
    """Every strategy on every pair, which take turns."""
    found: dict[str, list[ws.Result]] = {name: [] for name in STRATEGIES}
    for a, b in pairs:
        threshold = MARGIN * float(Objective(problem)(torch.stack([a, b])).max())
        for name, strategy in STRATEGIES.items():
            found[name].append(ws.connect(problem, a, b, threshold, strategy=strategy, progress=False))
    return [
        {
            "strategy": name,
            "connected": sum(result.connected for result in results),
            "pairs": len(results),
            "beads": statistics.median(len(result.string) for result in results),
            "gradients": statistics.median(result.steps for result in results),
            "gradients per inner bead": statistics.median(
                result.steps / max(1, len(result.string) - 2) for result in results
            ),
            "evaluations": statistics.median(result.evaluations for result in results),
            "seconds": statistics.median(result.seconds for result in results),
            "normalized length": statistics.median(result.string.normalized_length for result in results),
        }
        for name, results in found.items()
    ]


def main() -> None:
    """Measure both tasks."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pairs", type=int, default=3)
    parser.add_argument("--tasks", default="digits,mnist")
    options = parser.parse_args()
    tables: dict[str, object] = {}
    for task in options.tasks.split(","):
        problem = load_task(task, {})
        ends = [problem.fit(seed=seed, until=UNTIL[task]) for seed in range(2 * options.pairs)]
        tables[task] = measured(problem, list(zip(ends[::2], ends[1::2], strict=True)))
    keep("strategies", {"ends trained to": str(UNTIL), "threshold": f"{MARGIN} × the larger end", **tables})


if __name__ == "__main__":
    main()
