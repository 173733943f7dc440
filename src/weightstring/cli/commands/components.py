"""``weightstring components``: how many components a sublevel set has, and at which levels models join."""

from __future__ import annotations

import json
from argparse import ArgumentParser, Namespace
from pathlib import Path
from typing import Any

import weightstring as ws
from weightstring.cli.ending import DONE, going_on
from weightstring.cli.options.problem import add_many_models
from weightstring.cli.options.recipe import changed_recipe
from weightstring.cli.options.search import add_binding, add_computing, compute_by, stop_rule, workers
from weightstring.cli.options.strategy import add_strategy, chosen_strategy
from weightstring.cli.options.values import numbers

HELP = "count components below a level, and draw how models join"

SHOWN = 12
"""Numbers of models that one side of a join lists."""


def add_arguments(parser: ArgumentParser) -> None:
    add_many_models(parser)
    parser.add_argument(
        "--levels", type=numbers, metavar="L,L,...", help="where to count (default: where anything changes)"
    )
    parser.add_argument(
        "--out", metavar="DIR", help="keep each pair's run, the numbers and the tree there; the same command resumes"
    )
    add_binding(parser)
    add_computing(parser)
    add_strategy(parser, default="sinking")


def run(options: Namespace) -> int:
    """Search for the lowest string between every two models, and count components."""
    import msgspec

    from weightstring.cli.models import models_of
    from weightstring.cli.opening import named
    from weightstring.report.draw.tree import write_tree
    from weightstring.store import replace_file
    from weightstring.store.files import writing

    task, problem = named(options)
    compute_by(options.engine, problem)
    models = models_of(problem, options.models, options.allowed)
    strategy = chosen_strategy(options)
    with going_on(options.out is not None), workers(options) as executor:
        tree = ws.components(
            problem,
            list(models.values()),
            strategy=strategy,
            stop=stop_rule(options, strategy),
            bind=options.bind,
            recipe=changed_recipe(options, problem.recipe),
            executor=executor,
            store=options.out,
            seed=options.seed,
            progress=False if options.quiet else None,
            task=task,
        )
    levels = options.levels or sorted({*tree.losses.tolist(), *(join.level for join in tree.joins)})
    as_json = _as_json(tree, list(models), options.bind, levels)
    if options.out is not None:
        out = Path(options.out)
        with writing(out / "components.json", "the same command goes on"):
            replace_file(out / "components.json", msgspec.json.format(msgspec.json.encode(as_json)))
        write_tree(out / "tree.html", tree, list(models))
    if options.json:
        print(json.dumps(as_json))
    else:
        _print(tree, list(models), levels, options)
    return DONE


def _as_json(tree: ws.Components, names: list[str], bind: str, levels: list[float]) -> dict[str, Any]:
    from weightstring.codec import for_json

    fields: dict[str, Any] = for_json(
        {
            "models": names,
            "bind": bind,
            "evidence": tree.evidence,
            "losses": tree.losses.tolist(),
            "above": tree.above.tolist(),
            "below": tree.below.tolist(),
            "joins": [join._asdict() for join in tree.joins],
            "counts": [{"level": level, **tree.count(level)._asdict()} for level in levels],
        }
    )
    return fields


def _print(tree: ws.Components, names: list[str], levels: list[float], options: Namespace) -> None:
    from weightstring.cli.console import console_for_text, table

    console = console_for_text()
    what = {"evaluate": "evaluation loss", "train": "train loss", "both": "larger loss"}.get(options.bind, options.bind)
    models = table("", "model", what, left=["model"], no_wrap=True)
    for number, (name, loss) in enumerate(zip(names, tree.losses.tolist(), strict=True)):
        models.add_row(str(number), name if len(name) <= 56 else f"…{name[-55:]}", f"{loss:.6g}")
    joins = table(f"joined at, {tree.evidence}", "which", left=["which"], no_wrap=True)
    for join in tree.joins:
        joins.add_row(f"{join.level:.6g}", f"{_numbers(join.one)} with {_numbers(join.other)}")
    counts = table("level", "models", "at least", "at most", no_wrap=True)
    for level in levels:
        counts.add_row(f"{level:.6g}", *map(str, tree.count(level)))
    for columns in (models, joins, counts):
        console.print(columns)
    console.print(
        f"models: how many have a {what} of at most the level; at least, at most: in how\n"
        f"many components of that sublevel set they lie, by proofs and by strings ({tree.evidence})"
    )
    if options.out is not None:
        console.print(f"runs {options.out}\ntree {Path(options.out) / 'tree.html'}")


def _numbers(members: tuple[int, ...]) -> str:
    """The numbers of models, the first few of many."""
    more = f",… ({len(members)})" if len(members) > SHOWN else ""
    return ",".join(map(str, members[:SHOWN])) + more
