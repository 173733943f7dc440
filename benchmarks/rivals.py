"""Connecting two networks: ours, plain greedy, Bézier curves, polygonal chains and AutoNEB, on the same pairs.

    python -m benchmarks rivals [--tasks digits,mnist-mlp,small-cnn] [--bind evaluate,train] [--pairs 6]
    python -m benchmarks rivals --again ours      # ours anew, in turns with one rival that tells the machine's speed

Pair s are the networks of seeds 2s and 2s + 1, trained by plain Adam (pairs.py); the threshold is 1.02 × the larger
end, of the evaluation loss or of the train loss. Rivals are written as in their papers (curves.py, band.py), each at
its own best learning rate and spacing of looks (rates.py, on other pairs), and end when their grid of 25 points is
under the threshold; all strings and curves are then checked densely. A row is kept as soon as it is measured, and is
not measured again. Our time is of `connect`, of a problem that has chosen its engine before but has measured nothing;
`breakdown` shows the rest.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial

import torch
from torch import Tensor

import weightstring as ws
from benchmarks.curves import Weights, bezier, chain
from benchmarks.dense import highest
from benchmarks.measuring import Cost, asked, commit, keep, kept, machine, middle, parser, peak, timed
from benchmarks.pairs import OTHERS, TASKS, Task, Way
from benchmarks.rates import METHODS, best
from benchmarks.reference import Plain
from benchmarks.rivals_table import WORDS, tables
from benchmarks.setting import normalized_length
from weightstring.problem.engines.threads import BACKWARD

SHORTEN = ws.Shortened(ws.Greedy(), quick=True)
OURS: dict[str, dict[str, object]] = {
    "weightstring": {},
    "weightstring, shortened": {"strategy": SHORTEN},
    "weightstring, certified": {"certify": True},
}
GREEDY = "plain greedy"
WHOLE = ", whole grids"
"""Looks that measure all 25 points each time, as the papers' code does; else the first point over ends a look."""
CALIBRATION = "Bézier, 3 points"
RIVALS = [*METHODS, "Bézier, 3 points" + WHOLE, "Bézier, 5 points" + WHOLE]
GROUPS = {"ours": [*OURS], "plain": [GREEDY], "rivals": RIVALS}
ROUNDS, SHORT = 3, 1.0
"""Rounds of a pair, for sides that take at most so many seconds; pairs are rounds by themselves."""


@dataclass(frozen=True)
class Found:
    """What a side returned: control points (K, P), of a Bézier curve or a polygon; None where it failed."""

    controls: Tensor | None
    curved: bool
    gradients: int
    evaluations: int

    @property
    def weights(self) -> Weights:
        """Of a Bézier curve or a polygon."""
        return (bezier if self.curved else chain)(len(self.controls))

    def length(self, points: int) -> float:
        """Normalized; of a curve through so many points of it."""
        if not self.curved:
            return normalized_length(self.controls)
        weights = self.weights
        return normalized_length(weights(i / (points - 1)) @ self.controls for i in range(points))


@dataclass(frozen=True)
class Bench:
    """One task, and the set on which the threshold holds."""

    name: str
    bind: str
    task: Task
    problem: ws.ModuleProblem
    plain: Plain

    def sides(self) -> list[str]:
        """Those that make sense: certificates are of the evaluation loss, a rival needs a rate that connects."""
        names = [name for group in GROUPS.values() for name in group]
        if self.bind == "train":
            names = [name for name in names if not (name.endswith(WHOLE) or "certified" in name)]
        return [
            name
            for name in names
            if name not in self.task.without
            and (name not in RIVALS or best(self.name, self.bind, name.removesuffix(WHOLE)) is not None)
        ]

    def ready(self, side: str) -> Bench:
        """What a side is run by: ours by a new problem, which has nothing of the same pair from another side."""
        if side not in OURS:
            return self
        problem = self.task.problem()
        problem.use_engine(self.problem.engine_choice().name)
        assert problem.independent == self.problem.independent  # tried out before the time that counts
        return replace(self, problem=problem)

    def run(self, side: str, way: Way) -> Found:
        """One side on one pair, always the same way."""
        if side in OURS:
            result = ws.connect(self.problem, way.a, way.b, way.threshold, bind=self.bind, progress=False, **OURS[side])
            beads = torch.stack([*result.string])
            found = beads if result.connected else None
            return Found(found, False, result.steps, result.evaluations)
        torch.manual_seed(way.number)
        method, plain = side.removesuffix(WHOLE), replace(self.plain, whole=side.endswith(WHOLE))
        if side == GREEDY:
            beads = plain.connect(way.a, way.b, way.threshold)
            controls = None if beads is None else torch.stack(beads)
        else:
            row = best(self.name, self.bind, method)
            assert row is not None
            every = row["steps between whole looks" if plain.whole else "steps between looks"]
            controls = METHODS[method](
                plain, (way.a, way.b), way.threshold, lr=row["lr"], every=every, most=self.task.most
            )
        return Found(controls, method.startswith("Bézier"), plain.gradients, plain.evaluations)


