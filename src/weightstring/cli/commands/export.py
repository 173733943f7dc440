"""``weightstring export``: a model on a run's string as a checkpoint."""

from __future__ import annotations

import json
from argparse import ArgumentParser, Namespace
from pathlib import Path
from textwrap import fill

import weightstring as ws
from weightstring.cli.ending import DONE
from weightstring.cli.options.problem import add_json, add_problem, add_run
from weightstring.cli.options.values import place
from weightstring.text import shown

HELP = "write a model on a run's string as a checkpoint"


def add_arguments(parser: ArgumentParser) -> None:
    add_run(parser)
    parser.add_argument(
        "--at",
        type=place,
        required=True,
        metavar="S",
        help="where: 0 to 1 along the arc length, midpoint, or best (least sampled evaluation loss)",
    )
    parser.add_argument(
        "--out",
        required=True,
        metavar="FILE",
        help="checkpoint to write, .safetensors; or a new folder, if the model has a save_pretrained() to write one",
    )
    add_json(parser, "what was measured")
    add_problem(parser)


def run(options: Namespace) -> int:
    """Write the model, with where it is from and what was measured there."""
    from weightstring.cli.models import check_destination, check_folder, save_pretrained
    from weightstring.cli.opening import learn_points, opened
    from weightstring.codec import for_json
    from weightstring.store import write_checkpoint
    from weightstring.study.merging import Point

    out = Path(options.out)
    if out.suffix:
        check_destination(out)
    problem, result, task = opened(options)
    if not out.suffix:
        check_folder(out, problem)
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
    learn_points(options, result, [Point(s, measured)])
    if out.suffix:
        write_checkpoint(out, problem.unflatten(theta), about)
    else:
        save_pretrained(out, problem, theta, about)
    if options.json:
        print(json.dumps({"out": options.out, **about}))
    else:
        values = ", ".join(f"{name} {value:.6g}" for name, value in measured.items())
        print(shown(options.out))
        print(fill(f"s = {s:.6g}, {values}", 80, break_long_words=False, break_on_hyphens=False))
    return DONE


def _share(problem: ws.ModuleProblem, string: ws.WeightString, at: float | str) -> float:
    from weightstring.study.merge import best_point

    if isinstance(at, str):
        return best_point(problem, string).s if at == "best" else 0.5
    return at
