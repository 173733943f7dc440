"""The cubic at .01: what keeps strings open, by how far the ends lie below L0, what is accepted, and the search.

    python experiments/cubic_ends.py [--pairs 8] [--only NAME]

The same pairs of seeds in every line. Ends are trained until they reach (1 − margin) · .01: those of a larger margin
are further along the same training. Each pair is a line of results/cubic_ends.jsonl, written as soon as its batch is
done; what is there is not run again.
"""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import count
from typing import Any

from harness import RESULTS
from questions import CUBIC, LONG
from torch import Tensor

import weightstring as ws
from weightstring.errors import LevelNotReached
from weightstring.problem import ModuleProblem
from weightstring.search import Persistent
from weightstring.search.methods.lower_ends import LowerEnds
from weightstring.tasks import load_task

OUT = RESULTS / "cubic_ends.jsonl"
LEVEL = 0.01
BATCH = 4
TRAINING = ws.Recipe("adam", {"lr": 3e-3}, **LONG)
GREEDY = ws.Greedy(alpha=0.8, max_depth=20)


@dataclass(frozen=True)
class Variant:
    """A line of the table: how far below L0 the ends lie, what segments are held to, and how it is searched."""

    margin: float
    accepted: float
    strategy: Any
    recipe: ws.Recipe | None


VARIANTS: Mapping[str, Variant] = {
    "lower ends": Variant(0.0, 1.0, LowerEnds(GREEDY), TRAINING),
    "greedy": Variant(0.0, 1.0, GREEDY, TRAINING),
    "greedy, 1.1 L0": Variant(0.0, 1.1, GREEDY, TRAINING),
    "greedy, 6 %": Variant(0.06, 1.0, GREEDY, TRAINING),
    "greedy, 2 %": Variant(0.02, 1.0, GREEDY, TRAINING),
    "greedy, 10 %": Variant(0.1, 1.0, GREEDY, TRAINING),
    "persistent": Variant(0.0, 1.0, Persistent(GREEDY, beads=128), TRAINING),
}


def trained(problem: ModuleProblem, wanted: int, margin: float, seeds: list[int]) -> list[Tensor]:
    """Ends at a margin; the seeds are those that reach the largest one, found once and kept in the list."""
    for seed in () if len(seeds) >= wanted else count():
        try:
            problem.fit(seed, until=LEVEL * (1 - max(one.margin for one in VARIANTS.values())), recipe=TRAINING)
            seeds.append(seed)
        except LevelNotReached:
            print(f"seed {seed} does not get there")
        if len(seeds) == wanted:
            break
    return [problem.fit(seed, until=LEVEL * (1 - margin), recipe=TRAINING) for seed in seeds[:wanted]]


def row(name: str, pair: int, seeds: tuple[int, int], variant: Variant, found: ws.Result) -> dict[str, Any]:
    """What is kept of a search."""
    evidence = found.outcome.evidence if isinstance(found.outcome, ws.Unresolved) else None
    return {
        "name": f"{name}/{pair}",
        "part": name,
        "pair": pair,
        "seeds": seeds,
        "margin": variant.margin,
        "accepted": variant.accepted,
        "connected": found.connected,
        "reason": found.outcome.reason if isinstance(found.outcome, ws.Unresolved) else None,
        "by": found.attempts[-1].name if found.attempts else None,
        "largest": found.largest / LEVEL,
        "lowest failed": evidence and evidence.lowest_loss and evidence.lowest_loss / LEVEL,
        "length": found.string.normalized_length,
        "beads": len(found.string),
        "gradients": found.steps,
    }


def main() -> None:
    """Run what is not in the results yet."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--pairs", type=int, default=8, help="in each line (default: %(default)s)")
    parser.add_argument("--only", choices=list(VARIANTS), help="one line")
    given = parser.parse_args()
    done = {json.loads(line)["name"] for line in OUT.open()} if OUT.exists() else set()
    problem, seeds = load_task("polynomial", CUBIC), list[int]()
    for name in [given.only] if given.only else VARIANTS:
        variant = VARIANTS[name]
        left = [pair for pair in range(given.pairs) if f"{name}/{pair}" not in done]
        ends = trained(problem, 2 * given.pairs, variant.margin, seeds) if left else []
        for batch in (left[i : i + BATCH] for i in range(0, len(left), BATCH)):
            results = ws.connect_many(
                problem,
                [(ends[2 * pair], ends[2 * pair + 1]) for pair in batch],
                variant.accepted * LEVEL,
                strategy=variant.strategy,
                recipe=variant.recipe,
                stop=ws.MaxBeads(256),
                progress=False,
            )
            with OUT.open("a") as out:
                for pair, found in zip(batch, results, strict=True):
                    line = row(name, pair, (seeds[2 * pair], seeds[2 * pair + 1]), variant, found)
                    print(json.dumps(line), flush=True)
                    out.write(json.dumps(line) + "\n")
                out.flush()
                os.fsync(out.fileno())


if __name__ == "__main__":
    main()