def main(arguments: Sequence[str]) -> None:
    """Measure what is not known yet, a pair at a time, and make the tables of all that is."""
    options = parser(__doc__)
    options.add_argument("--tasks", default=",".join(TASKS))
    options.add_argument("--bind", default="evaluate,train")
    options.add_argument("--pairs", type=int, default=6)
    options.add_argument("--sides", default="; ".join(GROUPS), help="groups or sides, separated by semicolons")
    options.add_argument("--again", choices=[*GROUPS, "all"], help="measure these anew")
    chosen = asked(options, arguments)
    if chosen.quick:
        chosen.tasks, chosen.bind, chosen.pairs, chosen.again = "digits", "evaluate", 5, "all"
    wanted = [side for name in chosen.sides.split("; ") for side in GROUPS.get(name, [name])]
    rows: list[dict[str, object]] = kept("rivals-rows").get("rows", [])
    for name in chosen.tasks.split(","):
        problem = TASKS[name].problem()
        problem.engine_choice()
        for bind in chosen.bind.split(","):
            bench = Bench(name, bind, TASKS[name], problem, TASKS[name].plain(problem, bind))
            for number in range(chosen.pairs):
                way = bench.task.way(problem, bench.plain, number)
                again = [side for group in GROUPS if chosen.again in (group, "all") for side in GROUPS[group]]
                own = {side: row for side in bench.sides() if (row := found_before(rows, bench, way, side))}
                missing = [side for side in bench.sides() if side in wanted and (side not in own or side in again)]
                if missing:
                    if number == 0:
                        warm_up()
                    new = measured(bench, way, missing)
                    rows = [row for row in rows if not any(same(row, each) for each in new)] + new
                    keep("rivals-rows", {"rows": rows}, chosen.quick, silent=True)
    keep("rivals", tables(rows), chosen.quick)


def same(row: dict[str, object], other: dict[str, object]) -> bool:
    """Whether both are of one side on one pair."""
    return all(row[key] == other[key] for key in ("task", "bind", "pair", "side"))


def found_before(rows: Sequence[dict[str, object]], bench: Bench, way: Way, side: str) -> dict[str, object] | None:
    """The row of a side on this pair, unless the pair was another when it was measured."""
    key = {"task": bench.name, "bind": bench.bind, "pair": way.number, "side": side}
    own = next((row for row in rows if same(row, key)), None)
    return own if own and math.isclose(own["threshold"], way.threshold, rel_tol=1e-4) else None


def warm_up() -> None:
    """What is loaded when it is first used belongs to no side."""
    task = TASKS["digits"]
    problem = task.problem()
    bench = Bench("digits", "evaluate", task, problem, task.plain(problem, "evaluate"))
    way = task.way(problem, bench.plain, OTHERS)
    for side in bench.sides():
        bench.run(side, way)


def measured(bench: Bench, way: Way, sides: Sequence[str]) -> list[dict[str, object]]:
    """Rows of these sides, in turns; another begins at each pair and round. One rival tells how fast the machine is."""
    names = [*dict.fromkeys([*sides, CALIBRATION])]
    costs: dict[str, list[Cost]] = {name: [] for name in names}
    found: dict[str, Found] = {}
    for turn in range(ROUNDS):
        first = (way.number + turn) % len(names)
        for name in names[first:] + names[:first]:
            if turn and costs[name][0].cpu > SHORT:
                continue
            found[name], cost = timed(partial(bench.ready(name).run, name, way))
            costs[name].append(cost)
    calibration, rate = middle(costs[CALIBRATION]).cpu, peak()
    new = []
    for side in sides:
        new.append(row_of(bench, way, side, found[side], middle(costs[side]), rate) | {"calibration": calibration})
        print({key: new[-1][key] for key in ("task", "bind", "pair", "side", "CPU seconds", "holds")}, flush=True)
    return new


def row_of(
    bench: Bench, way: Way, side: str, found: Found, cost: Cost, rate: float, sets: Sequence[str] = ()
) -> dict[str, object]:
    """All that is known of one side on one pair; how high it is on the set that is bound, and on these."""
    one = bench.problem.engine_choice().flops
    passes = found.gradients * bench.plain.batch_size * BACKWARD + found.evaluations * len(bench.plain.evaluate[0])
    row: dict[str, object] = {
        "task": bench.name,
        "bind": bench.bind,
        "pair": way.number,
        "side": side,
        "threshold": way.threshold,
        "CPU seconds": cost.cpu,
        "wall seconds": cost.wall,
        "arithmetic, CPU seconds": passes * one / rate,
        "gradients": found.gradients,
        "evaluations": found.evaluations,
        "found": found.controls is not None,
        "holds": False,
        "machine": machine(),
        "commit": commit(),
    }
    if found.controls is None:
        return row
    task, problem = bench.task, bench.problem
    dense = task.points if side in OURS else task.rival_points
    points = {"evaluate": dense, "train": task.train_points}
    heights = {
        bind: highest(bench.plain.net, found.controls, found.weights, task.plain(problem, bind).evaluate, points[bind])
        for bind in {bench.bind, *sets}
    }
    return row | {
        "holds": heights[bench.bind] <= way.threshold,
        "normalized length": found.length(dense),
        **{f"largest {WORDS[bind]}": height for bind, height in heights.items()},
    }
