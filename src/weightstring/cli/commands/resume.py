"""``weightstring resume``: go on with a run, whose task, ends and settings are in its manifest."""

from __future__ import annotations

import math
from argparse import ArgumentParser, Namespace
from typing import TYPE_CHECKING, Any

import weightstring as ws
from weightstring.cli.options.problem import add_json, add_problem, add_run
from weightstring.cli.options.search import add_computing, add_limits, add_listeners, given_limits, workers

if TYPE_CHECKING:
    from weightstring.runs.showing import Display
    from weightstring.search import Strategy
    from weightstring.store import Store
    from weightstring.store.records import Manifest

HELP = "resume an interrupted or unresolved run"


def add_arguments(parser: ArgumentParser) -> None:
    add_run(parser)
    add_json(parser)
    add_problem(parser)
    add_limits(parser)
    add_computing(parser)
    add_listeners(parser)


def run(options: Namespace) -> int:
    """Go on with the run, and with the one beside it without alignment."""
    from weightstring.cli.opening import problem_of
    from weightstring.cli.ranks import by_ranks, check_ranks
    from weightstring.cli.running import conclude, listened, resumable
    from weightstring.runs.listening import Aside
    from weightstring.store import opened

    directory = opened(options.run)
    manifest = directory.manifest()
    check_ranks(Namespace(command="resume", certify=manifest.certify))
    otherwise = f"call ws.connect(..., store={str(directory)!r}) again with the same arguments"
    with resumable(options.run, options):
        task, problem = problem_of(options.run, manifest.task, options, otherwise)
        with by_ranks(task, problem, None) as loss, listened(options, str(directory)) as told:
            del problem  # of its data rank 0 keeps its part
            result = _resumed(directory, loss, options, told)
            if directory.plain.exists:
                _resumed(directory.plain, loss, options, Aside(told))
                result = ws.load(directory)
            certified = manifest.command == "connect" and manifest.certify is not None
            return conclude(result, options.run, options.json, certified=certified)


def _resumed(directory: Store, problem: ws.LossProblem, options: Namespace, told: Display) -> ws.Result:
    from weightstring.cli.running import require_uninterrupted
    from weightstring.codec import none_as_infinity
    from weightstring.runs.certify_step import CERTIFY_TOL
    from weightstring.search.stopping import stop_from_plain

    manifest = directory.manifest()
    strategy, recipe = _strategy(manifest, str(directory))
    a, b = directory.ends().to(problem.device)
    certify = manifest.certify
    with workers(options) as executor:
        settings: dict[str, Any] = {
            "strategy": strategy,
            "stop": given_limits(options) or stop_from_plain(manifest.stop),
            "bind": manifest.bind,
            "recipe": recipe,
            "executor": executor,
            "store": directory,
            "seed": manifest.seed,
            "task": manifest.task,
            "progress": told,
            "certify": certify is not None,
        }
        if manifest.command == "minimax":
            return ws.minimax(problem, a, b, **settings).result
        result = ws.connect(
            problem,
            a,
            b,
            manifest.threshold,
            certify_seconds=math.inf if certify is None else none_as_infinity(certify.seconds),
            certify_tolerance=CERTIFY_TOL if certify is None else certify.tolerance,
            disprove=manifest.disprove,
            through=[theta.to(problem.device) for theta in directory.through()],
            **settings,
        )
    require_uninterrupted(result)
    return result


def _strategy(manifest: Manifest, run: str) -> tuple[Strategy[Any], ws.Recipe]:
    from weightstring.search.strategies import from_plain

    settings = {k: v for k, v in manifest.strategy.items() if k != "recipe"}
    try:
        return from_plain(settings), ws.Recipe(**manifest.strategy["recipe"])
    except (TypeError, KeyError, ws.InvalidSetting) as problem:
        raise ws.InvalidRun(f"{run}/manifest.json: its strategy cannot be read: {problem}") from None
