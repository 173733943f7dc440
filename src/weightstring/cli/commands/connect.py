"""``weightstring connect``: search for a path between two models."""

from __future__ import annotations

import json
from argparse import ArgumentParser, Namespace
from dataclasses import asdict

import weightstring as ws
from weightstring.cli.ending import DONE
from weightstring.cli.options.recipe import changed_recipe
from weightstring.cli.options.search import add_search, add_threshold, add_through, compute_by, stop_rule, workers
from weightstring.cli.options.strategy import add_strategy, chosen_strategy

HELP = "search for a path between two models"


def add_arguments(parser: ArgumentParser) -> None:
    add_search(parser)
    add_threshold(parser)
    parser.add_argument(
        "--certify",
        action="store_true",
        help="prove that the loss is at most L0 on the whole path; refine where it fails",
    )
    parser.add_argument(
        "--align",
        nargs="?",
        choices=["only", "both"],
        const="only",
        metavar="both",
        help="permute and rescale B's units to match A's first; with both, also search without this, side by side",
    )
    add_through(parser)
    parser.add_argument(
        "--sampling",
        choices=["auto", "dense", "adaptive"],
        default="auto",
        help="how densely segments are sampled; auto: adaptively, or as the run began",
    )
    parser.add_argument(
        "--dry-run",
        action="store_true",
        help="say what it takes, evaluations, seconds and memory, and search nothing",
    )
    add_strategy(parser, default="persistent")


def run(options: Namespace) -> int:
    """Search for a path between two checkpoints."""
    from weightstring.cli.models import as_saved, models_of, origins, pair_of
    from weightstring.cli.opening import named
    from weightstring.cli.ranks import by_ranks
    from weightstring.cli.running import conclude, listened, resumable, run_directory
    from weightstring.search.strategies import plain
    from weightstring.store import digest

    task, problem = named(options)
    strategy, recipe = chosen_strategy(options), changed_recipe(options, problem.recipe)
    a, b = pair_of(problem, options)
    through = models_of(problem, options.through, options.allowed)
    settings = [
        [digest(theta) for theta in (a, b, *through.values())],
        options.threshold,
        options.bind,
        options.seed,
        plain(strategy),
    ]
    sampling = None if options.sampling == "auto" else options.sampling
    settings += [setting for setting in (options.align, recipe, sampling) if setting]
    out = run_directory(options.out, task, settings)
    if options.dry_run:
        compute_by(options.engine, problem)
        estimate = ws.estimate(
            problem,
            a,
            b,
            options.threshold,
            strategy=strategy,
            bind=options.bind,
            recipe=recipe,
            sampling=options.sampling,
            through=list(through.values()),
        )
        print(json.dumps(asdict(estimate)) if options.json else estimate)
        if options.align and not options.json:
            print("               alignment is not counted")
        return DONE
    saved = as_saved(problem, options.a, options.allowed), as_saved(problem, options.b, options.allowed)
    with (
        resumable(out, options),
        workers(options) as executor,
        by_ranks(task, problem, options.engine) as loss,
        listened(options, str(out)) as told,
    ):
        del problem  # of its data rank 0 keeps its part
        result = ws.connect(
            loss,
            a,
            b,
            options.threshold,
            strategy=strategy,
            stop=stop_rule(options, strategy),
            bind=options.bind,
            recipe=recipe,
            executor=executor,
            store=out,
            seed=options.seed,
            task=task,
            progress=told,
            sampling=options.sampling,
            certify=options.certify,
            align="both" if options.align == "both" else options.align is not None,
            as_saved=saved,
            through=list(through.values()),
            provenance=origins(options, list(through)),
        )
        return conclude(result, out, options.json, certified=options.certify)
