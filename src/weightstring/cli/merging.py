"""What a finished run's string is good for: one of its models as a checkpoint, and what merging is worth."""

from __future__ import annotations

import json
import math
from argparse import Namespace
from collections.abc import Mapping, Sequence
from pathlib import Path

from rich.table import Table

from weightstring.arrays import for_json
from weightstring.cli.console import console_for_text
from weightstring.cli.ending import DONE
from weightstring.cli.models import check_destination
from weightstring.cli.opening import learn, opened
from weightstring.path import WeightString
from weightstring.problem import ModuleProblem
from weightstring.runs.result import Result, with_samples
from weightstring.store import RunDirectory, write_checkpoint
from weightstring.study.merge import Ensemble, Merging, Point, best_point
from weightstring.study.merge import merge as merging_of
from weightstring.text import shown


def export(options: Namespace) -> int:
    """Write a model on the string as a checkpoint, with where it is from and what was measured there."""
    check_destination(Path(options.out))
    problem, result, task = opened(options)
    string = result.string
    s = _share(problem, string, options.at)
    theta = string.at(s)
    measured = {name: float(v) for name, v in problem.measure(theta.unsqueeze(0), problem.quantities).items()}
    about = {
        "run": str(options.run),
        "task": task.name,
        "options": task.options,
        "at": options.at,
        "s": s,
        "measured": for_json(measured),
    }
    _learn(options, result, [Point(s, measured)])
    write_checkpoint(options.out, problem.unflatten(theta), about)
    if options.json:
        print(json.dumps({"out": options.out, **about}))
    else:
        values = ", ".join(f"{name} {value:.6g}" for name, value in measured.items())
        print(f"{shown(options.out)}: s = {s:.6g}, {values}")
    return DONE


def merge(options: Namespace) -> int:
    """Print what merging the run's two models is worth."""
    problem, result, _ = opened(options)
    merging = merging_of(problem, result.string, points=options.points, average=options.average)
    averaged = () if merging.ensemble is None else merging.ensemble.models
    _learn(options, result, [merging.midpoint, merging.best, *averaged])
    if options.json:
        print(json.dumps({"run": str(options.run), **_as_json(merging)}))
    else:
        print_merging(merging)
    return DONE


def _learn(options: Namespace, result: Result, points: Sequence[Point]) -> None:
    """What was measured along the string may take the run's verdict back."""
    known = [point for point in points if all(name in point.values for name in result.names)]
    heights = {result.string.place(point.s): max(point.values[name] for name in result.names) for point in known}
    finite = {place: height if math.isfinite(height) else math.inf for place, height in heights.items()}
    learn(RunDirectory(options.run), result, with_samples(result, finite))


def _share(problem: ModuleProblem, string: WeightString, at: float | str) -> float:
    if isinstance(at, str):
        return best_point(problem, string).s if at == "best" else 0.5
    return at


def print_merging(merging: Merging) -> None:
    """Print the verdict and the numbers behind it."""
    console = console_for_text(soft_wrap=False)
    for line in merging.verdict.splitlines():
        console.print(line, markup=False)
    first, last = merging.ends
    best = f"best, s = {merging.best.s:.3f}"
    columns = {"first end": first, "last end": last, "midpoint": merging.midpoint, best: merging.best}
    names = list(merging.midpoint.values)
    console.print("\nsingle models", style="italic")
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
    table = Table(box=None, padding=(0, 2, 0, 0))
    table.add_column("")
    for heading in columns:
        table.add_column(heading, justify="right")
    for name in names:
        table.add_row(name, *(f"{values[name]:.5g}" for values in columns.values()))
    return table


def _as_json(merging: Merging) -> dict[str, object]:
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
    return {"s": point.s, "values": for_json(point.values)}
