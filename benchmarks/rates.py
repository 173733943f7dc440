"""The learning rate and the spacing of looks at which each rival is fastest, on pairs that are not measured.

    python -m benchmarks rates [--tasks digits,mnist-mlp,small-cnn] [--bind evaluate,train] [--again]

Of .05, .1 and .2 and on, by doubling or halving, for as long as that takes fewer CPU seconds (the median over the
pairs; a rate at which one of them fails is none). A look changes nothing of what a curve does: at the best rate its
spacing follows from the gradients taken and from what one gradient and one evaluation cost. `rivals` takes what is
found from results/rates.json; what is there already is not searched again.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import replace
from functools import partial

import torch

from benchmarks.band import auto_neb
from benchmarks.curves import bezier, chain, fitted
from benchmarks.measuring import asked, keep, kept, parser, timed
from benchmarks.pairs import EVERY, OTHERS, TASKS, Task, Way
from benchmarks.reference import Plain
from benchmarks.setting import GRID

METHODS = {
    "Bézier, 3 points": partial(fitted, weights=bezier(3), points=3),
    "Bézier, 5 points": partial(fitted, weights=bezier(5), points=5),
    "PolyChain, 3 points": partial(fitted, weights=chain(3), points=3),
    "PolyChain, 5 points": partial(fitted, weights=chain(5), points=5),
    "AutoNEB": auto_neb,
}
RATES = (0.05, 0.1, 0.2)
LEAST, LARGEST = 0.01, 2.0
SPACINGS = (5, 10, 20, 30, 40, 60, 80, 100, 120, 160, 200, 240, 320, 400, 480, 560)
Row = dict[str, object]


def main(arguments: Sequence[str]) -> None:
    """Search what is not known yet, and keep each method's rates at once."""
    options = parser(__doc__)
    options.add_argument("--tasks", default=",".join(TASKS))
    options.add_argument("--bind", default="evaluate,train")
    options.add_argument("--pairs", type=int, default=3)
    options.add_argument("--methods", default="; ".join(METHODS), help="separated by semicolons")
    options.add_argument("--again", action="store_true", help="search what is known, too")
    chosen = asked(options, arguments)
    if chosen.quick:
        chosen.tasks, chosen.bind, chosen.pairs, chosen.again = "digits", "evaluate", 1, True
    for name in chosen.tasks.split(","):
        task = EVERY[name]
        problem = task.problem()
        for bind in chosen.bind.split(","):
            plain = task.plain(problem, bind)
            ways = [task.way(problem, plain, OTHERS + i) for i in range(chosen.pairs)]
            for method in chosen.methods.split("; "):
                if method in task.without:
                    continue
                known: list[Row] = kept("rates").get("rates", [])
                others = [row for row in known if (row["task"], row["bind"], row["method"]) != (name, bind, method)]
                if len(others) == len(known) or chosen.again:
                    rows = [{"task": name, "bind": bind, **row} for row in searched(task, plain, ways, method)]
                    keep("rates", {"pairs": f"{OTHERS} and on", "rates": [*others, *rows]}, chosen.quick, silent=True)


def searched_for(task: str, bind: str) -> list[Row]:
    """All rates that were tried, of any method."""
    rows: list[Row] = kept("rates").get("rates", [])
    return [row for row in rows if (row["task"], row["bind"]) == (task, bind)]


def best(task: str, bind: str, method: str) -> Row | None:
    """The fastest row that was found, None if no rate connected; a rate in the middle before any search."""
    own = searched_for(task, bind)
    if not own:
        return {"lr": RATES[1], "steps between looks": 20, "steps between whole looks": 80}
    return next((row for row in own if row["method"] == method and row["best"]), None)


def searched(task: Task, plain: Plain, ways: Sequence[Way], method: str) -> list[Row]:
    """All rates tried; the best one's row has its spacings of looks."""
    rows: dict[float, Row] = {}
    taken: dict[float, list[int]] = {}
    most = task.most
    every = 10 if task.name == "digits" else 20
    for lr in RATES:
        taken[lr], rows[lr] = tried(plain, ways, method, lr, every, most)
        most = min(most, 3 * max(taken[lr], default=most))
    while True:
        top = min(rows, key=lambda lr: rows[lr]["CPU seconds"])
        lr = next((lr for lr in (top / 2, 2 * top) if LEAST < lr < LARGEST and lr not in rows), None)
        failed = all(math.isinf(row["CPU seconds"]) for row in rows.values())
        if failed:
            lr = min(rows) / 2
        if lr is None or lr < LEAST:
            break
        taken[lr], rows[lr] = tried(plain, ways, method, lr, every, most)
    if not failed:
        # Its insertions hang on the looks.
        found = (every, every) if method == "AutoNEB" else spacings(plain, ways[0], taken[top])
        rows[top] |= dict(zip(("steps between looks", "steps between whole looks"), found, strict=True))
    return [
        {"method": method, "lr": lr, "best": lr == top and not failed, **row, "CPU seconds": finite(row["CPU seconds"])}
        for lr, row in sorted(rows.items())
    ]


def spacings(plain: Plain, way: Way, steps: Sequence[int]) -> tuple[int, int]:
    """The best spacing for looks that end at the first point over, and for whole grids."""
    gradient, evaluation = (
        timed(lambda run=run: [run(way.a) for _ in range(10)])[1].cpu / 10 for run in (plain.gradient, plain.loss)
    )

    def seconds(spacing: int, needed: int, look: int, last: int) -> float:
        looks = math.ceil(needed / spacing)
        return looks * (spacing * gradient + look * evaluation) + last * evaluation

    def best_of(look: int, last: int) -> int:
        return min(SPACINGS, key=lambda s: statistics.median(seconds(s, needed, look, last) for needed in steps))

    return best_of(1, GRID - 3), best_of(GRID, 0)


def finite(seconds: object) -> object:
    """None where there are none: JSON knows no infinity."""
    return None if seconds == math.inf else seconds


def tried(plain: Plain, ways: Sequence[Way], method: str, lr: float, every: int, most: int) -> tuple[list[int], Row]:
    """Gradients of each pair that was connected, and the median CPU seconds; inf where one failed."""
    taken, seconds = [], []
    for way in ways:
        own = replace(plain)  # from the first minibatch on, whatever was tried before
        torch.manual_seed(way.number)
        found, cost = timed(partial(METHODS[method], own, (way.a, way.b), way.threshold, lr=lr, every=every, most=most))
        if found is None:
            seconds.append(math.inf)
            break
        taken.append(own.gradients)
        seconds.append(cost.cpu)
    median = statistics.median(seconds) if math.isfinite(seconds[-1]) else math.inf
    row: Row = {"CPU seconds": median, "gradients": statistics.median(taken) if taken else None}
    print(method, lr, row, flush=True)
    return taken, row
