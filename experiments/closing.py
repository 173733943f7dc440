"""Why α < 1: which halves of a split close, beside what the lemma on curvature and length says of them.

    python experiments/closing.py [--pairs 4]

S(θ1, θ2, α, d) as in the paper, so that the string depends on α in no other way. Of every segment that a bead made, its
ends' heights, its length ℓ and C = cℓ² (by second differences of γ on 33 points) say by the lemma whether it must
close; the same C taken from the segment that was split, shrunk to the half's length, says so before anything is
measured. Each line of the table is kept when it is done; a second call goes on.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import statistics
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from harness import RESULTS, keep
from questions import ALPHAS, QUADRATIC

import weightstring as ws
from weightstring.arrays import Theta
from weightstring.path.segment import grid
from weightstring.problem import ModuleProblem
from weightstring.search.chain import Link
from weightstring.search.jobs import JobResult
from weightstring.search.string import String
from weightstring.tasks import load_task
from weightstring.theory.closing import highest, required_alpha, sag

DEPTH = 9
TASKS = (("quadratic", 0.025), ("digits", 0.15), ("quadratic", 0.01))
SAMPLES = grid(32)


@dataclass(frozen=True)
class Watched(ws.AsInThePaper):
    """Every segment that the search ever measured, by name, and what it was a half of."""

    seen: dict[str, Link] = field(default_factory=dict)
    parents: dict[str, str] = field(default_factory=dict)

    def measured(self, state: String) -> String:
        """The segments once they are measured."""
        self.seen.update({link.name: link for link in state.chain})
        return state

    def absorb(self, state: String, results: Mapping[str, JobResult]) -> String:
        """The search's own step, watched."""
        after = super().absorb(state, results)
        left, new = {link.left.name: link for link in state.chain}, {link.name for link in state.chain}
        for link in after.chain:
            if link.name not in new:
                parent = left.get(link.left.name) or next(one for one in state.chain if one.right is link.right)
                self.parents[link.name] = parent.name
        return after


def pairs_of(problem: ModuleProblem, threshold: float, count: int) -> Iterator[tuple[Theta, Theta]]:
    """Models trained until they are at most at the threshold; draws that do not get there are left out."""
    fitted: list[Theta] = []
    seed = 0
    while count:
        with contextlib.suppress(ws.LevelNotReached):
            fitted.append(problem.fit(seed=seed, until=threshold))
        seed += 1
        if len(fitted) == 2:
            yield fitted[0], fitted[1]
            fitted, count = [], count - 1


def searched(problem: ModuleProblem, a: Theta, b: Theta, threshold: float, alpha: float) -> dict[str, Any]:
    """One search, and of every half: heights, length, C, what was seen and what the lemma says."""
    search = Watched(alpha, DEPTH)
    found = ws.connect(problem, a, b, threshold, strategy=search, disprove=False, progress=False)
    sags = {
        name: sag(ws.loss_curve(problem, link.left.theta, link.right.theta, SAMPLES))
        for name, link in search.seen.items()
    }
    halves = []
    for name, parent in search.parents.items():
        link, whole = search.seen[name], search.seen[parent]
        ends, length = (link.left.value, link.right.value), link.segment.length
        before = sags[parent] * (length / whole.segment.length) ** 2
        other = link.left if link.right.name not in parent.split("-") else link.right
        halves.append(
            {
                "depth": link.depth,
                "closed": not link.open,
                "top": link.height,
                "bound": highest(*ends, sags[name]),
                "bound before": highest(*ends, before),
                "curvature": sags[name] / length**2,
                "length": length,
                "required alpha": required_alpha(threshold, other.value, sags[name]),
            }
        )
    return {
        "connected": found.connected,
        "beads": len(found.string),
        "length": found.string.normalized_length,
        "gradients": found.steps,
        "halves": halves,
    }


def summarised(rows: list[dict[str, Any]], threshold: float) -> dict[str, Any]:
    """One line of the table."""
    halves = [half for row in rows for half in row["halves"]]
    said = [half for half in halves if half["bound"] <= threshold]
    said_before = [half for half in halves if half["bound before"] <= threshold]
    unsaid = [half for half in halves if half["bound"] > threshold]
    return {
        "pairs": len(rows),
        "connected": sum(row["connected"] for row in rows),
        "beads": statistics.fmean(row["beads"] for row in rows),
        "length": statistics.fmean(row["length"] for row in rows),
        "gradients": statistics.fmean(row["gradients"] for row in rows),
        "halves": len(halves),
        "closed": sum(half["closed"] for half in halves),
        "said to close": len(said),
        "of them open": sum(not half["closed"] for half in said),
        "the others closed": sum(half["closed"] for half in unsaid),
        "said before": len(said_before),
        "of those open": sum(not half["closed"] for half in said_before),
        "over the bound": sum(half["top"] > half["bound"] * (1 + 1e-5) for half in halves),
        "required alpha": statistics.median(half["required alpha"] for half in halves) if halves else None,
        "curvature": statistics.median(half["curvature"] for half in halves) if halves else None,
        "half's length": statistics.median(half["length"] for half in halves) if halves else None,
    }


def main() -> None:
    """Every task, threshold and α on the same pairs; what is kept already is not computed again."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument(
        "--pairs",
        type=int,
        default=4,
        help="for each threshold of the quadratic; half as many of digits (default: %(default)s)",
    )
    given = parser.parse_args()
    path = RESULTS / "closing.json"
    kept = json.loads(path.read_text()) if path.exists() else {"rows": []}
    rows = {(row["task"], row["threshold"], row["alpha"]): row for row in kept["rows"]}
    for task, threshold in TASKS:
        problem = load_task("polynomial", QUADRATIC) if task == "quadratic" else load_task("digits")
        count = given.pairs if task == "quadratic" else max(2, given.pairs // 2)
        pairs = list(pairs_of(problem, threshold, count))
        for alpha in ALPHAS:
            if rows.get((task, threshold, alpha), {}).get("pairs") == count:
                continue
            found = [searched(problem, a, b, threshold, alpha) for a, b in pairs]
            own = {"task": task, "threshold": threshold, "alpha": alpha, **summarised(found, threshold)}
            rows[task, threshold, alpha] = own
            print({key: round(value, 4) if isinstance(value, float) else value for key, value in own.items()})
            keep("closing", {"depth": DEPTH, "rows": list(rows.values())})


if __name__ == "__main__":
    main()
