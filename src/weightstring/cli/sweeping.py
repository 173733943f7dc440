"""``weightstring sweep``: many pairs of a task's networks over thresholds and forms of it."""

from __future__ import annotations

import json
import math
from argparse import Namespace
from dataclasses import asdict
from pathlib import Path

from rich.table import Table

from weightstring.arrays import for_json
from weightstring.cli.commands import chosen_strategy, compute_by, limits, workers
from weightstring.cli.console import console_for_text
from weightstring.cli.ending import DONE, going_on
from weightstring.cli.models import models_of
from weightstring.cli.recipe import changed_recipe
from weightstring.errors import InvalidSetting
from weightstring.search import MaxBeads
from weightstring.store.records import TaskRef
from weightstring.study.sweep.plan import MAX_BEADS, variants
from weightstring.study.sweep.running import Sweep
from weightstring.study.sweep.running import sweep as run
from weightstring.study.sweep.statistics import Interval
from weightstring.study.sweep.summary import Summary, beads_law
from weightstring.tasks import resolve
from weightstring.tasks.trust import load_named


def sweep(options: Namespace) -> int:
    """Train the ends, connect all pairs, keep the table."""
    task = TaskRef(name=resolve(options.task), options=dict(options.options))
    over = dict(options.over)
    if len(over) < len(options.over):
        twice = next(key for key in over if sum(key == own for own, _ in options.over) > 1)
        raise InvalidSetting(f"--over {twice}=... is given twice: write all its values in one")
    forms = variants(task, over)
    problems = {form.name: load_named(form.task.name, form.task.options) for form in forms if form.task}
    compute_by(options.engine, *problems.values())
    recipes = {name: changed_recipe(options, problem.recipe) for name, problem in problems.items()}
    given = options.checkpoints
    checkpoints = given and {name: list(models_of(own, given).values()) for name, own in problems.items()}
    with going_on(), workers(options) as executor:
        found = run(
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
            stop=limits(options, MAX_BEADS) or MaxBeads(MAX_BEADS),
            recipe=recipes if any(recipes.values()) else None,
            executor=executor,
            store=options.out,
            variants=forms,
        )
    if options.json:
        print(json.dumps({"sweep": options.out, "summary": [for_json(asdict(own)) for own in found.summary]}))
    else:
        _print(found, Path(options.out))
    return DONE


def _print(found: Sweep, out: Path) -> None:
    console = console_for_text()
    console.print(_table(found.summary))
    console.print("length: normalized, mean of connected pairs; 95 % intervals by bootstrap, Wilson")
    for name in dict.fromkeys(row.variant for row in found.rows):
        law = beads_law([row for row in found.rows if row.variant == name], found.plan.seed)
        if law is not None:
            console.print(f"{name}: beads ~ threshold^p with p = {_shown(law.exponent)}, over {law.points} pairs")
    unresolved = sum(own.unresolved for own in found.summary)
    if unresolved:
        console.print(f"{unresolved} of {len(found.rows)} pairs unresolved: counted in the share, not in means")
    short = [own for own in found.summary if own.threshold in found.plan.levels and own.pairs < found.plan.pairs]
    over = "checkpoints lie over it" if found.plan.ends == "given" else "networks never reached it"
    for own in short:
        console.print(
            f"{own.variant}, threshold {own.threshold:g}: only {own.pairs} of {found.plan.pairs} pairs, "
            f"{own.failed_ends} {over}"
        )
    console.print(f"sweep {out}\ntable {out / 'table.csv'}")


def _table(summary: tuple[Summary, ...]) -> Table:
    table = Table(box=None, padding=(0, 1, 0, 0))
    for heading in ("variant", "L0", "pairs", "connected", "length", "beads", "grads", "failed"):
        table.add_column(heading, justify="left" if heading == "variant" else "right")
    for own in summary:
        table.add_row(
            own.variant,
            f"{own.threshold:g}",
            str(own.pairs),
            _shown(own.connected, 2),
            _shown(own.means["normalized_length"]),
            f"{own.means['beads'].value:.1f}",
            f"{own.means['gradients'].value:.0f}",
            str(own.failed_ends),
        )
    return table


def _shown(interval: Interval, digits: int = 3) -> str:
    ends = f" [{interval.low:.{digits}f}, {interval.high:.{digits}f}]" if math.isfinite(interval.low) else ""
    return f"{interval.value:.{digits}f}{ends}"
