"""``weightstring doctor``: what can be done with a task, by what engine and how long it takes, before anything runs."""

from __future__ import annotations

import json
from argparse import ArgumentParser, Namespace
from dataclasses import asdict

import weightstring as ws
from weightstring.cli.ending import DONE
from weightstring.cli.options.problem import add_json, add_task
from weightstring.cli.options.search import add_bind, add_engine, compute_by

HELP = "say what works with a task, what is refused and why, and what a search takes"


def add_arguments(parser: ArgumentParser) -> None:
    add_task(parser)
    add_bind(parser, "what a threshold would bind")
    add_engine(parser)
    add_json(parser)


def run(options: Namespace) -> int:
    """Build the problem, try what can be done with it, and print that."""
    from weightstring.cli.console import console_for_text
    from weightstring.cli.opening import named
    from weightstring.codec import for_json

    _, problem = named(options)
    compute_by(options.engine, problem)
    diagnosis = ws.diagnose(problem, options.bind)
    if options.json:
        print(json.dumps(for_json(asdict(diagnosis))))
    else:
        console_for_text().print(str(diagnosis), markup=False)
    return DONE
