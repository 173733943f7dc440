"""``weightstring random-pair``: two random models near each other, or of about the same loss (Section II.C)."""

from __future__ import annotations

import json
from argparse import Namespace
from pathlib import Path

from weightstring.cli.ending import DONE
from weightstring.cli.models import check_destination
from weightstring.cli.opening import named
from weightstring.problem.random_pair import random_pair as drawn
from weightstring.store import write_checkpoint
from weightstring.text import shown


def random_pair(options: Namespace) -> int:
    """Draw the pair and write its two checkpoints."""
    paths = [Path(options.out) / f"{name}.safetensors" for name in ("a", "b")]
    for path in paths:
        check_destination(path)
    _, problem = named(options)
    pair = drawn(problem, options.seed, radius=options.radius, within=options.within)
    losses = [float(problem.measure(theta[None])["loss"]) for theta in pair]
    distance = float((pair[1].double() - pair[0].double()).norm())
    asked = {"radius": options.radius, "within": options.within}
    for path, theta, loss in zip(paths, pair, losses, strict=True):
        about = {"task": options.task, "options": dict(options.options), "seed": options.seed, "loss": loss, **asked}
        write_checkpoint(path, problem.unflatten(theta), about)
    told = {"models": list(map(str, paths)), "losses": losses, "distance": distance, **asked}
    if options.json:
        print(json.dumps(told))
    else:
        for path, loss in zip(paths, losses, strict=True):
            print(f"{shown(str(path))}: loss {loss:.6g}")
        print(f"distance {distance:.6g}, losses differ by {abs(losses[1] - losses[0]):.6g}")
    return DONE
