"""``weightstring demo``: two trained digits networks, the path between them, and its page."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from pathlib import Path

import weightstring as ws
from weightstring.cli.options.problem import add_json
from weightstring.cli.options.values import whole

HELP = "train two networks on real digits, connect them, show the path"

LEVEL = 0.2
"""Evaluation loss to which the networks are trained; any seed reaches it in a few hundred steps."""
MARGIN = 1.02
"""The threshold over the larger end loss: an end at the threshold itself would leave a proof no room."""


def add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument(
        "--out", default="runs/demo", metavar="DIR", help="where everything goes (default: %(default)s)"
    )
    parser.add_argument("--seed", type=whole, default=0, help="of the pair (default: %(default)s)")
    add_json(parser)


def run(options: Namespace) -> int:
    """Train two digits networks from different seeds, connect them, and write the page."""
    from weightstring.cli.running import conclude, resumable
    from weightstring.runs.progress import training
    from weightstring.store import write_checkpoint
    from weightstring.store.records import TaskRef
    from weightstring.tasks import load_task

    out = Path(options.out)
    problem = load_task("digits")
    ends = []
    for name, seed in (("a", 2 * options.seed), ("b", 2 * options.seed + 1)):
        with training(f"training network {name}", not options.quiet) as on_check:
            theta = problem.fit(seed=seed, until=LEVEL, on_check=on_check)
        write_checkpoint(out / f"{name}.safetensors", problem.unflatten(theta), {"task": "digits", "seed": seed})
        ends.append(theta)
    a, b = ends
    threshold = MARGIN * max(float(problem.measure(end.unsqueeze(0))["loss"]) for end in ends)
    run = str(out / "run")
    with resumable(run, options):
        result = ws.connect(
            problem,
            a,
            b,
            threshold,
            store=run,
            seed=options.seed,
            task=TaskRef(name="digits"),
            certify=True,
            progress=False if options.quiet else None,
        )
        return conclude(result, run, options.json, certified=True)
