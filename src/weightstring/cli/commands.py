"""One function a command: options in, exit code out."""

from __future__ import annotations

import hashlib
import json
import math
import shlex
import sys
from argparse import Namespace
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import msgspec

from weightstring.arrays import finite_or_none, for_json, none_as_infinity
from weightstring.cli.ending import DISCONNECTED, DONE, INTERRUPTED, NOT_CERTIFIED, UNRESOLVED
from weightstring.cli.models import as_saved, check_destination, end_of
from weightstring.cli.opening import named, pointing, problem_of
from weightstring.cli.output import describe_unfinished, print_result
from weightstring.cli.planes import measure_plane
from weightstring.cli.recipe import changed_recipe
from weightstring.cli.strategy import OPTIONS, given
from weightstring.errors import InvalidRun, InvalidSetting
from weightstring.path import Disconnected, Objective, Unresolved
from weightstring.problem import ModuleProblem
from weightstring.protocol import Recipe
from weightstring.report import write_report
from weightstring.report.sweep import write_sweep_report
from weightstring.report.sweep_export import export_figures
from weightstring.report.write import export_run_figures
from weightstring.runs.certify_step import CERTIFY_TOL
from weightstring.runs.connect import connect as search
from weightstring.runs.progress import training
from weightstring.runs.result import Result, load
from weightstring.search import (
    Budget,
    MaxBeads,
    MaxSteps,
    Persistent,
    Processes,
    Relay,
    Shortened,
    Sinking,
    StopRule,
    Strategy,
)
from weightstring.search.stopping import default_stop, stop_from_plain
from weightstring.search.strategies import from_plain, plain
from weightstring.store import RunDirectory, digest, write_checkpoint
from weightstring.store.records import Manifest, TaskRef
from weightstring.study.minimax import DEFAULT_STRATEGY as LOWEST_BY
from weightstring.study.minimax import minimax as lowest
from weightstring.study.sweep.directory import SweepDirectory
from weightstring.tasks import load_task
from weightstring.tasks.download import download as fetch
from weightstring.tasks.published import IMAGE_SETS
from weightstring.text import shown

DEMO_LEVEL = 0.2
"""Evaluation loss to which the demo's digits networks are trained; which any seed reaches in a few hundred steps."""
DEMO_MARGIN = 1.02
"""The demo's threshold over the larger end loss: room for a proof, which no end at the threshold leaves."""


def demo(options: Namespace) -> int:
    """Train two digits networks from different seeds, connect them, and write the page."""
    out = Path(options.out)
    problem = load_task("digits")
    ends = []
    for name, seed in (("a", 2 * options.seed), ("b", 2 * options.seed + 1)):
        with training(f"training network {name}") as on_check:
            theta = problem.fit(seed=seed, until=DEMO_LEVEL, on_check=on_check)
        about = {"task": "digits", "seed": seed}
        write_checkpoint(out / f"{name}.safetensors", problem.unflatten(theta), about)
        ends.append(theta)
    losses = [float(problem.measure(end.unsqueeze(0))["loss"]) for end in ends]
    threshold = DEMO_MARGIN * max(losses)
    a, b = ends
    with _resumable(out / "run", options):
        result = search(
            problem, a, b, threshold, store=out / "run", seed=options.seed, task=TaskRef(name="digits"), certify=True
        )
        return _conclude(result, out / "run", options.json, certified=True)


def train(options: Namespace) -> int:
    """Train a random model of a task to a level and write its checkpoint."""
    check_destination(Path(options.out))
    _, problem = named(options)
    recipe = changed_recipe(options, problem.recipe)
    quantity = Objective(problem, options.bind).quantity("a network is trained to")
    with training(f"training to {options.until:g}") as on_check:
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
    about |= {} if recipe is None else {"recipe": asdict(recipe)}
    write_checkpoint(options.out, problem.unflatten(theta), about)
    if options.json:
        print(json.dumps({"out": options.out, **for_json(about)}))
    else:
        print(f"{shown(options.out)}: " + ", ".join(f"{name} {value:.6g}" for name, value in measured.items()))
    return DONE


def connect(options: Namespace) -> int:
    """Search for a path between two checkpoints."""
    task, problem = named(options)
    a, b = (end_of(problem, path) for path in (options.a, options.b))
    strategy, recipe = chosen_strategy(options), changed_recipe(options, problem.recipe)
    settings = [task, [digest(a), digest(b)], options.threshold, options.bind, options.seed, plain(strategy)]
    settings += [own for own in (options.align, recipe) if own]
    out = Path(options.out or f"runs/{_task_slug(task)}-{_digest(settings)}")
    compute_by(options.engine, problem)
    with _resumable(out, options), workers(options) as executor:
        result = search(
            problem,
            a,
            b,
            options.threshold,
            strategy=strategy,
            stop=limits(options, default_stop(strategy).count) or default_stop(strategy),
            bind=options.bind,
            recipe=recipe,
            executor=executor,
            store=out,
            seed=options.seed,
            task=task,
            certify=options.certify,
            align="both" if options.align == "both" else options.align is not None,
            as_saved=(as_saved(problem, options.a), as_saved(problem, options.b)),
        )
        return _conclude(result, out, options.json, certified=options.certify)


