"""Hundreds of pairs in one call against one after the other, by the library itself.

    python -m benchmarks many [--task digits|polynomial] [--pairs 256] [--alone 256] [--plain 8]

Pair i are two networks trained from random to ``--until``, and kept in a temporary folder for the next call; the
threshold is 1.02 × the larger end. One after the other, ``--alone`` of the pairs are connected, spread over all, and
their time is scaled to all; so are ``--plain`` of them by the plain reference, which tries each bead once and gives up
where the library has other attempts. What gradients and measurements take in batches of 256, without a search, says
how much faster a call could be at most: native code computes one model after the other, so that one call of many
saves no arithmetic, only what a search does beside it. The rate of a large matrix product says how much native code
could save at most. Where the seconds go is told for both ways; each belongs to the innermost of the parts named.
"""

from __future__ import annotations

import functools
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import nn

import weightstring as ws
from benchmarks.arithmetic import Counted
from benchmarks.measuring import alternating, asked, keep, parser, peak, timed
from benchmarks.pairs import FOLDER
from benchmarks.reference import Plain
from benchmarks.targets import Row
from weightstring.descent import Start, descend
from weightstring.path import Objective
from weightstring.problem.engines.native.calls import Program
from weightstring.search.jobs.descend import DescentBatch
from weightstring.search.jobs.measure import Measurements
from weightstring.search.running.search import RunningSearch
from weightstring.store.beads import read_beads, write_beads
from weightstring.tasks import load_task

UNTIL = {"digits": 0.2, "polynomial": 1e-3}
MARGIN = 1.02
PARTS: dict[str, tuple[tuple[type, str], ...]] = {
    "steps, native": ((Program, "stride"), (Program, "gradient")),
    "measured, native": ((Program, "measure"), (Program, "first_layer")),
    "beside descents": ((DescentBatch, "advance"),),
    "beside segments": ((Measurements, "advance"),),
    "strategies and journals": ((RunningSearch, "propose"), (RunningSearch, "absorb")),
}
"""The functions whose seconds a part is, less those of other parts that they call."""


