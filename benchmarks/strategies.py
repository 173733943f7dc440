"""What the three strategies cost on digits and MNIST: gradients per bead and CPU seconds, on the same pairs.

python -m benchmarks strategies [--pairs 5]
"""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from functools import partial

import torch

import weightstring as ws
from benchmarks.measuring import Cost, asked, keep, middle, parser, timed
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
    costs: dict[str, list[Cost]] = {name: [] for name in STRATEGIES}
    for a, b in pairs:
        threshold = MARGIN * float(Objective(problem)(torch.stack([a, b])).max())
        for name, strategy in STRATEGIES.items():
            search = partial(ws.connect, problem, a, b, threshold, strategy=strategy, progress=False)
            result, cost = timed(search)
            found[name].append(result)
            costs[name].append(cost)
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
            "CPU seconds": middle(costs[name]).cpu,
            "their range": middle(costs[name]).spread,
            "wall seconds": middle(costs[name]).wall,
            "normalized length": statistics.median(result.string.normalized_length for result in results),
        }
        for name, results in found.items()
    ]


def main(arguments: Sequence[str]) -> None:
    """Measure both tasks."""
    options = parser(__doc__)
    options.add_argument("--pairs", type=int, default=5)
    options.add_argument("--tasks", default="digits,mnist")
    chosen = asked(options, arguments)
    if chosen.quick:
        chosen.pairs, chosen.tasks = 1, "digits"
    tables: dict[str, object] = {}
    for task in chosen.tasks.split(","):
        problem = load_task(task, {})
        ends = [problem.fit(seed=seed, until=UNTIL[task]) for seed in range(2 * chosen.pairs)]
        tables[task] = measured(problem, list(zip(ends[::2], ends[1::2], strict=True)))
    keep(
        "strategies", {"ends trained to": str(UNTIL), "threshold": f"{MARGIN} × the larger end", **tables}, chosen.quick
    )
