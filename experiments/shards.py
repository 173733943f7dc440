"""One sweep by two processes: killed at random moments again and again, and what sharing costs.

python experiments/shards.py [--kills N] [--pairs N] [--rounds N]

Workers are killed by SIGKILL and started again until the sweep is done; then every file of every run must be that of
one undisturbed process, but for clocks. Two shards of one sweep are then timed against two processes that sweep half of
it each. What came of it is in ``results/shards.json``.
"""

from __future__ import annotations

import argparse
import multiprocessing
import random
import re
import resource
import statistics
import tempfile
import time
from collections import Counter
from dataclasses import astuple, replace
from pathlib import Path
from typing import Any

from harness import keep
from tables import read

import weightstring as ws
from weightstring.problem import ModuleProblem
from weightstring.study.sweep.table import Row
from weightstring.tasks import load_task

CONTEXT = multiprocessing.get_context("fork")  # a worker need not import PyTorch again
CLOCKS = re.compile(rb'"(?:seconds|seal|begun|created|evaluation_seconds|width)":\s*(?:"[^"]*"|[-\d.e+]+|null)')
"""What may differ: times, seals over them, and how many searches shared batches."""
LEVELS = [0.1, 0.05]


def work(problem: ModuleProblem, store: Path, pairs: int, how: dict[str, Any]) -> None:
    """What a worker does."""
    ws.sweep(problem, LEVELS, pairs=pairs, store=store, progress=False, **how)


def start(*given: Any) -> Any:
    """A worker under way."""
    process = CONTEXT.Process(target=work, args=given)
    process.start()
    return process


def killed(problem: ModuleProblem, folder: Path, kills: int, pairs: int) -> dict[str, Any]:
    """Kill one of two workers at random moments, sweep after sweep, and compare with one that is let alone."""
    draw, found = random.Random(0), Counter[str]()
    while found["kills"] < kills:
        alone, store = (folder / f"{name}-{found['sweeps']}" for name in ("alone", "killed"))
        seed = {"seed": 1000 * found["sweeps"]}
        began = time.perf_counter()
        work(problem, alone, pairs, seed)
        often = (time.perf_counter() - began) / kills
        found["kills"] += _under_fire(problem, store, pairs, seed, draw, often, kills - found["kills"])
        found.update(compared(alone, store))
        found["sweeps"] += 1
    return dict(found)


def _under_fire(
    problem: ModuleProblem, store: Path, pairs: int, how: dict[str, Any], draw: random.Random, often: float, most: int
) -> int:
    """Two workers do a sweep while one after the other is killed and started again; how many were."""
    struck = 0
    workers = {k: start(problem, store, pairs, {**how, "shard": f"{k}/2", "block": 2}) for k in (1, 2)}
    while not _done(store):
        time.sleep(draw.uniform(0, 2 * often))
        k = draw.choice([1, 2])
        if workers[k].is_alive() and struck < most:
            workers[k].kill()
            struck += 1
        for k, process in workers.items():
            process.join(0.01)
            if not process.is_alive():
                workers[k] = start(problem, store, pairs, {**how, "shard": f"{k}/2"})
    for process in workers.values():
        process.join()
    return struck


def compared(alone: Path, store: Path) -> Counter[str]:
    """What one sweep lacks of the other, has twice, or has otherwise."""
    one, other = (ws.collect(each).rows for each in (alone, store))
    rows = zip(_timeless(one), _timeless(other), strict=True)
    files = [contents(each / "runs") for each in (alone, store)]
    return Counter(
        {
            "pairs": len(one),
            "rows lost": len(set(_places(one)) - set(_places(other))),
            "rows twice": len(other) - len(set(_places(other))),
            "rows that differ": sum(mine != yours for mine, yours in rows),
            "files of runs": len(files[0]),
            "files that differ": len(set(files[0].items()) ^ set(files[1].items())),
        }
    )


def _done(store: Path) -> bool:
    try:
        return not ws.collect(store).missing
    except ws.InvalidRun:  # not begun
        return False


def _places(rows: tuple[Row, ...]) -> list[tuple[str, float, int]]:
    return [(row.variant, row.threshold, row.pair) for row in rows]


def _timeless(rows: tuple[Row, ...]) -> list[Any]:
    return [astuple(replace(row, seconds=0.0)) for row in rows]


def contents(folder: Path) -> dict[str, bytes]:
    """Every file of the runs, but for locks and what may differ."""
    files = [path for path in folder.rglob("*") if path.is_file() and path.name != "lock"]
    return {str(path.relative_to(folder)): CLOCKS.sub(b"", path.read_bytes()) for path in files}


def shared(problem: ModuleProblem, folder: Path, pairs: int, rounds: int) -> dict[str, Any]:
    """CPU and wall seconds of two shards of a sweep, and of two processes with half of its seeds each, in turn."""
    cost: dict[str, list[tuple[float, float]]] = {"two shards": [], "two by themselves": []}
    for turn in range(rounds):
        halves = [(problem, folder / f"half-{turn}-{half}", pairs, {"seed": 2 * pairs * half}) for half in (0, 1)]
        shards = [(problem, folder / f"both-{turn}", 2 * pairs, {"shard": f"{k}/2"}) for k in (1, 2)]
        for name, given in (("two by themselves", halves), ("two shards", shards)):
            before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
            for process in [start(*each) for each in given]:
                process.join()
            after = resource.getrusage(resource.RUSAGE_CHILDREN)
            cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
            cost[name].append((cpu, time.perf_counter() - began))
    cpu, wall = ({name: statistics.median(each[i] for each in of) for name, of in cost.items()} for i in (0, 1))
    return {
        "pairs": 2 * pairs * len(LEVELS),
        "rounds": rounds,
        "CPU seconds": cpu,
        "wall seconds": wall,
        "efficiency, CPU": cpu["two by themselves"] / cpu["two shards"],
        "efficiency, wall": wall["two by themselves"] / wall["two shards"],
    }


def main() -> None:
    """Do one part or both, and keep what came of it."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--part", choices=["killed", "two at once"], help="only this")
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--pairs", type=int, default=12)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--half", type=int, default=512, help="pairs at each threshold of each process by itself")
    given = parser.parse_args()
    problem = load_task("polynomial")
    problem.engine_choice()
    with tempfile.TemporaryDirectory() as folder:
        work(problem, Path(folder, "first"), 2, {})  # what is imported and compiled at first use
        parts = {
            "killed": lambda: killed(problem, Path(folder), given.kills, given.pairs),
            "two at once": lambda: shared(problem, Path(folder), given.half, given.rounds),
        }
        for name in parts if given.part is None else [given.part]:
            keep("shards", {**(read("shards") or {}), name: parts[name]()})


if __name__ == "__main__":
    main()