def main(arguments: Sequence[str]) -> None:
    options = parser(__doc__)
    options.add_argument("--task", choices=[*UNTIL], default="digits")
    options.add_argument("--until", type=float)
    options.add_argument("--pairs", type=int, default=256)
    options.add_argument("--alone", type=int, default=256)
    options.add_argument("--plain", type=int, default=8)
    options.add_argument("--engine", default="auto")
    chosen = asked(options, arguments)
    if chosen.quick:
        chosen.pairs, chosen.alone, chosen.plain = 32, 4, 2
    until = chosen.until or UNTIL[chosen.task]

    settings = {"optimizer": "adam"} if chosen.task == "polynomial" else {}
    problem = load_task(chosen.task, settings)
    problem.use_engine(chosen.engine)
    problem.engine_choice()
    ends = kept_ends(problem, chosen.task, 2 * chosen.pairs, until)
    pairs = list(zip(ends[::2], ends[1::2], strict=True))
    heights = [Objective(problem)(torch.stack(pair)).max().item() for pair in pairs]
    thresholds = [MARGIN * height for height in heights]

    ws.connect(problem, *pairs[0], thresholds[0])  # the first call of all
    some = range(0, chosen.pairs, chosen.pairs // chosen.alone)
    spent_alone, spent, counted = Spent(), Spent(), Counted(*products(problem))
    with spent_alone.watching():
        alone, own = timed(lambda: {i: ws.connect(problem, *pairs[i], thresholds[i]) for i in some})
    reference = Plain.of(problem, nn.CrossEntropyLoss() if chosen.task == "digits" else nn.MSELoss())
    torch.manual_seed(0)
    few = range(0, chosen.pairs, chosen.pairs // chosen.plain)
    plain, plainly = timed(lambda: [reference.connect(*pairs[i], thresholds[i]) for i in few])
    with spent.watching(), counted.watching():
        together, at_once = timed(lambda: ws.connect_many(problem, pairs, thresholds))
    scale, at_peak = chosen.pairs / len(alone), sum(counted.operations.values()) / peak()
    least = arithmetic(problem, ends, together)
    keep(
        f"many-{chosen.task}",
        {
            "engine": problem.engine_choice().reason,
            "pairs": chosen.pairs,
            "pairs connected alone, for the time of all": len(alone),
            "CPU seconds one after the other": round(own.cpu * scale, 2),
            "CPU seconds in one call": round(at_once.cpu, 2),
            "CPU seconds of the plain reference": round(plainly.cpu * chosen.pairs / len(plain), 2),
            "pairs of the reference, for the time of all": len(plain),
            "connected by the reference": sum(each is not None for each in plain),
            "wall seconds, both": f"{own.wall * scale:.4g}, {at_once.wall:.4g}",
            "CPU seconds of its gradients and measurements alone": round(least, 2),
            "CPU seconds of its products at the rate of a large one": round(at_peak, 2),
            "times faster": round(own.cpu * scale / at_once.cpu, 1),
            "times faster, if a call were nothing else": round(own.cpu * scale / least, 1),
            "times faster, if native code had that rate, too": round(own.cpu * scale / at_peak, 1),
            "times faster than the plain reference": round(plainly.cpu * chosen.pairs / len(plain) / at_once.cpu, 1),
            "connected in one call": sum(result.connected for result in together),
            "same verdict as alone": sum(alone[i].connected == together[i].connected for i in alone),
            "where the CPU seconds go": table(spent_alone.of(own.cpu), spent.of(at_once.cpu), scale),
        },
        chosen.quick,
    )


class Spent:
    """CPU seconds and calls of each of :data:`PARTS`, less those of others within."""

    def __init__(self) -> None:
        self.seconds, self.calls = Counter[str](), Counter[str]()
        self._within: list[float] = []

    @contextmanager
    def watching(self) -> Iterator[None]:
        """The functions are timed within the context."""
        before = [(owner, name, getattr(owner, name)) for places in PARTS.values() for owner, name in places]
        for part, places in PARTS.items():
            for owner, name in places:
                setattr(owner, name, self._timed(part, getattr(owner, name)))
        try:
            yield
        finally:
            for owner, name, function in before:
                setattr(owner, name, function)

    def of(self, whole: float) -> dict[str, tuple[float, int]]:
        """Seconds and calls by part; of what no part has, too."""
        found = {part: (self.seconds[part], self.calls[part]) for part in PARTS}
        return found | {"all else": (whole - sum(self.seconds.values()), 0)}

    def _timed(self, part: str, function: Callable[..., object]) -> Callable[..., object]:
        @functools.wraps(function)
        def run(*arguments: object, **named: object) -> object:
            started = time.process_time()
            self._within.append(0.0)
            try:
                return function(*arguments, **named)
            finally:
                took = time.process_time() - started
                self.seconds[part] += took - self._within.pop()
                self.calls[part] += 1
                if self._within:
                    self._within[-1] += took

        return run


def table(alone: dict[str, tuple[float, int]], together: dict[str, tuple[float, int]], scale: float) -> list[Row]:
    """A row a part, of both ways; one after the other scaled to all pairs."""
    return [
        {
            "part": part,
            "one after the other": round(alone[part][0] * scale, 2),
            "calls": round(alone[part][1] * scale) or None,
            "in one call": round(seconds, 2),
            "calls of it": calls or None,
        }
        for part, (seconds, calls) in together.items()
    ]


def products(problem: ws.ModuleProblem) -> tuple[int, int]:
    """Numbers in the first layer's weight, and in those of all others."""
    first, *others = (entry.size for entry in problem.layout.entries if len(entry.shape) == 2)
    return first, sum(others)


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


def kept_ends(problem: ws.ModuleProblem, task: str, count: int, until: float) -> list[torch.Tensor]:
    """Networks trained to ``until``, those of an earlier call where it kept as many."""
    path = FOLDER / f"many-{task}-{until}-{count}.safetensors"
    if not path.exists():
        ends, training = timed(lambda: trained(problem, count, until))
        print(f"trained {count} networks in {training.cpu:.1f} CPU s", flush=True)
        FOLDER.mkdir(exist_ok=True)
        write_beads(path, torch.stack(ends))
    return list(read_beads(path).clone())


def trained(problem: ws.ModuleProblem, count: int, until: float) -> list[torch.Tensor]:
    """Networks trained to ``until``, side by side; those that do not get there are replaced."""
    found: list[torch.Tensor] = []
    seed = 0
    while len(found) < count:
        seeds = range(seed, seed + count - len(found) + 8)
        starts = [Start(problem.initial(s), until, until, f"network {s}") for s in seeds]
        reached = descend(problem, Objective(problem), starts, seed=0, width=512)
        found += [one.theta for one in reached if one.status == "reached"]
        seed = seeds.stop
    return found[:count]
