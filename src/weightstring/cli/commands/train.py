"""``weightstring train``: a random model of a task, trained to a level."""

from __future__ import annotations

import json
from argparse import ArgumentParser, Namespace
from pathlib import Path

from weightstring.cli.ending import DONE
from weightstring.cli.options.problem import add_json, add_task
from weightstring.cli.options.recipe import add_recipe, changed_recipe
from weightstring.cli.options.search import add_seed
from weightstring.cli.options.values import number, positive
from weightstring.text import shown

HELP = "train a random model of a task to a level"


def add_arguments(parser: ArgumentParser) -> None:
    add_task(parser)
    add_seed(parser)
    parser.add_argument("--until", type=number, required=True, metavar="L", help="level to reach")
    parser.add_argument(
        "--bind",
        default="evaluate",
        metavar="WHAT",
        help="what must reach it: evaluate, train, or a metric such as error (default: %(default)s)",
    )
    add_json(parser, "what was measured")
    parser.add_argument("--max-steps", type=positive, metavar="N", help="gradient steps at most")
    parser.add_argument("--out", required=True, metavar="FILE", help="checkpoint to write, .safetensors")
    add_recipe(parser, steps=False)


def run(options: Namespace) -> int:
    """Train the model and write its checkpoint."""
    from weightstring.cli.models import check_destination
    from weightstring.cli.opening import named
    from weightstring.codec import for_json
    from weightstring.path import Objective
    from weightstring.runs.progress import training
    from weightstring.store import write_checkpoint

    check_destination(Path(options.out))
    _, problem = named(options)
    recipe = changed_recipe(options, problem.training_recipe)
    quantity = Objective(problem, options.bind).quantity("a network is trained to")
    with training(f"training to {options.until:g}", not options.quiet) as on_check:
        theta = problem.fit(
            seed=options.seed,
            until=options.until,
            max_steps=options.max_steps,
            quantity=quantity,
            recipe=recipe,
            on_check=on_check,
        )
    measured = {name: float(v) for name, v in problem.measure(theta.unsqueeze(0), problem.quantities).items()}
    about = {"task": options.task, "options": dict(options.options), "seed": options.seed, **measured}
    about |= {} if recipe is None else {"recipe": recipe.plain()}
    write_checkpoint(options.out, problem.unflatten(theta), about)
    if options.json:
        print(json.dumps({"out": options.out, **for_json(about)}))
    else:
        print(f"{shown(options.out)}: " + ", ".join(f"{name} {value:.6g}" for name, value in measured.items()))
    return DONE
