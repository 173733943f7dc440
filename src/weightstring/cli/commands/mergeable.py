"""``weightstring mergeable``: whether models can be merged, and after what."""

from __future__ import annotations

import json
from argparse import ArgumentParser, Namespace
from pathlib import Path

import weightstring as ws
from weightstring.cli.ending import DONE, UNRESOLVED
from weightstring.cli.options.problem import add_json, add_many_models
from weightstring.cli.options.search import add_engine, add_seed, compute_by
from weightstring.cli.options.values import positive

HELP = "will these models merge, and after what?"


def add_arguments(parser: ArgumentParser) -> None:
    add_many_models(parser)
    parser.add_argument("--no-align", action="store_true", help="only as they are")
    parser.add_argument(
        "--search",
        type=positive,
        default=0,
        metavar="STEPS",
        help="of two models, also look for a string between them in so many gradient steps",
    )
    parser.add_argument("--out", metavar="FILE", help="checkpoint of the best merged model, .safetensors")
    add_seed(parser, "of alignment and of the search ")
    add_engine(parser)
    add_json(parser, "every way")


def run(options: Namespace) -> int:
    """Try every way; the exit code says whether one of them serves."""
    from weightstring.cli.models import check_destination, models_of
    from weightstring.cli.opening import named
    from weightstring.codec import for_json
    from weightstring.store import write_checkpoint

    if options.out is not None:
        check_destination(Path(options.out))
    task, problem = named(options)
    compute_by(options.engine, problem)
    models = models_of(problem, options.models, options.allowed)
    found = ws.mergeable(problem, models, align=not options.no_align, search=options.search, seed=options.seed)
    best = found.best
    written = options.out is not None and found.merges and best.theta is not None
    if written:
        assert best.theta is not None
        about = {"task": task.name, "merged_by": best.name, "of": ", ".join(best.members)}
        write_checkpoint(Path(options.out), problem.unflatten(best.theta), about)
    if options.json:
        ways = [{"name": way.name, "members": way.members, "values": way.values} for way in found.ways]
        printed = {
            "merges": found.merges, "best": best.name, "models": found.models, "ways": ways, "untried": found.untried,
            "reference": found.reference, "evaluation": found.evaluation, "seconds": found.seconds,
            "lines": None if found.lines is None else found.lines.to_rows(), "out": options.out if written else None,
        }  # fmt: skip
        print(json.dumps(for_json(printed)))
    else:
        print(found)
        if options.out is not None:
            print(f"{best.name} written to {options.out}" if written else f"{options.out} is not written")
    return DONE if found.merges else UNRESOLVED
