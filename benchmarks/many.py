"""Hundreds of pairs in one call against one after the other, by the library itself.

    python benchmarks/many.py [--task digits|polynomial] [--pairs 256] [--alone 256]

Pair i are two networks trained from random to ``--until``; the threshold is 1.02 × the larger end. One
after the other, ``--alone`` of the pairs are connected, and their time is scaled to all.
"""

from __future__ import annotations

import argparse
import time

import torch
from measuring import keep

import weightstring as ws
from weightstring.descent import Start, descend
from weightstring.path import Objective
from weightstring.tasks import load_task

UNTIL = {"digits": 0.2, "polynomial": 1e-3}
MARGIN = 1.02


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--task", choices=[*UNTIL], default="digits")
    parser.add_argument("--until", type=float)
    parser.add_argument("--pairs", type=int, default=256)
    parser.add_argument("--alone", type=int, default=256)
    parser.add_argument("--engine", default="auto")
    options = parser.parse_args()
    until = options.until or UNTIL[options.task]

    settings = {"optimizer": "adam"} if options.task == "polynomial" else {}
    problem = load_task(options.task, settings)
    if options.engine == "fastest":
        problem.use_engine("compiled")
    problem.engine_choice()
    start = time.perf_counter()
    ends = trained(problem, 2 * options.pairs, until)
    print(f"trained {len(ends)} networks in {time.perf_counter() - start:.1f} s", flush=True)
    pairs = list(zip(ends[::2], ends[1::2], strict=True))
    heights = [Objective(problem)(torch.stack(pair)).max().item() for pair in pairs]
    thresholds = [MARGIN * height for height in heights]

    some = range(0, options.pairs, options.pairs // options.alone)
    start = time.perf_counter()
    alone = {i: ws.connect(problem, *pairs[i], thresholds[i]) for i in some}
    one_by_one = (time.perf_counter() - start) * options.pairs / len(alone)
    start = time.perf_counter()
    together = ws.connect_many(problem, pairs, thresholds)
    at_once = time.perf_counter() - start
    keep(
        f"many-{options.task}",
        {
            "engine": problem.engine_choice().reason,
            "pairs": options.pairs,
            "pairs connected alone, for the time of all": len(alone),
            "seconds one after the other": round(one_by_one, 2),
            "seconds in one call": round(at_once, 2),
            "times faster": round(one_by_one / at_once, 1),
            "connected in one call": sum(result.connected for result in together),
            "same verdict as alone": sum(alone[i].connected == together[i].connected for i in alone),
        },
    )


def trained(problem: ws.ModuleProblem, count: int, until: float) -> list[torch.Tensor]:
    """Networks trained to ``until``, side by side; those that do not get there are replaced."""
    found: list[torch.Tensor] = []
    seed = 0
    while len(found) < count:
        seeds = range(seed, seed + 2 * (count - len(found)))
        starts = [Start(problem.initial(s), until, until, f"network {s}") for s in seeds]
        reached = descend(problem, Objective(problem), starts, seed=0, width=512)
        found += [one.theta for one in reached if one.status == "reached"]
        seed = seeds.stop
    return found[:count]


if __name__ == "__main__":
    main()
