"""Is a higher threshold ever harder, and how near to Γ do estimates come? On losses whose Γ is known, and digits.

- Each loss is searched with ``connect``'s defaults at 8 thresholds from just above Γ to near the straight line's
  maximum, and 8 pairs of digits networks at 8 thresholds from the ends' own level on: whatever connects at one must
  connect at every higher one.
- ``minimax`` with its defaults estimates Γ of each loss. Errors are relative to Γ; where Γ is the level of the ends,
  which is 0 in all of these losses, to the straight line's maximum.

python experiments/known_answers.py     goes on where results/known_answers.jsonl ends
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import count
from pathlib import Path

import torch
from torch import Tensor

import weightstring as ws
from weightstring.problem.surfaces import Maze, Ring, Spike, TwoWells, shifted, stretched
from weightstring.protocol import LossProblem
from weightstring.recipe import Recipe
from weightstring.tasks import load_task
from weightstring.theory import deep_linear
from weightstring.theory.deep_linear_barrier import barrier
from weightstring.theory.quartic import Quartic, ReluQuartic

RESULTS = Path(__file__).parent / "results" / "known_answers.jsonl"
SHARES = (0.002, 0.01, 0.03, 0.1, 0.2, 0.4, 0.6, 0.8)
"""Of the way from Γ up to the straight line's maximum."""
DIGITS_LEVEL, DIGITS_PAIRS = 0.15, 8
DIGITS_FACTORS = (1.0, 1.02, 1.05, 1.1, 1.2, 1.5, 2.0, 4.0)
SGD = Recipe("sgd", {"lr": 0.02}, check_every=5, patience=20, max_steps=2_000)


@dataclass(frozen=True)
class Known:
    """A loss, two ends, Γ between them, and how to descend it."""

    problem: LossProblem
    ends: tuple[Tensor, Tensor]
    gamma: float
    recipe: Recipe | None = None


def surface(make: Callable[[], ws.problem.surfaces.Surface]) -> Callable[[], Known]:
    """A surface between its own ends."""

    def build() -> Known:
        made = make()
        return Known(made, made.ends, made.gamma(*made.ends))

    return build


def exchanged_units() -> Known:
    """2-2-2, linear, fitted exactly, and its copy with both units exchanged: Γ = λ*."""
    inputs = torch.randn(2, 9, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    goal = torch.diag(torch.tensor([1.5, 0.8], dtype=torch.float64))
    first = torch.tensor([[1.2, 0.1], [0.2, 0.9]], dtype=torch.float64)
    second = goal @ torch.linalg.inv(first)
    a, b = [first, second], [first[[1, 0]], second[:, [1, 0]]]
    problem = deep_linear.problem((2, 2, 2), inputs, goal @ inputs)
    gamma = barrier(a, b, inputs, goal @ inputs).gamma
    return Known(problem, (deep_linear.flatten(a), deep_linear.flatten(b)), gamma, SGD)


def _point(*numbers: float) -> Tensor:
    return torch.tensor(numbers, dtype=torch.float64)


KNOWN: dict[str, Callable[[], Known]] = {
    "two wells": surface(TwoWells),
    "two wells, bent": surface(lambda: TwoWells(bend=0.6, saddle=2.0)),
    "two wells, elsewhere": surface(lambda: shifted(TwoWells(size=3, left=1.3), _point(0.4, -2.0, 1.0))),
    "two wells, stretched": surface(lambda: stretched(TwoWells(bend=0.6, saddle=2.0), _point(2.0, 0.5))),
    "ring": surface(Ring),
    "ring with a ridge": surface(lambda: Ring(ridge=0.2)),
    "ring with a ridge, elsewhere": surface(lambda: shifted(Ring(ridge=0.25), _point(0.7, -1.3), lift=0.5)),
    "maze": surface(Maze),
    "maze, uneven": surface(lambda: Maze(heights=(0.2, 0.5, 0.1))),
    "wide spike": surface(lambda: Spike(width=0.3, stiffness=20.0)),
    "quartic, one unit": surface(lambda: Quartic(target=(1.5, -0.5), width=1)),
    "quartic, three units": surface(lambda: Quartic(target=(1.5, -0.5), width=3)),
    "quartic of one example": surface(lambda: Quartic(x=(1.0, 2.0), target=(1.5,), width=2)),
    "one ReLU unit": surface(lambda: ReluQuartic(x=(1.0, -1.3), y=(1.0, 0.8))),
    "two ReLU units": surface(lambda: ReluQuartic(x=(1.0, -1.0), y=(2.0, 1.0), width=2)),
    "three ReLU units": surface(lambda: ReluQuartic(x=(1.0, -1.0), y=(2.0, 1.0), width=3)),
    "linear 2-2-2": exchanged_units,
}


def main() -> None:
    """Compute what is missing, one line a loss or pair."""
    done = {json.loads(line)["name"] for line in RESULTS.read_text().splitlines()} if RESULTS.exists() else set()
    for name, build in KNOWN.items():
        if name not in done:
            _write(_of_known(name, build()))
    for name, problem, a, b in _digits(done):
        own = float(problem.measure(torch.stack([a, b]))["loss"].max())
        levels = [factor * own for factor in DIGITS_FACTORS]
        _write({"name": name, "levels": [_level(problem, (a, b), level, None) for level in levels]})


def _of_known(name: str, known: Known) -> dict[str, object]:
    line = torch.stack([torch.lerp(*known.ends, k / 256) for k in range(257)])
    top = float(known.problem.measure(line)["loss"].max())
    # Where the line itself is no higher than Γ there is nothing to search for but rounding.
    levels = [known.gamma + share * max(top - known.gamma, 0.02 * abs(known.gamma)) for share in SHARES]
    started = time.monotonic()
    found = ws.minimax(known.problem, *known.ends, recipe=known.recipe, progress=False)
    return {
        "name": name,
        "gamma": known.gamma,
        "line": top,
        "estimate": found.level,
        "proved": found.lower_bound,
        "steps": found.result.steps,
        "seconds": round(time.monotonic() - started, 1),
        "levels": [_level(known.problem, known.ends, level, known.recipe) for level in levels],
    }


def _level(problem: LossProblem, ends: tuple[Tensor, Tensor], level: float, recipe: Recipe | None) -> dict[str, object]:
    found = ws.connect(problem, *ends, level, recipe=recipe, progress=False)
    return {
        "threshold": level,
        "connected": found.connected,
        "attempt": found.attempts[-1].name if found.attempts else "",
        "attempts": len(found.attempts),
        "beads": len(found.string),
        "steps": found.steps,
    }


def _digits(done: set[str]) -> Iterator[tuple[str, ws.ModuleProblem, Tensor, Tensor]]:
    """Pairs of networks of seeds that reach the level, in order."""
    problem = load_task("digits")
    seeds = count()

    def trained() -> Tensor:
        while True:
            try:
                return problem.fit(seed=next(seeds), until=DIGITS_LEVEL)
            except ws.LevelNotReached:
                continue

    for pair in range(DIGITS_PAIRS):
        name, a, b = f"digits, pair {pair}", trained(), trained()
        if name not in done:
            yield name, problem, a, b


def _write(record: dict[str, object]) -> None:
    with RESULTS.open("a") as file:
        file.write(json.dumps(record) + "\n")
    print(json.dumps(record), flush=True)


if __name__ == "__main__":
    main()