def minimax(options: Namespace) -> int:
    """Search for the lowest threshold at which a path between two models is found."""
    task, problem = named(options)
    a, b = (end_of(problem, path) for path in (options.a, options.b))
    strategy, recipe = chosen_strategy(options), changed_recipe(options, problem.recipe)
    settings = [task, [digest(a), digest(b)], "minimax", options.bind, options.seed]
    settings += [] if strategy == LOWEST_BY else [plain(strategy)]
    settings += [] if recipe is None else [recipe]
    out = Path(options.out or f"runs/{_task_slug(task)}-{_digest(settings)}")
    compute_by(options.engine, problem)
    with _resumable(out, options), workers(options) as executor:
        found = lowest(
            problem,
            a,
            b,
            strategy=strategy,
            stop=limits(options, default_stop(strategy).count) or default_stop(strategy),
            bind=options.bind,
            recipe=recipe,
            executor=executor,
            store=out,
            seed=options.seed,
            task=task,
            certify=options.certify,
        )
        if not options.json:
            print(found)
            print("by depth: " + ", ".join(f"{level:.6g}" for level in found.by_depth))
        known = {
            "level": finite_or_none(found.level),
            "lower_bound": finite_or_none(found.lower_bound),
            "resolved": found.resolved,
            "by_depth": [finite_or_none(level) for level in found.by_depth],
        }
        _conclude(found.result, out, options.json, more={"minimax": known})
        return DONE


def resume(options: Namespace) -> int:
    """Go on with a run: its task, ends and settings are in its manifest."""
    directory = RunDirectory(options.run)
    with _resumable(directory.path, options):
        result = _gone_on_with(directory, options)
        if directory.plain.exists:  # the same search without alignment, which was begun beside it
            _gone_on_with(directory.plain, options)
            result = load(directory.path)
        asked = directory.manifest()
        return _conclude(
            result, directory.path, options.json, certified=asked.command == "connect" and asked.certify is not None
        )


def _gone_on_with(directory: RunDirectory, options: Namespace) -> Result:
    manifest = directory.manifest()
    otherwise = f"call ws.connect(..., store={str(directory.path)!r}) again with the same arguments"
    _, problem = problem_of(Path(options.run), manifest.task, options, otherwise)
    strategy, recipe = _strategy(manifest, str(directory.path))
    a, b = directory.ends().to(problem.device)
    stop, certify = limits(options) or stop_from_plain(manifest.stop), manifest.certify
    if manifest.command == "minimax":
        with workers(options) as executor:
            return lowest(
                problem,
                a,
                b,
                strategy=strategy,
                stop=stop,
                bind=manifest.bind,
                recipe=recipe,
                executor=executor,
                store=directory.path,
                seed=manifest.seed,
                task=manifest.task,
                certify=certify is not None,
            ).result
    with workers(options) as executor:
        result = search(
            problem,
            a,
            b,
            manifest.threshold,
            strategy=strategy,
            stop=stop,
            bind=manifest.bind,
            recipe=recipe,
            executor=executor,
            store=directory.path,
            seed=manifest.seed,
            task=manifest.task,
            certify=certify is not None,
            certify_seconds=math.inf if certify is None else none_as_infinity(certify.seconds),
            certify_tolerance=CERTIFY_TOL if certify is None else certify.tolerance,
            disprove=manifest.disprove,
        )
    if _interrupted(result):
        raise KeyboardInterrupt
    return result


def _interrupted(result: Result) -> bool:
    return isinstance(result.outcome, Unresolved) and result.outcome.reason == "interrupted"


def show(options: Namespace) -> int:
    """Print what a run found, or how far it is."""
    directory = RunDirectory(options.run)
    directory.manifest()  # a result without a sound manifest belongs to no run
    if not directory.finished:
        print(shown(describe_unfinished(directory)), file=sys.stderr)
        return UNRESOLVED
    return _print(load(options.run), directory, options.json, {})


def report(options: Namespace) -> int:
    """Write the page of a run or of a sweep, and its figures as files."""
    if SweepDirectory(Path(options.run)).exists:
        if options.plane is not None:
            raise InvalidSetting(
                f"--plane: {options.run} is a sweep, which has no string of its own; give one of its runs"
            )
        print(shown(str(write_sweep_report(options.run, options.out))))
        if options.figures is not None:
            print(*map(shown, map(str, export_figures(options.run, options.figures))), sep="\n")
        return DONE
    if options.plane is not None:
        measure_plane(options)
    print(shown(str(write_report(options.run, options.out))))
    if options.figures is not None:
        print(*map(shown, map(str, export_run_figures(options.run, options.figures))), sep="\n")
    return DONE


