"""``weightstring merge``: what merging the two models of a run is worth."""

from __future__ import annotations

import json
from argparse import ArgumentParser, Namespace
from collections.abc import Mapping
from typing import TYPE_CHECKING

import weightstring as ws
from weightstring.cli.ending import DONE
from weightstring.cli.options.problem import add_json, add_problem, add_run
from weightstring.cli.options.values import two_or_more
from weightstring.cli.quiet import is_quiet

if TYPE_CHECKING:
    from rich.table import Table

    from weightstring.study.merging import Ensemble, Point

HELP = "what merging the two models of a run is worth"


def add_arguments(parser: ArgumentParser) -> None:
    add_run(parser)
    parser.add_argument(
        "--points",
        type=two_or_more,
        default=5,
        metavar="N",
        help="models whose predictions are averaged (default: %(default)s)",
    )
    parser.add_argument(
        "--average",
        choices=[
            "probabilities",
            "last_axis_probabilities",
            "log_probabilities",
            "binary_probabilities",
            "outputs",
            "likelihoods",
        ],
        metavar="WHAT",
        help="what of them: probabilities (softmax over axis 1), last_axis_probabilities, log_probabilities (exp), "
        "binary_probabilities (sigmoid), outputs, or likelihoods (exp of minus the loss); default: as the loss reads "
        "them",
    )
    add_json(parser)
    add_problem(parser)


def run(options: Namespace) -> int:
    """Print what merging the run's two models is worth."""
    from weightstring.cli.opening import learn_points, opened
    from weightstring.cli.progress import foretell

    problem, result, _ = opened(options)
    foretell(problem, result.string[0], "the merged models", options.points + len(result.ends) + 1, least=True)
    merging = ws.merge(problem, result.string, points=options.points, average=options.average)
    averaged = () if merging.ensemble is None else merging.ensemble.models
    learn_points(options, result, [merging.midpoint, merging.best, *averaged])
    if options.json:
        print(json.dumps({"run": str(options.run), **_as_json(merging)}))
    else:
        _print(merging)
    return DONE


def _print(merging: ws.Merging) -> None:
    from weightstring.cli.console import console_for_text

    console = console_for_text(soft_wrap=False)
    for line in merging.verdict.splitlines():
        console.print(line, markup=False)
    if is_quiet():
        return
    first, last = merging.ends
    best = f"best, s = {merging.best.s:.3f}"
    columns = {"first end": first, "last end": last, "midpoint": merging.midpoint, best: merging.best}
    names = list(merging.midpoint.values)
    on = "evaluation" if merging.evaluation == "evaluate" else "training"
    console.print(f"\nsingle models, on the {on} set; the best is the lowest sampled", style="italic")
    console.print(_table(names, {title: point.values for title, point in columns.items()}))
    if merging.ensemble is not None:
        console.print(
            f"\n{len(merging.ensemble.models)} models along the string: {merging.ensemble.words}", style="italic"
        )
        console.print(_of_ensemble(merging.ensemble))
    if merging.warning is not None:
        console.print(f"\nnote: {merging.warning}", style="yellow", markup=False)


def _of_ensemble(ensemble: Ensemble) -> Table:
    lowest = min(ensemble.models, key=lambda model: model.loss)
    columns = {
        "their average": ensemble.values,
        "mean of them": ensemble.mean,
        f"lowest, s = {lowest.s:.3f}": lowest.values,
    }
    return _table(list(ensemble.values), columns)


def _table(names: list[str], columns: Mapping[str, Mapping[str, float]]) -> Table:
    from weightstring.cli.console import table

    rows = table("", *columns)
    for name in names:
        rows.add_row(name, *(f"{values[name]:.5g}" for values in columns.values()))
    return rows


def _as_json(merging: ws.Merging) -> dict[str, object]:
    from weightstring.codec import for_json

    ensemble = merging.ensemble
    return {
        "ends": [_point(end) for end in merging.ends],
        "midpoint": _point(merging.midpoint),
        "best": _point(merging.best),
        "ensemble": None
        if ensemble is None
        else {
            "average": ensemble.average,
            "values": for_json(ensemble.values),
            "mean": for_json(ensemble.mean),
            "models": [_point(model) for model in ensemble.models],
        },
        "missing": merging.missing,
        "evaluation": merging.evaluation,
        "verdict": merging.verdict,
        "warning": merging.warning,
    }


def _point(point: Point) -> dict[str, object]:
    from weightstring.codec import for_json

    return {"s": point.s, "values": for_json(point.values)}
