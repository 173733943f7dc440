"""What it does to strings to be held to 1.1 L0, as the authors' scripts hold them, and not to L0.

    python experiments/accepted.py                  # minutes on one core

Ends are trained to the thresholds of the paper's curves; the same ends are then connected by strings whose samples are
all at most L0, or all at most 1.1 L0. Beads aim at .95 L0 in both.
"""

from __future__ import annotations

from dataclasses import asdict

import cubic
import quadratic
from figure_section import PAPER
from harness import keep, options

import weightstring as ws
from weightstring.study.sweep.ends import EndTrainer
from weightstring.study.sweep.plan import Plan
from weightstring.tasks import load_task

TASKS = {"quadratic": quadratic.SETTING, "cubic": cubic.SETTING}
AIM = 0.95
ACCEPTED = (1.0, 1.1)


def main() -> None:
    """Connect the same ends twice at each threshold."""
    given = options(__doc__ or "", pairs=16)
    rows = []
    for task, setting in TASKS.items():
        problem = load_task("polynomial", setting)
        levels = tuple(sorted(PAPER[task], reverse=True))[: 2 if given.quick else None]
        trainer = EndTrainer(problem, Plan(levels, given.pairs), None)
        for level in levels:
            reached = trainer.at(level, 2 * given.pairs)
            for accepted in ACCEPTED:
                found = ws.sweep(
                    problem,
                    (accepted * level,),
                    checkpoints=list(reached.thetas),
                    strategy=ws.Greedy(alpha=AIM / accepted),
                    stop=ws.MaxBeads(256),
                    progress=False,
                )
                rows += [{"task": task, "level": level, "accepted": accepted, **asdict(s)} for s in found.summary]
                print(task, level, accepted, found.summary[0].connected.value, flush=True)
    if not given.quick:
        keep("accepted", {"pairs": given.pairs, "aim": AIM, "rows": rows})


if __name__ == "__main__":
    main()
