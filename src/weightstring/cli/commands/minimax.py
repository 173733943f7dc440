"""``weightstring minimax``: bounds of Γ(θA, θB), the lowest threshold that connects two models (Section II.C)."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace

import weightstring as ws
from weightstring.cli.ending import DONE
from weightstring.cli.options.recipe import changed_recipe
from weightstring.cli.options.search import add_search, add_through, stop_rule, workers
from weightstring.cli.options.strategy import add_strategy, chosen_strategy

HELP = "search for the lowest threshold that connects two models"


def add_arguments(parser: ArgumentParser) -> None:
    add_search(parser)
    parser.add_argument("--certify", action="store_true", help="prove the upper bound over the whole string found")
    add_through(parser)
    add_strategy(parser, default="sinking")


def run(options: Namespace) -> int:
    """Search for the lowest threshold at which a path between two models is found."""
    from weightstring.cli.models import models_of, origins, pair_of
    from weightstring.cli.opening import named
    from weightstring.cli.ranks import by_ranks
    from weightstring.cli.running import conclude, listened, require_uninterrupted, resumable, run_directory
    from weightstring.codec import finite_or_none
    from weightstring.report.run.page import keep_page
    from weightstring.search.strategies import plain
    from weightstring.store import digest, opened
    from weightstring.study.minimax import DEFAULT_STRATEGY

    task, problem = named(options)
    strategy, recipe = chosen_strategy(options), changed_recipe(options, problem.recipe)
    a, b = pair_of(problem, options)
    through = models_of(problem, options.through, options.allowed)
    settings = [[digest(theta) for theta in (a, b, *through.values())], "minimax", options.bind, options.seed]
    settings += [] if strategy == DEFAULT_STRATEGY else [plain(strategy)]
    settings += [] if recipe is None else [recipe]
    out = run_directory(options.out, task, settings)
    origin = origins(options, list(through))
    with (
        resumable(out, options),
        workers(options) as executor,
        by_ranks(task, problem, options.engine) as loss,
        listened(options, str(out)) as told,
    ):
        del problem  # of its data rank 0 keeps its part
        bounds = ws.minimax(
            loss,
            a,
            b,
            strategy=strategy,
            stop=stop_rule(options, strategy),
            bind=options.bind,
            recipe=recipe,
            executor=executor,
            store=out,
            seed=options.seed,
            task=task,
            progress=told,
            certify=options.certify,
            through=list(through.values()),
            provenance=origin,
        )
        if not options.json:
            require_uninterrupted(bounds.result)
            print(bounds)
        if options.quiet and not options.json:
            keep_page(opened(out))
            return DONE
        if not options.json:
            print("by depth: " + ", ".join(f"{level:.6g}" for level in bounds.by_depth))
        as_json = {
            "level": finite_or_none(bounds.level),
            "lower_bound": finite_or_none(bounds.lower_bound),
            "resolved": bounds.resolved,
            "by_depth": [finite_or_none(level) for level in bounds.by_depth],
        }
        conclude(bounds.result, out, options.json, more={"minimax": as_json})
        return DONE
