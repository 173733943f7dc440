"""``weightstring matrix``: barriers of the straight lines between every two of many models, in a table."""

from __future__ import annotations

import json
from argparse import ArgumentParser, Namespace
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import weightstring as ws
from weightstring.cli.ending import DONE, going_on
from weightstring.cli.options.problem import add_json, add_many_models
from weightstring.cli.options.search import add_bind, add_engine, add_seed, compute_by

if TYPE_CHECKING:
    from weightstring.study.lines import Square

HELP = "barriers of the straight lines between every two of many models"

WIDE = 7
"""Columns of numbers in 80 characters."""
BARRIERS = ("max", "over_ends", "over_mean", "over_linear")


def add_arguments(parser: ArgumentParser) -> None:
    add_many_models(parser)
    parser.add_argument("--align", action="store_true", help="of each two, also the second aligned with the first")
    parser.add_argument(
        "--barrier",
        choices=BARRIERS,
        default="over_mean",
        metavar="NAME",
        help=f"what is printed: {', '.join(BARRIERS)} (default: %(default)s)",
    )
    parser.add_argument(
        "--out", metavar="DIR", help="keep each line when it is measured, and the page; the same command goes on"
    )
    add_bind(parser, "what the maxima are looked for of", both=False)
    add_seed(parser, "of alignment ")
    add_engine(parser)
    add_json(parser, "every line")


def run(options: Namespace) -> int:
    """Measure all lines, and print their barriers."""
    from weightstring.cli.models import loaders_of
    from weightstring.cli.opening import named
    from weightstring.cli.progress import counting, foretell
    from weightstring.codec import for_json
    from weightstring.path.adaptive import FIRST

    task, problem = named(options)
    compute_by(options.engine, problem)
    models = loaders_of(problem, options)
    count = len(models)
    lines = count * (count - 1) // 2 * (2 if options.align else 1)
    # Lines of models that are dear are sampled adaptively, on so many intervals at least; no others are waited for.
    foretell(problem, next(iter(models.values()))(), f"{lines} lines", count + lines * (FIRST - 1), least=True)
    with going_on(options.out is not None), counting("lines") as tell:
        found = ws.matrix(
            problem,
            models,
            align=options.align,
            bind=options.bind,
            seed=options.seed,
            store=options.out,
            on_line=tell,
        )
    found = replace(found, about={"task": task.name, **found.about})
    page = None if options.out is None else ws.write_report(found, Path(options.out) / "report.html")
    if options.json:
        printed = {"models": list(found.names), "evidence": "sampled", "lines": found.to_rows()}
        print(json.dumps(for_json(printed)))
    else:
        _print(found, options, page)
    return DONE


def _print(found: ws.Matrix, options: Namespace, page: Path | None) -> None:
    from weightstring.cli.console import console_for_text, shortened, table

    console = console_for_text()
    models = table("", "model", found.quantity, left=["model"], no_wrap=True)
    for number, (name, values) in enumerate(zip(found.names, found.ends, strict=True)):
        models.add_row(str(number), shortened(name), f"{values[found.quantity]:.6g}")
    console.print(models)
    for aligned, words in ((False, "as given"), (True, "to aligned copies")):
        if found.aligned or not aligned:
            numbers = found.barriers(options.barrier, aligned=aligned)
            _square(f"\n{options.barrier}, sampled, of the lines {words}", numbers)
            _square(f"\nlength of the lines {words}", found.lengths(aligned=aligned))
    if page is not None:
        console.print(f"\npage {page}")


def _square(title: str, numbers: Square) -> None:
    """A number for every two models, in blocks of columns that fit the width."""
    from weightstring.cli.console import console_for_text, table

    console = console_for_text()
    console.print(title)
    for start in range(0, len(numbers), WIDE):
        columns = list(range(start, min(start + WIDE, len(numbers))))
        rows = table("", *map(str, columns), no_wrap=True)
        for number, row in enumerate(numbers.tolist()):
            rows.add_row(str(number), *("·" if number == k else f"{row[k]:.4g}" for k in columns))
        console.print(rows)
