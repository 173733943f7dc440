"""The same pairs ten times over, each with other random numbers: how much ours and its rivals vary.

    python -m benchmarks repeats [--tasks digits,mnist-mlp,mnist-cnn-2000,cifar10-cnn-2000] [--pairs 6] [--seeds 10]
    python -m benchmarks repeats --seeds 0              # measure nothing: the table and the figure of what is known

Ours, and of each rival the form that `rates` found fastest on other pairs, at the rate found there. Pairs and
thresholds are those of `rivals`; a seed draws the minibatches and the points of the curve. Every string and curve is
checked densely on both sets. A row is kept as soon as it is measured, and is not measured again; sides take turns.
"""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass

import torch

import weightstring as ws
from benchmarks.measuring import Cost, asked, commit, keep, kept, machine, parser, timed
from benchmarks.pairs import EVERY, SMALLER, Way
from benchmarks.rates import METHODS, best
from benchmarks.repeats_figure import draw
from benchmarks.repeats_verdict import OURS, by_side, verdict
from benchmarks.rivals import Bench, Found, row_of, warm_up
from weightstring.study.sweep.statistics import share_of

BIND = "evaluate"
KEPT = "repeats-rows"
Row = dict[str, object]


@dataclass(frozen=True)
class Repeated(Bench):
    """A bench whose sides take their random numbers from a seed."""

    seed: int = 0

    def sides(self) -> list[str]:
        """Ours, and of each rival the fastest form that connected the other pairs."""
        kinds: dict[str, list[str]] = {}
        for method in METHODS:
            if best(self.name, self.bind, method) is not None:
                kinds.setdefault(method.partition(",")[0], []).append(method)
        return [OURS, *(min(forms, key=self._seconds) for forms in kinds.values())]

    def _seconds(self, method: str) -> float:
        row = best(self.name, self.bind, method)
        return float(row["CPU seconds"]) if row and "CPU seconds" in row else 0.0

    def run(self, side: str, way: Way) -> Found:
        """One side on one pair, by the seed."""
        if side != OURS:
            return super().run(side, way._replace(number=self.seed))
        result = ws.connect(self.problem, way.a, way.b, way.threshold, bind=self.bind, progress=False, seed=self.seed)
        beads = torch.stack([*result.string]) if result.connected else None
        return Found(beads, False, result.steps, result.evaluations)


def main(arguments: Sequence[str]) -> None:
    """Measure what is not known yet, a pair at a time; then the table and the figure of all that is."""
    options = parser(__doc__)
    options.add_argument("--tasks", default=",".join(["digits", "mnist-mlp", *SMALLER]))
    options.add_argument("--pairs", type=int, default=6)
    options.add_argument("--seeds", type=int, default=10)
    chosen = asked(options, arguments)
    if chosen.quick:
        chosen.tasks, chosen.pairs, chosen.seeds = "digits", 1, 2
    rows: list[Row] = [] if chosen.quick else kept(KEPT).get("rows", [])
    for name in chosen.tasks.split(",") if chosen.seeds else ():
        problem = EVERY[name].problem()
        problem.engine_choice()
        warm_up()
        for number in range(chosen.pairs):
            for seed in range(chosen.seeds):
                bench = Repeated(name, BIND, EVERY[name], problem, EVERY[name].plain(problem, BIND), seed)
                way = bench.task.way(problem, bench.plain, number)
                done = {row["side"] for row in rows if (row["task"], row["pair"], row["seed"]) == (name, number, seed)}
                for side in turned([side for side in bench.sides() if side not in done], number + seed):
                    rows.append(measured(bench, way, side))
                    keep(KEPT, {"rows": rows}, chosen.quick, silent=True)
    found: Row = {"notes": [*NOTES, *(verdict(rows, task) for task in tasks_of(rows))]}
    keep("repeats", found | {task: table(rows, task) for task in tasks_of(rows)}, chosen.quick)
    if not chosen.quick:
        draw(rows)


NOTES = [
    "The pairs and thresholds of `rivals`, each side by so many seeds, which draw minibatches and points of the curve; "
    "rivals at the rates that `rates` found on other pairs, with 3,000 gradients at most (digits), or 1,500 "
    "(MNIST, CIFAR-10). *Connected*: the share whose largest loss, on a dense grid of the whole curve, is at most the "
    "threshold, with Wilson's 95 % interval. All else: medians over those, and their quartiles. Looks of rivals end at "
    "the first point over the threshold, which makes them faster than published. `mnist-cnn-2000` and "
    "`cifar10-cnn-2000` are small networks on 2,000 training and 500 test images, so that ten seeds of every side take "
    "minutes: `benchmarks/pairs.py`.",
]


def turned(sides: Sequence[str], by: int) -> list[str]:
    """The same, another one first."""
    first = by % len(sides) if sides else 0
    return [*sides[first:], *sides[:first]]


def measured(bench: Repeated, way: Way, side: str) -> Row:
    """A row of one side, pair and seed."""
    ready = bench.ready(side)
    found, cost = timed(lambda: ready.run(side, way))
    row = row_of(bench, way, side, found, Cost(*cost), rate=1.0, sets=("evaluate", "train"))
    del row["arithmetic, CPU seconds"]  # of a rate that is not measured here
    row["epochs"] = found.gradients * bench.plain.batch_size / len(bench.plain.train[0])
    row |= {"seed": bench.seed, "machine": machine(), "commit": commit()}
    print({key: row[key] for key in ("task", "pair", "seed", "side", "CPU seconds", "holds")}, flush=True)
    return row


def tasks_of(rows: Sequence[Row]) -> list[str]:
    """Those that have rows."""
    return list(dict.fromkeys(str(row["task"]) for row in rows))


def table(rows: Sequence[Row], task: str) -> list[Row]:
    """A row a side, of one task."""
    own = [row for row in rows if row["task"] == task]
    return [summary(side, mine) for side, mine in by_side(own).items()]


def summary(side: str, own: Sequence[Row]) -> Row:
    """Success with its interval, and what it took and gave where there was success."""
    held = [row for row in own if row["holds"]]
    share = share_of(len(held), len(own))
    return {
        "side": side,
        "pairs × seeds": f"{len({row['pair'] for row in own})} × {len({row['seed'] for row in own})}",
        "connected": f"{share.value:.2f} [{share.low:.2f}, {share.high:.2f}]",
        **{
            column: spread([scaled(row, column) for row in held])
            for column in (
                "CPU seconds", "epochs", "gradients", "evaluations", "normalized length",
                "largest evaluation loss / threshold", "largest train loss",
            )
        },
        "commit": ", ".join(dict.fromkeys(str(row["commit"]) for row in own)),
    }  # fmt: skip


def scaled(row: Row, column: str) -> float:
    """A number of the row, or its ratio to the threshold."""
    name, _, over = column.partition(" / ")
    return float(row[name]) / (float(row[over]) if over else 1.0)


def spread(values: Sequence[float]) -> str:
    """Median and quartiles; the value itself where there is one."""
    if len(values) < 2:
        return "".join(f"{value:.4g}" for value in values)
    low, middle, high = statistics.quantiles(values, n=4, method="inclusive")
    return f"{middle:.4g} [{low:.4g}, {high:.4g}]"
