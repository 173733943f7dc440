"""``weightstring compare``: all strategies on one pair, in a table."""

from __future__ import annotations

import dataclasses
import json
from argparse import Namespace
from typing import Any

from rich.table import Table

from weightstring.cli.commands import compute_by, limits
from weightstring.cli.console import console_for_text
from weightstring.cli.ending import DONE, going_on
from weightstring.cli.models import end_of
from weightstring.cli.opening import named
from weightstring.cli.recipe import changed_recipe
from weightstring.errors import InvalidSetting
from weightstring.search import MaxBeads, Strategy
from weightstring.study.compare import STRATEGIES, Compared
from weightstring.study.compare import compare as all_of

HEADINGS = {
    "strategy": "strategy",
    "verdict": "found",
    "loss": "loss",
    "train_loss": "train",
    "beads": "beads",
    "gradients": "grads",
    "evaluations": "evals",
    "seconds": "s",
    "length_before": "length",
    "length": "short",
}
"""Short enough for 80 columns."""


SHARED = ("alpha", "max_depth", "retries")
"""Settings that several strategies have."""


def compare(options: Namespace) -> int:
    """Connect two models by every strategy."""
    task, problem = named(options)
    compute_by(options.engine, problem)
    with going_on(options.out is not None):
        compared = all_of(
            problem,
            end_of(problem, options.a),
            end_of(problem, options.b),
            options.threshold,
            strategies=_chosen(options),
            stop=limits(options) or MaxBeads(64),
            bind=options.bind,
            recipe=changed_recipe(options, problem.recipe),
            store=options.out,
            seed=options.seed,
            task=task,
        )
    if options.json:
        print(json.dumps([one.row() for one in compared]))
    else:
        _print(compared)
    return DONE


def _chosen(options: Namespace) -> dict[str, Strategy[Any]]:
    """The strategies to compare, each with those of the settings given that it has."""
    known = dict.fromkeys(options.strategies or STRATEGIES)
    if unknown := [name for name in known if name not in STRATEGIES]:
        raise InvalidSetting(f"--strategies {unknown[0]:.80}: choose some of {', '.join(STRATEGIES)}")
    given = {name: value for name in SHARED if (value := getattr(options, name)) is not None}
    chosen: dict[str, Strategy[Any]] = {}
    for name in known:
        own: Any = STRATEGIES[name]
        taken = {field.name for field in dataclasses.fields(own)}
        chosen[name] = dataclasses.replace(own, **{key: value for key, value in given.items() if key in taken})
    return chosen


def _print(compared: list[Compared]) -> None:
    rows = [one.row() for one in compared]
    table = Table(box=None, padding=(0, 1, 0, 0))
    for name in rows[0]:
        text = name in ("strategy", "verdict")
        table.add_column(HEADINGS[name], justify="left" if text else "right", no_wrap=True)
    for row in rows:
        found = "yes" if row["verdict"] == "connected" else row["verdict"]
        shown = {**row, "verdict": found}
        table.add_row(*(f"{value:.4g}" if isinstance(value, float) else str(value) for value in shown.values()))
    console = console_for_text()
    console.print(table)
    console.print(
        "loss and train: the largest sampled value on the string; length: over the\n"
        "distance of the ends; short: the same after shortening, whose cost is counted."
    )
