"""``weightstring compare``: all strategies on one pair, in a table."""

from __future__ import annotations

import dataclasses
import json
from argparse import ArgumentParser, Namespace
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import weightstring as ws
from weightstring.cli.ending import DONE, going_on
from weightstring.cli.options.recipe import changed_recipe
from weightstring.cli.options.search import add_computing, add_pair, add_threshold, compute_by, given_limits, workers
from weightstring.cli.options.values import names, whole
from weightstring.errors import InvalidSetting

if TYPE_CHECKING:
    from weightstring.search import Strategy
    from weightstring.study.compare import Compared

HELP = "connect two models by every strategy"

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


def add_arguments(parser: ArgumentParser) -> None:
    add_pair(parser)
    add_threshold(parser)
    parser.add_argument("--out", metavar="DIR", help="keep each strategy's run there; the same command resumes")
    group = parser.add_argument_group("strategies")
    group.add_argument(
        "--strategies", type=names, metavar="NAME,...", help="these, such as greedy,bezier (default: all of them)"
    )
    group.add_argument("--alpha", type=float, metavar="A", help="beads aim at A * L0, where a strategy has an aim")
    group.add_argument("--max-depth", type=int, metavar="D", help="splits in succession, where a strategy splits")
    group.add_argument("--retries", type=whole, metavar="N", help="of a failed descent, where a strategy retries")
    add_computing(parser)


def run(options: Namespace) -> int:
    """Connect two models by every strategy."""
    from weightstring.cli.models import origins, pair_of
    from weightstring.cli.opening import named

    task, problem = named(options)
    compute_by(options.engine, problem)
    with going_on(options.out is not None), workers(options) as executor:
        comparisons = ws.compare(
            problem,
            *pair_of(problem, options),
            options.threshold,
            strategies=_chosen(options),
            stop=given_limits(options) or ws.MaxBeads(64),
            bind=options.bind,
            recipe=changed_recipe(options, problem.recipe),
            executor=executor,
            store=options.out,
            seed=options.seed,
            progress=False if options.quiet else None,
            task=task,
            provenance=origins(options),
        )
    pages = {} if options.out is None else _pages(options.out, comparisons)
    if options.json:
        print(json.dumps([comparison.row() for comparison in comparisons]))
    else:
        _print(comparisons, pages)
    return DONE


def _pages(out: str, comparisons: list[Compared]) -> dict[str, str]:
    """The page of each strategy's run, by its name."""
    from weightstring.report.run.page import keep_page
    from weightstring.store import opened

    return {each.name: keep_page(opened(out).inside(each.name)) for each in comparisons}


def _chosen(options: Namespace) -> dict[str, Strategy[Any]]:
    """The strategies to compare, each with those of the settings given that it has."""
    from weightstring.search.strategies import compared
    from weightstring.text import meant

    offered = compared()
    known = dict.fromkeys(options.strategies or offered)
    if unknown := [name for name in known if name not in offered]:
        raise InvalidSetting(
            f"--strategies {unknown[0]:.80}{meant(unknown[0], offered)}: choose some of {', '.join(offered)}"
        )
    given = {name: value for name in SHARED if (value := getattr(options, name)) is not None}
    chosen: dict[str, Strategy[Any]] = {}
    for name in known:
        strategy: Any = offered[name]
        taken = {field.name for field in dataclasses.fields(strategy)}
        chosen[name] = dataclasses.replace(strategy, **{key: value for key, value in given.items() if key in taken})
    return chosen


def _print(comparisons: list[Compared], pages: Mapping[str, str]) -> None:
    from weightstring.cli.console import console_for_text, table
    from weightstring.runs.facts import line_in_words
    from weightstring.text import shown

    rows = [comparison.row() for comparison in comparisons]
    columns = table(*(HEADINGS[name] for name in rows[0]), left=["strategy", "found"], gap=1, no_wrap=True)
    for row in rows:
        cells = {**row, "verdict": "yes" if row["verdict"] == "connected" else row["verdict"]}
        columns.add_row(*(f"{value:.4g}" if isinstance(value, float) else str(value) for value in cells.values()))
    console = console_for_text()
    console.print(columns)
    console.print(
        "loss and train: the largest sampled evaluation and training loss on the string;\n"
        "grads: gradient steps; evals: models measured; length: over the distance of the\n"
        "ends; short: the same after shortening, whose cost is counted."
    )
    if line := next((each.result for each in comparisons if len(each.result.string) > 2), None):
        console.print(f"straight line: {line_in_words(line)}", soft_wrap=False)
    for name, page in pages.items():
        console.print(f"{name}: {shown(page)}", soft_wrap=True, highlight=False)
