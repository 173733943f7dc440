"""What it does to strings to be held to 1.1 L0, as the authors' scripts hold them, and not to L0.

    python experiments/accepted.py                  # minutes on one core; interrupt and repeat at will

Ends are trained to thresholds of the paper's curves; the same ends are then connected by strings whose samples are
all at most L0, or all at most 1.1 L0. Beads aim at .95 L0 in both.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import cubic
import quadratic
from harness import keep, options
from tables import read
from torch import Tensor

import weightstring as ws
from weightstring.study.sweep.ends import EndTrainer
from weightstring.study.sweep.plan import Plan
from weightstring.tasks import load_task

TASKS = {
    "quadratic": (quadratic.SETTING, (0.125, 0.025, 0.01)),
    "cubic": (cubic.SETTING, (0.32, 0.168)),
}
"""Settings, and thresholds of the paper's curves at which all pairs are connected: none is given up late."""
AIM = 0.95
ACCEPTED = (1.0, 1.1)


def main() -> None:
    """Connect the same ends twice at each threshold; what is known is not run again."""
    given = options(__doc__ or "", pairs=16)
    known = read("accepted") or {}
    rows: list[dict[str, Any]] = known["rows"] if known.get("pairs") == given.pairs and not given.quick else []
    for task, (setting, thresholds) in TASKS.items():
        problem = load_task("polynomial", setting)
        levels = thresholds[: 2 if given.quick else None]
        trainer = EndTrainer(problem, Plan(levels, given.pairs))
        trainer.train()
        for level in levels:
            if any((row["task"], row["level"]) == (task, level) for row in rows):
                continue
            ends = list(trainer.at(level).thetas)
            rows += [row for accepted in ACCEPTED for row in held(problem, task, level, accepted, ends)]
            if not given.quick:
                keep("accepted", {"pairs": given.pairs, "aim": AIM, "rows": rows})


def held(
    problem: ws.ModuleProblem, task: str, level: float, accepted: float, ends: Sequence[Tensor]
) -> list[dict[str, Any]]:
    """The summary of strings between these ends whose samples are at most so many times the threshold."""
    strategy, stop = ws.Greedy(alpha=AIM / accepted), ws.MaxBeads(256)
    found = ws.sweep(problem, (accepted * level,), checkpoints=ends, strategy=strategy, stop=stop, progress=False)
    print(task, level, accepted, found.summary[0].connected.value, flush=True)
    return [{"task": task, "level": level, "accepted": accepted, **asdict(own)} for own in found.summary]


if __name__ == "__main__":
    main()
