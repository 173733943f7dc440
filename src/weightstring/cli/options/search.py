"""The options of a search between two models, and what they are read into."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import reduce
from operator import or_
from typing import TYPE_CHECKING, Any

import weightstring as ws
from weightstring.cli.options.problem import add_json, add_models, add_task
from weightstring.cli.options.recipe import add_recipe
from weightstring.cli.options.values import duration, number, positive, whole

if TYPE_CHECKING:
    from weightstring.search import StopRule, Strategy


ENGINES = ("auto", "loop", "channels-last", "vmap", "stack", "native")
"""Those of weightstring's own."""


def add_pair(parser: argparse.ArgumentParser) -> None:
    """The two models, and what all searches between them have in common."""
    add_task(parser)
    add_models(parser)
    add_binding(parser)


def add_search(parser: argparse.ArgumentParser) -> None:
    """A search between two models that is kept in a directory."""
    add_pair(parser)
    parser.add_argument("--out", metavar="RUN", help="run directory (default: runs/<task>-<digest>)")
    add_computing(parser)
    add_listeners(parser)


def add_binding(parser: argparse.ArgumentParser) -> None:
    """What is bound, and how it is searched for and computed."""
    add_bind(parser, "what the threshold binds")
    add_seed(parser)
    add_engine(parser)
    add_json(parser)
    add_limits(parser)
    add_recipe(parser)


def add_bind(parser: argparse.ArgumentParser, what: str, *, both: bool = True) -> None:
    """What is measured of a model; of some commands it is one quantity, and not the larger of two."""
    names = "evaluate, train, both, or" if both else "evaluate, train, or"
    parser.add_argument(
        "--bind",
        default="evaluate",
        metavar="WHAT",
        help=f"{what}: {names} a metric such as error (default: %(default)s)",
    )


def add_threshold(parser: argparse.ArgumentParser) -> None:
    """L0."""
    parser.add_argument("--threshold", type=number, metavar="L0", help="(default: the value of the higher end)")


def add_through(parser: argparse.ArgumentParser) -> None:
    """Waypoints."""
    parser.add_argument(
        "--through",
        nargs="+",
        default=[],
        metavar="MODEL",
        help="begin with the string through these models, in order from A to B: checkpoints, or folders of checkpoints",
    )


def add_seed(parser: argparse.ArgumentParser, what: str = "") -> None:
    """The seed."""
    parser.add_argument("--seed", type=whole, default=0, metavar="N", help=f"{what}(default: %(default)s)")


def add_engine(parser: argparse.ArgumentParser) -> None:
    """How several models are computed."""
    parser.add_argument(
        "--engine",
        metavar="NAME",
        help=f"how several models are evaluated at once: {', '.join(ENGINES)}, or one that the task's file or a "
        "package registers (default: the task's own, usually auto)",
    )


def compute_by(engine: str | None, *problems: ws.ModuleProblem) -> None:
    """Compute by the engine that the command line names; without one, by the task's own."""
    for problem in problems if engine is not None else ():
        problem.use_engine(str(engine))


def add_limits(parser: argparse.ArgumentParser, beads: int = 64) -> None:
    """When to stop."""
    limits = parser.add_argument_group("limits")
    limits.add_argument("--max-beads", type=positive, metavar="N", help=f"beads on the string (default: {beads})")
    limits.add_argument("--max-steps", type=positive, metavar="N", help="gradient steps in all (default: none)")
    limits.add_argument("--seconds", type=duration, metavar="S", help="seconds over all sessions (default: none)")


def given_limits(options: argparse.Namespace, beads: int = 64) -> StopRule | None:
    """The limits given on the command line, with that of beads where it is left out; None if none was given."""
    if options.max_beads is None and options.max_steps is None and options.seconds is None:
        return None
    rules: list[StopRule] = [ws.MaxBeads(beads if options.max_beads is None else options.max_beads)]
    rules += [] if options.max_steps is None else [ws.MaxSteps(options.max_steps)]
    rules += [] if options.seconds is None else [ws.Budget(options.seconds)]
    return reduce(or_, rules)


def stop_rule(options: argparse.Namespace, strategy: Strategy[Any]) -> StopRule:
    """The limits given on the command line, else the strategy's own."""
    from weightstring.search.stopping import default_stop

    default = default_stop(strategy)
    return given_limits(options, default.count) or default


def add_computing(parser: argparse.ArgumentParser) -> None:
    """What computes."""
    computing = parser.add_argument_group("computing")
    computing.add_argument(
        "--workers",
        type=computers,
        metavar="N|dask[:N|ADDRESS]",
        help="processes that share the jobs of a search (default: one, which batches them), or a dask cluster that "
        "whole searches are sent to: N processes here, or that of a scheduler's address or file",
    )


def add_listeners(parser: argparse.ArgumentParser) -> None:
    """Who hears how it gets on."""
    parser.add_argument("--log", metavar="FILE", help="append how it gets on to this file, as lines of JSON")
    parser.add_argument(
        "--track",
        metavar="TRACKER",
        help="send how it gets on and what it finds to tensorboard:FOLDER, mlflow[:URI] or wandb[:PROJECT]",
    )


def computers(text: str) -> int | str:
    """So many processes, or a dask cluster.

    >>> computers("4"), computers("dask"), computers("dask:tcp://host:8786")
    (4, 'dask', 'dask:tcp://host:8786')
    """
    kind, colon, place = text.partition(":")
    if kind == "dask" and (place or not colon):
        return text
    try:
        return positive(text)
    except argparse.ArgumentTypeError:
        raise argparse.ArgumentTypeError(
            f"{text!r:.80}: give a number of processes, dask, or dask: and a number or a scheduler's address"
        ) from None


@contextmanager
def workers(options: argparse.Namespace) -> Iterator[ws.Processes | ws.Dask | None]:
    """What shares the work, where that is asked for; what was begun here ends with the command."""
    if options.workers in (None, 1):
        yield None
    elif isinstance(options.workers, int):
        with ws.Processes(options.workers) as pool:
            yield pool
    else:
        place = options.workers.partition(":")[2]
        with ws.Dask(workers=int(place)) if place.isdecimal() else ws.Dask(place or None) as cluster:
            print(f"weightstring: dask at {cluster.place}, dashboard {cluster.dashboard}", file=sys.stderr)
            yield cluster
