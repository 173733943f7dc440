"""``weightstring blame``: which part of two models raises the straight line between them."""

from __future__ import annotations

import json
from argparse import ArgumentParser, Namespace

import weightstring as ws
from weightstring.cli.ending import DONE
from weightstring.cli.options.problem import add_json, add_models, add_task
from weightstring.cli.options.search import add_bind, add_engine, add_seed, compute_by
from weightstring.cli.options.values import positive

HELP = "which layer raises the straight line between two models"


def add_arguments(parser: ArgumentParser) -> None:
    add_task(parser)
    add_models(parser)
    parser.add_argument("--align", action="store_true", help="of the line to the second model aligned with the first")
    parser.add_argument(
        "--depth",
        type=positive,
        metavar="N",
        help="names of a parameter's path that make a part; 2: layers.0 of layers.0.mlp.up.weight "
        "(default: as many as leave 24 parts)",
    )
    add_bind(parser, "what is measured", both=False)
    add_seed(parser, "of alignment ")
    add_engine(parser)
    add_json(parser, "every part")


def run(options: Namespace) -> int:
    """Measure the line, and each part of it."""
    from weightstring.cli.models import pair_of
    from weightstring.cli.opening import named
    from weightstring.cli.progress import counting
    from weightstring.codec import for_json

    _, problem = named(options)
    a, b = pair_of(problem, options)
    compute_by(options.engine, problem)
    if options.align:
        b = ws.align(problem, a, b, seed=options.seed).theta
    with counting("parts") as tell:
        found = ws.blame(problem, a, b, depth=options.depth, bind=options.bind, on_part=tell)
    if options.json:
        told = {"barrier": found.barrier, "ends": found.ends, "at": found.at, "bound": found.bound}
        print(json.dumps(for_json({"evidence": "sampled", **told, "parts": found.to_rows()})))
    else:
        print(found)
    return DONE
