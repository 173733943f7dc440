"""What a connect of two plain networks computes, and what that takes at the rate of a large matrix product.

    python -m benchmarks arithmetic [digits|mnist-mlp]

Medians over the pairs of `rivals`, each by a problem that has measured nothing. Only multiplications of matrices are
counted, two operations a number of a weight and an example, each layer three times for a gradient, the first twice:
nothing asks for the slopes of the inputs. Along a segment first layers are computed at its ends alone.
"""

from __future__ import annotations

import statistics
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from torch import Tensor

from benchmarks.measuring import asked, keep, parser, peak, timed
from benchmarks.pairs import TASKS, Task
from benchmarks.rivals import Bench, warm_up
from weightstring.arrays import Thetas
from weightstring.descent.stepping import Blend, Update
from weightstring.problem.datasets.data import DataSet
from weightstring.problem.engines.native.calls import Program

PAIRS = 6
NAMES = ["digits", "mnist-mlp"]
STEPS, FIRST, OTHERS, REST = "gradients and steps", "first layers", "other layers", "all else"


class Counted:
    """CPU seconds and operations of each kind of call of the compiled engine.

    Args:
        first: numbers in the first layer's weight.
        others: in those of all others.
    """

    def __init__(self, first: int, others: int) -> None:
        self.seconds, self.operations, self.calls = Counter[str](), Counter[str](), Counter[str]()
        self._gradient, self._first, self._others = 2 * (2 * first + 3 * others), 2 * first, 2 * others

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Calls are counted within the context."""

        def gradient(thetas: Thetas, rows: Tensor | None, examples: DataSet, update: Update | None = None) -> int:
            if rows is not None:
                return rows.numel() * self._gradient
            curve = update.tie if update is not None and isinstance(update.tie, Blend) else None
            models = len(thetas) if curve is None else curve.weights.shape[1]
            return models * (1 if update is None else len(update.rates)) * len(examples) * self._gradient

        def first_layer(_: object, examples: DataSet) -> int:
            return len(examples) * self._first

        def measure(models: Sequence[object], examples: DataSet) -> int:
            return len(models) * len(examples) * (self._others + (0 if isinstance(models, list) else self._first))

        kinds = {"stride": STEPS, "gradient": STEPS, "first_layer": FIRST, "measure": OTHERS}
        counts = {"stride": gradient, "gradient": gradient, "first_layer": first_layer, "measure": measure}
        before = {name: getattr(Program, name) for name in kinds}
        for name, kind in kinds.items():
            setattr(Program, name, self._counted(before[name], kind, counts[name]))
        try:
            yield
        finally:
            for name, function in before.items():
                setattr(Program, name, function)

    def _counted(self, call: Callable[..., object], kind: str, count: Callable[..., int]) -> Callable[..., object]:
        def run(program: Program, *arguments: object, **named: object) -> object:
            started = time.process_time()
            try:
                return call(program, *arguments, **named)
            finally:
                self.seconds[kind] += time.process_time() - started
                self.operations[kind] += count(*arguments)
                self.calls[kind] += 1

        return run


def main(arguments: Sequence[str]) -> None:
    """Count for the tasks asked for."""
    options = parser(__doc__)
    options.add_argument("tasks", nargs="*", metavar="TASK", help=f"of {', '.join(NAMES)}; by default both")
    chosen = asked(options, arguments)
    names = chosen.tasks or (NAMES[:1] if chosen.quick else NAMES)
    warm_up()
    keep("arithmetic", {name: counted(name, TASKS[name], 2 if chosen.quick else PAIRS) for name in names}, chosen.quick)


def counted(name: str, task: Task, pairs: int) -> list[dict[str, object]]:
    """A row a kind of call, and one of the whole: medians over pairs."""
    problem = task.problem()
    if problem.engine_choice().name != "native":
        raise RuntimeError(f"{name} is computed by {problem.engine_choice().reason}: nothing is counted in that")
    bench = Bench(name, "evaluate", task, problem, task.plain(problem, "evaluate"))
    sizes = [entry.size for entry in problem.layout.entries if len(entry.shape) == 2]
    rate, rows = peak(), list[dict[str, dict[str, float]]]()
    for number in range(pairs):
        way = bench.task.way(problem, bench.plain, number)
        ready, found = bench.ready("weightstring"), Counted(sizes[0], sum(sizes[1:]))
        with found.watching():
            _, cost = timed(lambda ready=ready, way=way: ready.run("weightstring", way))
        rows.append(
            {
                kind: {
                    "calls": found.calls[kind],
                    "CPU seconds": found.seconds[kind],
                    "at the rate of a large product": found.operations[kind] / rate,
                }
                for kind in (STEPS, FIRST, OTHERS)
            }
        )
        whole, inside = sum(found.operations.values()) / rate, sum(found.seconds.values())
        rows[-1][REST] = {"CPU seconds": cost.cpu - inside}
        rows[-1]["whole"] = {"CPU seconds": cost.cpu, "at the rate of a large product": whole}
    return [
        {"what": kind, **{column: statistics.median(row[kind][column] for row in rows) for column in rows[0][kind]}}
        for kind in rows[0]
    ]
