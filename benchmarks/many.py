"""Hundreds of pairs in one call against one after the other, by the library itself.

    python -m benchmarks many [--task digits|polynomial] [--pairs 256] [--alone 256]

Pair i are two networks trained from random to ``--until``; the threshold is 1.02 × the larger end. One
after the other, ``--alone`` of the pairs are connected, and their time is scaled to all. What gradients and
measurements take in batches of 256, without a search, says how much faster a call could be at most.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch

import weightstring as ws
from benchmarks.measuring import alternating, asked, keep, parser, timed
from weightstring.descent import Start, descend
from weightstring.path import Objective
from weightstring.tasks import load_task

UNTIL = {"digits": 0.2, "polynomial": 1e-3}
MARGIN = 1.02


def main(arguments: Sequence[str]) -> None:
    options = parser(__doc__)
    options.add_argument("--task", choices=[*UNTIL], default="digits")
    options.add_argument("--until", type=float)
    options.add_argument("--pairs", type=int, default=256)
    options.add_argument("--alone", type=int, default=256)
    options.add_argument("--engine", default="auto")
    chosen = asked(options, arguments)
    if chosen.quick:
        chosen.pairs, chosen.alone = 32, 4
    until = chosen.until or UNTIL[chosen.task]

    settings = {"optimizer": "adam"} if chosen.task == "polynomial" else {}
    problem = load_task(chosen.task, settings)
    problem.use_engine(chosen.engine)
    problem.engine_choice()
    ends, training = timed(lambda: trained(problem, 2 * chosen.pairs, until))
    print(f"trained {len(ends)} networks in {training.cpu:.1f} CPU s", flush=True)
    pairs = list(zip(ends[::2], ends[1::2], strict=True))
    heights = [Objective(problem)(torch.stack(pair)).max().item() for pair in pairs]
    thresholds = [MARGIN * height for height in heights]

    some = range(0, chosen.pairs, chosen.pairs // chosen.alone)
    alone, own = timed(lambda: {i: ws.connect(problem, *pairs[i], thresholds[i]) for i in some})
    together, at_once = timed(lambda: ws.connect_many(problem, pairs, thresholds))
    scale = chosen.pairs / len(alone)
    least = arithmetic(problem, ends, together)
    keep(
        f"many-{chosen.task}",
        {
            "engine": problem.engine_choice().reason,
            "pairs": chosen.pairs,
            "pairs connected alone, for the time of all": len(alone),
            "CPU seconds one after the other": round(own.cpu * scale, 2),
            "CPU seconds in one call": round(at_once.cpu, 2),
            "wall seconds, both": f"{own.wall * scale:.4g}, {at_once.wall:.4g}",
            "CPU seconds of its gradients and measurements alone": round(least, 2),
            "times faster": round(own.cpu * scale / at_once.cpu, 1),
            "times faster, if a call were nothing else": round(own.cpu * scale / least, 1),
            "connected in one call": sum(result.connected for result in together),
            "same verdict as alone": sum(alone[i].connected == together[i].connected for i in alone),
        },
        chosen.quick,
    )


def arithmetic(problem: ws.ModuleProblem, ends: Sequence[torch.Tensor], results: Sequence[ws.Result]) -> float:
    """CPU seconds of as many gradients and measurements as the results took, in full batches and without a search."""
    models = torch.stack(list(ends)[:256])
    size, batch = problem.train_size, problem.batch_size or problem.train_size
    rows = torch.arange(batch).expand(len(models), -1) if batch < size else None
    costs = alternating(
        {"gradients": lambda: problem.gradient(models, rows), "measurements": lambda: Objective(problem)(models)}
    )
    steps, measured = (sum(getattr(result, name) for result in results) for name in ("steps", "evaluations"))
    return (steps * costs["gradients"].cpu + measured * costs["measurements"].cpu) / len(models)


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
