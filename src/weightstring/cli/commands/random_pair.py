"""``weightstring random-pair``: two random models near each other, or of about the same loss (Section II.C)."""

from __future__ import annotations

import json
from argparse import ArgumentParser, Namespace
from pathlib import Path

import weightstring as ws
from weightstring.cli.ending import DONE
from weightstring.cli.options.problem import add_json, add_task
from weightstring.cli.options.search import add_seed
from weightstring.cli.options.values import number
from weightstring.text import shown

HELP = "draw two random models close in weights or in loss"


def add_arguments(parser: ArgumentParser) -> None:
    add_task(parser)
    parser.add_argument("--radius", type=number, metavar="K", help="largest distance; the second is moved closer")
    parser.add_argument(
        "--within", type=number, metavar="D", help="largest difference of their losses; the second is drawn again"
    )
    add_seed(parser)
    parser.add_argument("--out", required=True, metavar="DIR", help="gets a.safetensors and b.safetensors")
    add_json(parser)


def run(options: Namespace) -> int:
    """Draw the pair and write its two checkpoints."""
    from weightstring.cli.models import check_destination
    from weightstring.cli.opening import named
    from weightstring.store import write_checkpoint

    paths = [Path(options.out) / f"{name}.safetensors" for name in ("a", "b")]
    for path in paths:
        check_destination(path)
    _, problem = named(options)
    pair = ws.random_pair(problem, options.seed, radius=options.radius, within=options.within)
    losses = [float(problem.measure(theta[None])["loss"]) for theta in pair]
    distance = float((pair[1].double() - pair[0].double()).norm())
    limits = {"radius": options.radius, "within": options.within}
    for path, theta, loss in zip(paths, pair, losses, strict=True):
        about = {"task": options.task, "options": dict(options.options), "seed": options.seed, "loss": loss, **limits}
        write_checkpoint(path, problem.unflatten(theta), about)
    told = {"models": list(map(str, paths)), "losses": losses, "distance": distance, **limits}
    if options.json:
        print(json.dumps(told))
    else:
        for path, loss in zip(paths, losses, strict=True):
            print(f"{shown(str(path))}: loss {loss:.6g}")
        print(f"distance {distance:.6g}, losses differ by {abs(losses[1] - losses[0]):.6g}")
    return DONE
