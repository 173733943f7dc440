"""``weightstring sweep``: many pairs of a task's networks over thresholds and forms of it (Section V)."""

from __future__ import annotations

import json
from argparse import ArgumentParser, Namespace
from dataclasses import asdict
from pathlib import Path

import weightstring as ws
from weightstring.cli.ending import DONE, going_on
from weightstring.cli.options.problem import add_allowed, add_json, add_task
from weightstring.cli.options.recipe import add_recipe, changed_recipe
from weightstring.cli.options.search import (
    add_bind,
    add_computing,
    add_engine,
    add_limits,
    add_listeners,
    add_seed,
    compute_by,
    given_limits,
    workers,
)
from weightstring.cli.options.strategy import add_strategy, chosen_strategy
from weightstring.cli.options.values import numbers, positive, several
from weightstring.cli.slurm import add_slurm, write_jobs
from weightstring.errors import InvalidSetting
from weightstring.text import shown

HELP = "connect many pairs over thresholds and variants of a task"


def add_arguments(parser: ArgumentParser) -> None:
    add_task(parser)
    parser.add_argument(
        "--thresholds", type=numbers, required=True, metavar="L,L,...", help="values of L0, separated by commas"
    )
    parser.add_argument(
        "--pairs",
        type=positive,
        metavar="N",
        help="at each threshold (default: 32, or as many as the checkpoints make)",
    )
    parser.add_argument("--out", required=True, metavar="DIR", help="the sweep's directory; whatever it holds is used")
    parser.add_argument(
        "--over",
        action="append",
        type=several,
        default=[],
        metavar="KEY=V,V,...",
        help="values of an option of the task to sweep too, such as width=4,8,16; may be repeated",
    )
    add_bind(parser, "what thresholds bind", both=False)
    parser.add_argument(
        "--train-ends",
        choices=["carried", "afresh"],
        default="carried",
        help="networks for a lower threshold continue from those for a higher one, or start at random "
        "(default: %(default)s)",
    )
    parser.add_argument(
        "--checkpoints",
        nargs="+",
        metavar="MODEL",
        help="pair these instead of training networks: the first two that reach a threshold, the next two, and so on; "
        "files, folders of checkpoints, or random:FIRST-LAST",
    )
    add_allowed(parser)
    parser.add_argument("--align", action="store_true", help="bring each pair's second model to the first one's units")
    parser.add_argument(
        "--tries",
        type=positive,
        default=20,
        metavar="N",
        help="networks to train at most for each one needed (default: 20)",
    )
    parser.add_argument(
        "--shard",
        metavar="K/N",
        help="be the K-th of N processes, from 1, that do the sweep in one directory; `weightstring collect` follows",
    )
    parser.add_argument(
        "--block",
        type=positive,
        metavar="N",
        help="pairs in a block of work, which one process does; stays that of the first call (default: 32)",
    )
    add_seed(parser)
    add_engine(parser)
    add_json(parser, "the summary")
    add_strategy(parser)
    add_limits(parser, beads=256)
    add_recipe(parser, whose="how beads descend; networks are trained as the task has it")
    add_computing(parser)
    add_listeners(parser)
    add_slurm(parser)


def run(options: Namespace) -> int:
    """Train the ends, connect all pairs, keep the table."""
    from weightstring.cli.models import models_of
    from weightstring.cli.progress import foretell
    from weightstring.cli.running import listened
    from weightstring.cli.sweeps import print_sweep
    from weightstring.codec import for_json
    from weightstring.path.adaptive import FIRST
    from weightstring.store.records import TaskRef
    from weightstring.study.sweep.collecting import gather
    from weightstring.study.sweep.directory import SweepDirectory
    from weightstring.study.sweep.plan import MAX_BEADS, PAIRS, variants
    from weightstring.tasks import resolve
    from weightstring.tasks.trust import load_named

    task = TaskRef(name=resolve(options.task), options=dict(options.options))
    over = dict(options.over)
    if len(over) < len(options.over):
        twice = next(key for key in over if sum(key == other for other, _ in options.over) > 1)
        raise InvalidSetting(f"--over {twice}=... is given twice: write all its values in one")
    forms = variants(task, over)
    problems = {form.name: load_named(form.task.name, form.task.options) for form in forms if form.task}
    compute_by(options.engine, *problems.values())
    if options.slurm is not None:
        print(f"submit with: sh {shown(str(write_jobs(options)))}")
        return DONE
    recipes = {name: changed_recipe(options, problem.recipe) for name, problem in problems.items()}
    given = options.checkpoints
    checkpoints = given and {
        name: list(models_of(problem, given, options.allowed).values()) for name, problem in problems.items()
    }
    for name, problem in problems.items():
        pairs = options.pairs or (PAIRS if checkpoints is None else len(checkpoints[name]) // 2)
        count = pairs * len(options.thresholds)
        foretell(problem, problem.initial(0), f"{name}, {count} pairs beside the training", count * FIRST, least=True)
    with going_on(), workers(options) as executor, listened(options, options.out) as told:
        swept = ws.sweep(
            problems,
            options.thresholds,
            pairs=options.pairs,
            bind=options.bind,
            ends=options.train_ends,
            checkpoints=checkpoints,
            align=options.align,
            seed=options.seed,
            tries=options.tries,
            strategy=chosen_strategy(options),
            stop=given_limits(options, MAX_BEADS) or ws.MaxBeads(MAX_BEADS),
            recipe=recipes if any(recipes.values()) else None,
            executor=executor,
            progress=told,
            store=options.out,
            variants=forms,
            shard=options.shard,
            block=options.block,
        )
    if options.shard is not None:
        print(f"{len(swept.rows)} pairs have rows; `weightstring collect {options.out}` makes the table of all shards")
    elif options.json:
        print(json.dumps({"sweep": options.out, "summary": [for_json(asdict(row)) for row in swept.summary]}))
    else:
        print_sweep(gather(SweepDirectory(Path(options.out))), Path(options.out))
    return DONE
