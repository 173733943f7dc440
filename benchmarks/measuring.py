"""What all benchmarks share: one form of command line, CPU seconds in turns, and results as JSON beside the scripts.

A benchmark is a module of this folder whose ``main(arguments)`` makes its parser by :func:`parser`, reads it by
:func:`asked`, times its sides by :func:`alternating` or :func:`timed`, and ends with :func:`keep`. The first line of
its docstring is what ``python -m benchmarks --list`` says of it. CPU seconds are of the whole process, so that a busy
machine, which stretches wall seconds many times, hardly touches them; wall seconds are kept beside them.
"""

from __future__ import annotations

import argparse
import json
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple, TypeVar

import torch

HERE = Path(__file__).parent
RESULTS = HERE / "results"
ROUNDS = 5
T = TypeVar("T")


class Cost(NamedTuple):
    """Seconds: CPU of the whole process, wall, and of several rounds the range of CPU seconds."""

    cpu: float
    wall: float
    least: float
    most: float

    @property
    def spread(self) -> str:
        """The range of CPU seconds over the rounds."""
        return f"{self.least:.3g}–{self.most:.3g}"


def machine() -> str:
    """Processor, threads and versions."""
    model = "unknown processor"
    info = Path("/proc/cpuinfo")
    if info.exists():
        names = [
            line.partition(":")[2].strip() for line in info.read_text().splitlines() if line.startswith("model name")
        ]
        model = f"{len(names)} × {names[0]}" if names else model
    threads = torch.get_num_threads()
    of = f"{threads} thread{'s' * (threads > 1)}"
    return f"{model}, {of}, Python {platform.python_version()}, torch {torch.__version__}"


def commit() -> str:
    """The commit that is measured, with a + where the package was changed since; "" outside a repository."""
    package = HERE.parent / "src"

    def git(*words: str) -> str:
        return subprocess.run(["git", "-C", package, *words], capture_output=True, text=True, check=True).stdout.strip()

    try:
        return git("rev-parse", "--short", "HEAD") + "+" * bool(git("status", "--porcelain", "."))
    except (OSError, subprocess.CalledProcessError):
        return ""


def parser(description: str | None) -> argparse.ArgumentParser:
    """The options that every benchmark has; it adds its own."""
    found = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    found.add_argument("--quick", action="store_true", help="a smaller size of everything; nothing is kept")
    found.add_argument("--threads", type=int, default=1, help="of PyTorch, in all sides alike")
    return found


def asked(options: argparse.ArgumentParser, arguments: Sequence[str]) -> argparse.Namespace:
    """What was asked for, with PyTorch's threads set."""
    found = options.parse_args(arguments)
    torch.set_num_threads(found.threads)
    return found


def timed(run: Callable[[], T]) -> tuple[T, Cost]:
    """One call's value and what it took."""
    wall, cpu = time.perf_counter(), time.process_time()
    value = run()
    cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
    return value, Cost(cpu, wall, cpu, cpu)


def middle(costs: Sequence[Cost]) -> Cost:
    """Medians of several rounds, and the range of their CPU seconds."""
    cpus = [cost.cpu for cost in costs]
    return Cost(statistics.median(cpus), statistics.median(cost.wall for cost in costs), min(cpus), max(cpus))


def alternating(sides: Mapping[str, Callable[[], object]], rounds: int = ROUNDS, warm: bool = True) -> dict[str, Cost]:
    """Medians of each side's seconds over ``rounds``; sides take turns, and another begins each round.

    With ``warm``, each has a call before that does not count.
    """
    names = list(sides)
    for name in names if warm else ():
        sides[name]()
    costs: dict[str, list[Cost]] = {name: [] for name in names}
    for turn in range(rounds):
        first = turn % len(names)
        for name in names[first:] + names[:first]:
            costs[name].append(timed(sides[name])[1])
    return {name: middle(own) for name, own in costs.items()}


def peak(rounds: int = 10) -> float:
    """Operations a CPU second of a large float32 product, the best of several: the arithmetic limit of this machine."""
    a = torch.randn(1024, 1024)
    return 2 * 1024**3 / min(timed(lambda: a @ a)[1].cpu for _ in range(rounds))


def kept(name: str) -> dict[str, object]:
    """What an earlier call kept under this name; empty if none did."""
    path = RESULTS / f"{name}.json"
    return json.loads(path.read_text()) if path.exists() else {}


def keep(name: str, found: Mapping[str, object], quick: bool = False, silent: bool = False) -> None:
    """Print a result, unless it grows row by row, and keep it for BENCHMARKS.md unless it is of a quick size."""
    told = json.dumps({"machine": machine(), "commit": commit(), **found}, indent=1, ensure_ascii=False)
    if not silent:
        print(told, flush=True)
    if quick:
        print(f"{name}: a quick size: nothing is kept", file=sys.stderr)
        return
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / f"{name}.json").write_text(told + "\n")
