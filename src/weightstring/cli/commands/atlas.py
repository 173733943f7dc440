"""``weightstring atlas``: how many models are connected: lines, strings, a tree, and components from both sides."""

from __future__ import annotations

import json
from argparse import ArgumentParser, Namespace
from dataclasses import replace
from pathlib import Path
from typing import Any

import weightstring as ws
from weightstring.cli.ending import DONE, going_on
from weightstring.cli.options.problem import add_many_models
from weightstring.cli.options.recipe import changed_recipe
from weightstring.cli.options.search import add_binding, add_computing, compute_by, stop_rule, workers
from weightstring.cli.options.strategy import add_strategy, chosen_strategy
from weightstring.cli.options.values import number, numbers, whole

HELP = "how many models are connected, at which levels, and in how many components"


def add_arguments(parser: ArgumentParser) -> None:
    add_many_models(parser)
    parser.add_argument(
        "--threshold", type=number, metavar="L0", help="join models under it (default: as low as they can be)"
    )
    parser.add_argument(
        "--align", action="store_true", help="put copies in the models' place that have their units in one order"
    )
    parser.add_argument(
        "--searches", type=whole, metavar="N", help="strings at most (default: as many as a spanning tree has edges)"
    )
    parser.add_argument("--certify", action="store_true", help="prove how high the loss on each string is at most")
    parser.add_argument(
        "--levels", type=numbers, metavar="L,L,...", help="where to count (default: where anything changes)"
    )
    parser.add_argument(
        "--out", metavar="DIR", help="keep lines, runs, numbers and the page there; the same command goes on"
    )
    add_binding(parser)
    add_computing(parser)
    add_strategy(parser, default="auto", told="persistent under a threshold, else sinking")


def run(options: Namespace) -> int:
    """Measure all lines, search strings along a spanning tree, and count components."""
    import msgspec

    from weightstring.cli.models import loaders_of
    from weightstring.cli.opening import named
    from weightstring.cli.progress import counting
    from weightstring.store import replace_file
    from weightstring.store.files import writing

    task, problem = named(options)
    compute_by(options.engine, problem)
    models = loaders_of(problem, options)
    if options.strategy == "auto":
        options.strategy = "sinking" if options.threshold is None else "persistent"
    strategy = chosen_strategy(options)
    with going_on(options.out is not None), workers(options) as executor, counting("lines") as tell:
        found = ws.atlas(
            problem,
            models,
            threshold=options.threshold,
            align=options.align,
            searches=options.searches,
            certify=options.certify,
            strategy=strategy,
            stop=stop_rule(options, strategy),
            bind=options.bind,
            recipe=changed_recipe(options, problem.recipe),
            executor=executor,
            store=options.out,
            seed=options.seed,
            progress=False if options.quiet else None,
            task=task,
            on_line=tell,
        )
    found = replace(found, lines=replace(found.lines, about={"task": task.name, **found.about}))
    as_json = _as_json(found, options.levels or found.levels)
    if options.out is not None:
        out = Path(options.out)
        with writing(out / "atlas.json", "the same command goes on"):
            replace_file(out / "atlas.json", msgspec.json.format(msgspec.json.encode(as_json)))
        ws.write_report(found, out / "report.html")
    if options.json:
        print(json.dumps(as_json))
    else:
        _print(found, options.levels or found.levels, options)
    return DONE


def _as_json(found: ws.Atlas, levels: list[float]) -> dict[str, Any]:
    from weightstring.codec import for_json

    bounds = found.bounds
    fields: dict[str, Any] = for_json(
        {
            "models": list(found.names),
            "quantity": found.lines.quantity,
            "threshold": found.threshold,
            "aligned": found.aligned,
            "losses": found.losses.tolist(),
            "sampled_at_most": bounds.above.tolist(),
            "certified_at_most": found.certified.tolist(),
            "proved_at_least": bounds.below.tolist(),
            "joins": [join._asdict() for join in bounds.joins],
            "counts": [
                {"level": level, **found.count(level)._asdict(), "certified_at_most": found.certified_at_most(level)}
                for level in levels
            ],
            "pairs": found.to_rows(),
            "next": found.next,
            "gradients": found.gradients,
        }
    )
    return fields


def _print(found: ws.Atlas, levels: list[float], options: Namespace) -> None:
    from weightstring.cli.console import console_for_text, shortened, table

    console = console_for_text()
    what = found.lines.label(found.lines.quantity)
    console.print(found.verdict)
    if options.quiet:
        return
    models = table("", "model", what, left=["model"], no_wrap=True)
    for place, (name, loss) in enumerate(zip(found.names, found.losses.tolist(), strict=True)):
        models.add_row(str(place), shortened(name), f"{loss:.6g}")
    joins = table("joined at, sampled", "which", left=["which"], no_wrap=True)
    for join in found.bounds.joins:
        joins.add_row(f"{join.level:.6g}", f"{_numbers(join.one)} with {_numbers(join.other)}")
    counts = table("level", "models", "at least", "at most", "certified at most", no_wrap=True)
    for level in levels:
        counts.add_row(f"{level:.6g}", *map(str, found.count(level)), str(found.certified_at_most(level)))
    for columns in (models, joins, counts):
        console.print(columns)
    console.print(
        f"models: those whose {what} is at most the level\n"
        "at least, at most: in how many components of that sublevel set they lie:\n"
        "by proofs, by lines and strings (sampled), by certified strings"
    )
    console.print(f"{found.spent}\n{found.what_next}")
    if options.out is not None:
        console.print(f"page {Path(options.out) / 'report.html'}")


def _numbers(members: tuple[int, ...]) -> str:
    """The numbers of models, the first few of many."""
    from weightstring.study.components import FEW

    more = f",… ({len(members)})" if len(members) > FEW else ""
    return ",".join(map(str, members[:FEW])) + more
