"""``weightstring threshold``: a level for the search between two models, and what it is to be seen beside."""

from __future__ import annotations

import json
from argparse import ArgumentParser, Namespace
from dataclasses import asdict

import weightstring as ws
from weightstring.cli.ending import DONE
from weightstring.cli.options.problem import add_json, add_models, add_task
from weightstring.cli.options.search import add_bind, add_engine, compute_by

HELP = "suggest a threshold for two models"


def add_arguments(parser: ArgumentParser) -> None:
    add_task(parser)
    add_models(parser)
    add_bind(parser, "what it is to bind")
    add_engine(parser)
    add_json(parser)


def run(options: Namespace) -> int:
    """Measure the two models and the line between them; suggest."""
    from weightstring.cli.models import pair_of
    from weightstring.cli.opening import named
    from weightstring.cli.progress import foretell
    from weightstring.codec import for_json
    from weightstring.path.maximum import GRID

    _, problem = named(options)
    a, b = pair_of(problem, options)
    compute_by(options.engine, problem)
    foretell(problem, a, "the straight line", GRID + 1, least=True)
    suggestion = ws.suggest_threshold(problem, a, b, bind=options.bind)
    if options.json:
        told = {**asdict(suggestion), "straight": suggestion.straight, "trivial": suggestion.trivial}
        print(json.dumps(for_json(told)))
    else:
        print(str(suggestion).partition("\n")[0] if options.quiet else suggestion)
    return DONE
