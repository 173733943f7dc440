"""Section II.C: does breadth-first evolution show "sooner" that two models are disconnected? On pairs whose Γ is known.

    python experiments/sooner.py

The ends' larger loss is h. Each search looks for a string under h + s (Γ − h), s < 1, which no path has, and the
gradients that it spends until it gives up are counted; and for s > 1, where there is one, until it connects. Known Γ:
surfaces, linear networks of two and three layers of minimal width (λ*), the 2-3-2 network of Appendix E (1/6, which is
proved as a lower bound and approached). Searches know nothing of Γ. Each line is kept when it is done; a second call
goes on.
"""

from __future__ import annotations

import argparse
import json
import statistics
from collections.abc import Iterator
from typing import Any, NamedTuple

import torch
from harness import RESULTS, keep

import weightstring as ws
from weightstring.arrays import Theta
from weightstring.problem.surfaces import Maze, Ring, TwoWells
from weightstring.proof.disconnect import prove
from weightstring.protocol import LossProblem
from weightstring.recipe import Recipe
from weightstring.theory import deep_linear
from weightstring.theory.deep_linear_barrier import barrier
from weightstring.theory.triangle import swapped_ends, swapped_triangle

SHARES = (0.5, 0.9, 1.5)
SEARCHES = {"as in the paper": ws.AsInThePaper(), "greedy": ws.Greedy(), "breadth-first": ws.BreadthFirst()}
MOST = ws.MaxSteps(200_000)


class Pair(NamedTuple):
    """A loss, two ends and Γ between them."""

    problem: LossProblem
    a: Theta
    b: Theta
    gamma: float
    recipe: Recipe | None = None


def surfaces(count: int) -> Iterator[Pair]:
    """Two wells, rings with two passes and mazes of 4 to 40 dimensions."""
    for seed in range(count):
        size = (4, 12, 40, 20)[seed % 4]
        draw = torch.rand(4, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).tolist()
        for surface in (
            TwoWells(size=size, right=1.1 + draw[0], bend=draw[1], saddle=0.5 + draw[2]),
            Ring(size=size, ridge=0.1 + 0.5 * draw[0], angles=(1.4 + 0.6 * draw[1], -1.0 - draw[2])),
            Maze(size=size),
        ):
            yield Pair(surface, *surface.ends, surface.gamma(*surface.ends))


def linear(count: int) -> Iterator[Pair]:
    """3-2-2 and 3-2-2-2, targets that a product fits exactly, ends that do, with top layers of other signs."""
    for seed in range(count):
        draw = torch.Generator().manual_seed(seed)
        widths = (3, 2, 2, 2)[: 3 + seed % 2]
        x, fit = (torch.randn(shape, generator=draw, dtype=torch.float64) for shape in ((3, 8), (2, 3)))
        ends = []
        for sign in (1.0, -1.0):
            tops = [torch.randn(2, 2, generator=draw, dtype=torch.float64) for _ in widths[2:]]
            tops = [top + top.det().sign() * torch.eye(2).double() for top in tops]  # off the singular ones
            if tops[-1].det().sign() != sign:
                tops[-1] = tops[-1].flip(0)
            first = fit
            for top in reversed(tops):
                first = torch.linalg.solve(top, first)
            ends.append([first, *tops])
        problem = deep_linear.problem(widths, x, fit @ x)
        known = barrier(*ends, x, fit @ x).gamma
        recipe = Recipe("sgd", {"lr": 0.02}, check_every=5)
        yield Pair(problem, *map(deep_linear.flatten, ends), known, recipe)


def swapped(count: int) -> Iterator[Pair]:
    """Appendix E: two hidden units exchanged."""
    problem = swapped_triangle()
    for seed in range(count):
        sizes = 0.5 + torch.rand(3, generator=torch.Generator().manual_seed(seed))
        a, b = swapped_ends(problem, sizes=sizes.tolist())
        proof = prove(problem, a, b)
        assert proof is not None
        yield Pair(problem, a, b, proof.bound)


FAMILIES = {"surfaces": surfaces, "deep linear": linear, "2-3-2": swapped}


def searched(pairs: list[Pair], share: float, strategy: Any) -> dict[str, Any]:
    """All pairs at one share: who connects, and the gradients of those that do and of those that give up."""
    done = []
    for pair in pairs:
        higher = float(pair.problem.measure(torch.stack([pair.a, pair.b]))["loss"].max())
        level = higher + share * (pair.gamma - higher)
        found = ws.connect(
            pair.problem,
            pair.a,
            pair.b,
            level,
            strategy=strategy,
            recipe=pair.recipe,
            stop=MOST,
            disprove=False,
            progress=False,
        )
        # Samples miss the top of a pass by little: between them a string may be that much higher.
        assert share > 1 or not found.connected or level > 0.999 * pair.gamma, "a string below Γ"
        done.append(found)
    lost = [found for found in done if not found.connected]
    return {
        "pairs": len(done),
        "connected": sum(found.connected for found in done),
        "gradients to connect": [found.steps for found in done if found.connected],
        "gradients to give up": [found.steps for found in lost],
        "reasons": sorted({found.outcome.reason for found in lost if isinstance(found.outcome, ws.Unresolved)}),
    }


def place(row: dict[str, Any]) -> tuple[int, float, int]:
    """Of a line in the table."""
    return list(FAMILIES).index(row["family"]), row["share"], list(SEARCHES).index(row["search"])


def main() -> None:
    """Every family, share and search."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--pairs", type=int, default=2, help="of each family; three times as many surfaces")
    given = parser.parse_args()
    path = RESULTS / "sooner.json"
    rows = json.loads(path.read_text())["rows"] if path.exists() else []
    known = {(row["family"], row["share"], row["search"]) for row in rows}
    pairs = {family: list(make(given.pairs)) for family, make in FAMILIES.items()}
    for share in SHARES:
        for family in FAMILIES:
            for name, strategy in SEARCHES.items():
                if (family, share, name) in known:
                    continue
                found = searched(pairs[family], share, strategy)
                rows.append({"family": family, "share": share, "search": name, **found})
                spent = found["gradients to give up"] or found["gradients to connect"]
                print(f"{family:>12} {share:5g} {name:>16} {found['connected']} of {found['pairs']}, "
                      f"gradients {statistics.median(spent):.0f} {found['reasons']}", flush=True)  # fmt: skip
                keep("sooner", {"most": MOST.count, "rows": sorted(rows, key=place)})


if __name__ == "__main__":
    main()
