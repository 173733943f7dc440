"""How long strings are: by optimizer, by constraint, and shortened; and how low random networks sink (Section II.C).

    python experiments/optimizers_and_ties.py [--parts digits,mnist,breadth-first] [--data DIR]

- digits, mnist: the same pairs for each optimizer and strategy: normalized length, gradients.
- breadth-first: both ends free, from networks as they are drawn; digits at .15.

Each pair is a line of results/optimizers_and_ties.jsonl, written as soon as it is done; what is there is not run again.
"""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from harness import RESULTS

import weightstring as ws
from weightstring.problem import ModuleProblem
from weightstring.recipe import Recipe
from weightstring.search import BreadthFirst, Constrained, Even, Greedy, Shortened
from weightstring.tasks import load_task

OUT = RESULTS / "optimizers_and_ties.jsonl"
OPTIMIZERS: Mapping[str, tuple[str, Mapping[str, float]]] = {
    "Adam 1e-3": ("adam", {"lr": 1e-3}),
    "RMSprop 1e-3": ("rmsprop", {"lr": 1e-3}),
    "SGD .1": ("sgd", {"lr": 0.1}),
    "SGD .02, momentum .9": ("sgd", {"lr": 0.02, "momentum": 0.9}),
}
STRATEGIES: Mapping[str, Any] = {
    "greedy": Greedy(),
    "hyperplane": Constrained(),
    "spring .01": Constrained(constraint="spring:0.01"),
    "soft .01": Constrained(constraint="soft:0.01"),
}
WITHOUT: Mapping[str, Any] = {"even": Even(), "shortened": Shortened()}
"""Run by the recipe alone: their steps do not depend on the optimizer, or only where they begin."""
LEVELS = {"digits": 0.3, "mnist": 0.25}
SINK = 0.15


def lengths(task: str, problem: ModuleProblem, pairs: int, done: set[str]) -> Iterator[dict[str, Any]]:
    """Each strategy under each optimizer, pair by pair."""
    for pair in range(pairs):
        asked = [(name, how, strategy) for name, how in OPTIMIZERS.items() for strategy in STRATEGIES]
        asked += [("Adam 1e-3", OPTIMIZERS["Adam 1e-3"], strategy) for strategy in WITHOUT]
        left = [one for one in asked if f"{task}/{pair}/{one[0]}/{one[2]}" not in done]
        if not left:
            continue
        level = LEVELS[task]
        a, b = (problem.fit(seed=seed, until=level) for seed in (2 * pair, 2 * pair + 1))
        for name, (optimizer, options), strategy in left:
            recipe: Recipe = replace(problem.recipe, optimizer=optimizer, options=options)
            chosen = {**STRATEGIES, **WITHOUT}[strategy]
            found = ws.connect(problem, a, b, level, strategy=chosen, recipe=recipe)
            yield {
                "name": f"{task}/{pair}/{name}/{strategy}",
                "part": task,
                "pair": pair,
                "optimizer": name,
                "strategy": strategy,
                "level": level,
                "connected": found.connected,
                "length": found.string.normalized_length,
                "beads": len(found.string),
                "gradients": found.steps,
            }


def sunk(problem: ModuleProblem, pairs: int, done: set[str]) -> Iterator[dict[str, Any]]:
    """Breadth-first evolution of random pairs, both ends free."""
    for pair in range(pairs):
        if f"breadth-first/{pair}" in done:
            continue
        a, b = problem.initial(2 * pair), problem.initial(2 * pair + 1)
        found = ws.connect(problem, a, b, SINK, strategy=BreadthFirst(ends="free"))
        yield {
            "name": f"breadth-first/{pair}",
            "part": "breadth-first",
            "pair": pair,
            "level": SINK,
            "connected": found.connected,
            "length": found.string.normalized_length,
            "beads": len(found.string),
            "gradients": found.steps,
            "largest": found.largest,
        }


def main() -> None:
    """Run what is not in the results yet."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--parts", default="digits,mnist,breadth-first", help="joined by commas (default: all)")
    parser.add_argument("--data", type=Path, help="directory of MNIST")
    parser.add_argument("--pairs", type=int, help="of each part (default: 12 of digits, 6 of MNIST, 20 random ones)")
    parser.add_argument("--quick", action="store_true", help="one pair of each, whose results are not kept")
    given = parser.parse_args()
    parts = given.parts.split(",")
    done = set() if given.quick or not OUT.exists() else {json.loads(line)["name"] for line in OUT.open()}
    runs: list[Iterator[dict[str, Any]]] = []
    for part, usual in (("digits", 12), ("mnist", 6), ("breadth-first", 20)):
        if part not in parts:
            continue
        pairs = 1 if given.quick else given.pairs or usual
        if part == "mnist":
            data = {"data": str(given.data)} if given.data else {}
            mlp = load_task("mnist", {"net": "mlp", "hidden": "64-64", "train_size": "10000", **data})
            runs.append(lengths(part, mlp, pairs, done))
        else:
            digits = load_task("digits")
            runs.append(lengths(part, digits, pairs, done) if part == "digits" else sunk(digits, pairs, done))
    for run in runs:
        for row in run:
            print(json.dumps(row), flush=True)
            if not given.quick:
                with OUT.open("a") as out:
                    out.write(json.dumps(row) + "\n")
                    out.flush()
                    os.fsync(out.fileno())


if __name__ == "__main__":
    main()
