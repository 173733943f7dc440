"""``weightstring measure``: a finished run's string on other data."""

from __future__ import annotations

import re
from argparse import ArgumentParser, Namespace
from pathlib import Path

from weightstring.cli.ending import DONE
from weightstring.cli.options.problem import add_json, add_problem, add_run

HELP = "measure a finished run's string on other data, beside its own"


def add_arguments(parser: ArgumentParser) -> None:
    add_run(parser)
    parser.add_argument("--name", metavar="NAME", help="what to call the curve (default: by the task)")
    add_json(parser, "the curves on other data")
    add_problem(parser)


def run(options: Namespace) -> int:
    """Measure the run's string by another problem, keep the curve, and draw the page anew."""
    import weightstring as ws
    from weightstring.cli.measured import print_measured
    from weightstring.cli.opening import problem_of
    from weightstring.report import write_report
    from weightstring.store import opened

    directory = opened(options.run)
    directory.result()  # An unfinished run has no string: say so before a task's data are read.
    otherwise = f"call ws.measure({options.run!r}, problem, name=...)"
    task, problem = problem_of(options.run, directory.manifest().task, options, otherwise)
    name = options.name or re.sub(r"[^A-Za-z0-9]+", "-", Path(task.name).name.replace(".py:", "-")).strip("-")[:60]
    ws.measure(directory, problem, name=name, task=task, command=options.words)
    write_report(directory)
    print_measured(directory, in_json=options.json)
    return DONE