def download(options: Namespace) -> int:
    """Fetch the published files of a task into a directory of data."""

    def tell(path: Path, url: str | None) -> None:
        print(f"{path}: " + (f"from {url}" if url else "was there, and is right"))

    fetch(IMAGE_SETS[options.name], options.data, on_file=tell)
    return DONE


@contextmanager
def _resumable(run: Path, options: Namespace) -> Iterator[None]:
    """After Ctrl-C, wherever it struck, say how to go on with a run that has begun."""
    try:
        yield
    except KeyboardInterrupt:
        if not RunDirectory(run).exists:
            raise
        limits = {name: vars(options).get(name) for name in ("max_beads", "max_steps", "seconds")}
        flags = [f"--{name.replace('_', '-')} {value}" for name, value in limits.items() if value is not None]
        go_on = " ".join(["weightstring resume", shlex.quote(shown(str(run))), *pointing(run, options), *flags])
        print(f"weightstring: interrupted; nothing is lost. Go on with: {go_on}", file=sys.stderr)
        sys.exit(INTERRUPTED)


@contextmanager
def workers(options: Namespace) -> Iterator[Processes | None]:
    """The processes that share the work, where several are asked for; they end with the command."""
    if options.workers in (None, 1):
        yield None
        return
    with Processes(options.workers) as pool:
        yield pool


def _conclude(
    result: Result, out: Path, as_json: bool, certified: bool = False, more: Mapping[str, object] | None = None
) -> int:
    """Write the page and print the result; where it was to be certified, say by the exit code whether it is."""
    if _interrupted(result):
        raise KeyboardInterrupt
    write_report(out)
    code = _print(result, RunDirectory(out), as_json, more or {})
    proved = result.certificate is not None and result.certificate.holds
    return NOT_CERTIFIED if certified and result.connected and not proved else code


def _print(result: Result, directory: RunDirectory, as_json: bool, more: Mapping[str, object]) -> int:
    if as_json:
        whole = {"run": str(directory.path), **msgspec.to_builtins(directory.result()), **more}
        if any(loss is not None for loss in result.as_saved):
            whole["as_saved"] = result.as_saved
        if result.alignment is not None:
            whole["alignment"] = msgspec.to_builtins(result.alignment)
        if result.plain is not None:
            whole["plain"] = msgspec.to_builtins(directory.plain.result())
        if result.certificate is not None:
            whole["certificate"] = msgspec.to_builtins(result.certificate)
        print(json.dumps(whole))
    else:
        print_result(result, directory.path)
    if isinstance(result.outcome, Disconnected):
        return DISCONNECTED
    return DONE if result.connected else UNRESOLVED


def compute_by(engine: str | None, *problems: ModuleProblem) -> None:
    """Compute by the engine that the command line names; without one, by the task's own."""
    for problem in problems if engine is not None else ():
        problem.use_engine(str(engine))


def limits(options: Namespace, beads: int = 64) -> StopRule | None:
    """The limits given on the command line, with that of beads where it is left out; None if none was given."""
    rules: list[StopRule] = []
    if options.max_beads is not None:
        rules.append(MaxBeads(options.max_beads))
    if options.max_steps is not None:
        rules.append(MaxSteps(options.max_steps))
    if options.seconds is not None:
        rules.append(Budget(options.seconds))
    if rules and options.max_beads is None:
        rules.insert(0, MaxBeads(beads))
    combined: StopRule | None = None
    for rule in rules:
        combined = rule if combined is None else combined | rule
    return combined


def chosen_strategy(options: Namespace) -> Strategy[Any]:
    """The strategy that the options ask for."""
    taken, settings = OPTIONS[options.strategy], given(options)
    foreign = [name for name in settings if name not in taken]
    if foreign:
        flag = f"--{foreign[0].replace('_', '-')}"
        takers = " or ".join(name for name, names in OPTIONS.items() if foreign[0] in names)
        raise InvalidSetting(f"{flag} is for --strategy {takers}, not {options.strategy}: leave it out, or choose that")
    begins = {"persistent": "greedy", "sinking": "breadth-first"}.get(options.strategy, options.strategy)
    strategy = from_plain({"name": begins, **settings})
    if options.strategy == "persistent":
        strategy = Persistent(strategy)
    elif options.strategy == "sinking":
        strategy = Relay(strategy, Sinking())
    return Shortened(strategy) if options.shorten else strategy


def _strategy(manifest: Manifest, run: str) -> tuple[Strategy[Any], Recipe]:
    settings = {k: v for k, v in manifest.strategy.items() if k != "recipe"}
    try:
        return from_plain(settings), Recipe(**manifest.strategy["recipe"])
    except (TypeError, KeyError, InvalidSetting) as problem:
        raise InvalidRun(f"{run}/manifest.json: its strategy cannot be read: {problem}") from None


def _task_slug(task: TaskRef) -> str:
    """A short name for directories: the function's name where the task is a file."""
    return task.name.rpartition(":")[2]


def _digest(settings: object) -> str:
    return hashlib.sha256(msgspec.json.encode(settings)).hexdigest()[:10]
