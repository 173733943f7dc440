"""``weightstring sweep``: many pairs of a task's networks over thresholds and forms of it (Section V)."""

from __future__ import annotations

import json
import math
from argparse import ArgumentParser, Namespace
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import weightstring as ws
from weightstring.cli.ending import DONE, going_on
from weightstring.cli.options.problem import add_allowed, add_json, add_task
from weightstring.cli.options.recipe import add_recipe, changed_recipe
from weightstring.cli.options.search import (
    add_computing,
    add_engine,
    add_limits,
    add_log,
    add_seed,
    compute_by,
    given_limits,
    workers,
)
from weightstring.cli.options.strategy import add_strategy, chosen_strategy
from weightstring.cli.options.values import numbers, positive, several
from weightstring.errors import InvalidSetting

if TYPE_CHECKING:
    from rich.table import Table

    from weightstring.study.sweep.statistics import Interval
    from weightstring.study.sweep.summary import Summary

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
    parser.add_argument(
        "--bind",
        default="evaluate",
        metavar="WHAT",
        help="what thresholds bind: evaluate, train, or a metric such as error (default: %(default)s)",
    )
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
    add_seed(parser)
    add_engine(parser)
    add_json(parser, "the summary")
    add_strategy(parser)
    add_limits(parser, beads=256)
    add_recipe(parser, whose="how beads descend; networks are trained as the task has it")
    add_computing(parser)
    add_log(parser)


def run(options: Namespace) -> int:
    """Train the ends, connect all pairs, keep the table."""
    from weightstring.cli.models import models_of
    from weightstring.codec import for_json
    from weightstring.runs.log import logged
    from weightstring.store.records import TaskRef
    from weightstring.study.sweep.plan import MAX_BEADS, variants
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
    recipes = {name: changed_recipe(options, problem.recipe) for name, problem in problems.items()}
    given = options.checkpoints
    checkpoints = given and {
        name: list(models_of(problem, given, options.allowed).values()) for name, problem in problems.items()
    }
    with going_on(), workers(options) as executor, logged(options.log, options.out, options.words) as log:
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
            progress=log,
            store=options.out,
            variants=forms,
        )
    if options.json:
        print(json.dumps({"sweep": options.out, "summary": [for_json(asdict(row)) for row in swept.summary]}))
    else:
        _print(swept, Path(options.out))
    return DONE


def _print(swept: ws.Sweep, out: Path) -> None:
    from weightstring.cli.console import console_for_text
    from weightstring.study.sweep.summary import beads_law

    console = console_for_text()
    console.print(_table(swept.summary))
    console.print("length: normalized, mean of connected pairs; 95 % intervals by bootstrap, Wilson")
    for name in dict.fromkeys(row.variant for row in swept.rows):
        law = beads_law([row for row in swept.rows if row.variant == name], swept.plan.seed)
        if law is not None:
            console.print(f"{name}: beads ~ threshold^p with p = {_interval(law.exponent)}, over {law.points} pairs")
    unresolved = sum(row.unresolved for row in swept.summary)
    if unresolved:
        console.print(f"{unresolved} of {len(swept.rows)} pairs unresolved: counted in the share, not in means")
    over = "checkpoints lie over it" if swept.plan.ends == "given" else "networks never reached it"
    for row in swept.summary:
        if row.threshold in swept.plan.levels and row.pairs < swept.plan.pairs:
            console.print(
                f"{row.variant}, threshold {row.threshold:g}: only {row.pairs} of {swept.plan.pairs} pairs, "
                f"{row.failed_ends} {over}"
            )
    console.print(f"sweep {out}\ntable {out / 'table.csv'}")


def _table(summary: tuple[Summary, ...]) -> Table:
    from weightstring.cli.console import table

    headings = "variant", "L0", "pairs", "connected", "length", "beads", "grads", "failed"
    columns = table(*headings, left=["variant"], gap=1)
    for row in summary:
        columns.add_row(
            row.variant,
            f"{row.threshold:g}",
            str(row.pairs),
            _interval(row.connected, 2),
            _interval(row.means["normalized_length"]),
            f"{row.means['beads'].value:.1f}",
            f"{row.means['gradients'].value:.0f}",
            str(row.failed_ends),
        )
    return columns


def _interval(interval: Interval, digits: int = 3) -> str:
    ends = f" [{interval.low:.{digits}f}, {interval.high:.{digits}f}]" if math.isfinite(interval.low) else ""
    return f"{interval.value:.{digits}f}{ends}"
