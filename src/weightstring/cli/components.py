"""``weightstring components``: how many components a sublevel set has, and at which levels models join."""

from __future__ import annotations

import json
from argparse import Namespace
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import msgspec
from rich.table import Table

from weightstring.arrays import for_json
from weightstring.cli.commands import chosen_strategy, compute_by, limits, workers
from weightstring.cli.console import console_for_text
from weightstring.cli.ending import DONE, going_on
from weightstring.cli.models import models_of
from weightstring.cli.opening import named
from weightstring.cli.recipe import changed_recipe
from weightstring.report.tree import write_tree
from weightstring.search.stopping import default_stop
from weightstring.store import replace_file
from weightstring.store.files import writing
from weightstring.study.components import Components
from weightstring.study.components import components as search

SHOWN = 12
"""Numbers of models that one side of a join lists."""


def components(options: Namespace) -> int:
    """Search for the lowest string between every two models, and count components."""
    task, problem = named(options)
    compute_by(options.engine, problem)
    models = models_of(problem, options.models)
    strategy = chosen_strategy(options)
    with going_on(options.out is not None), workers(options) as executor:
        found = search(
            problem,
            list(models.values()),
            strategy=strategy,
            stop=limits(options, default_stop(strategy).count) or default_stop(strategy),
            bind=options.bind,
            recipe=changed_recipe(options, problem.recipe),
            executor=executor,
            store=options.out,
            seed=options.seed,
            task=task,
        )
    levels = options.levels or sorted({*found.losses.tolist(), *(join.level for join in found.joins)})
    told = _told(found, list(models), options.bind, levels)
    if options.out is not None:
        out = Path(options.out)
        with writing(out / "components.json", "the same command goes on"):
            replace_file(out / "components.json", msgspec.json.format(msgspec.json.encode(told)))
        write_tree(out / "tree.html", found, list(models))
    if options.json:
        print(json.dumps(told))
    else:
        _print(found, list(models), levels, options)
    return DONE


def _told(found: Components, names: list[str], bind: str, levels: list[float]) -> dict[str, Any]:
    """All that is known, as JSON's own types."""
    whole: dict[str, Any] = for_json(
        {
            "models": names,
            "bind": bind,
            "evidence": found.evidence,
            "losses": found.losses.tolist(),
            "above": found.above.tolist(),
            "below": found.below.tolist(),
            "joins": [join._asdict() for join in found.joins],
            "counts": [{"level": level, **found.count(level)._asdict()} for level in levels],
        }
    )
    return whole


def _print(found: Components, names: list[str], levels: list[float], options: Namespace) -> None:
    console = console_for_text()
    what = {"evaluate": "loss", "train": "train loss", "both": "larger loss"}.get(options.bind, options.bind)
    console.print(_table(("", "model", "loss"), [(str(i), *_model(found, names, i)) for i in range(len(names))]))
    rows = [(f"{join.level:.6g}", f"{_numbers(join.one)} with {_numbers(join.other)}") for join in found.joins]
    console.print(_table(("joined at", "which"), rows))
    counts = [(f"{level:.6g}", *map(str, found.count(level))) for level in levels]
    console.print(_table(("level", "models", "at least", "at most"), counts))
    console.print(
        f"models: how many have a {what} of at most the level; at least, at most: in how\n"
        f"many components of that sublevel set they lie, by proofs and by strings ({found.evidence})"
    )
    if options.out is not None:
        console.print(f"runs {options.out}\ntree {Path(options.out) / 'tree.html'}")


def _model(found: Components, names: list[str], number: int) -> tuple[str, str]:
    name = names[number]
    return name if len(name) <= 56 else f"…{name[-55:]}", f"{float(found.losses[number]):.6g}"


def _numbers(members: tuple[int, ...]) -> str:
    """Which models, a few of many."""
    more = f",… ({len(members)})" if len(members) > SHOWN else ""
    return ",".join(map(str, members[:SHOWN])) + more


def _table(headings: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0))
    for heading in headings:
        table.add_column(heading, justify="left" if heading in ("model", "which") else "right", no_wrap=True)
    for row in rows:
        table.add_row(*row)
    return table
