"""From the command line's words, or a run's manifest, to a problem: which task is built, and by whose word."""

from __future__ import annotations

import math
import shlex
import sys
from argparse import Namespace
from collections.abc import Sequence

from weightstring.cli.quiet import note
from weightstring.errors import InvalidRun
from weightstring.problem import ModuleProblem
from weightstring.problem.engines import ENGINES, Unavailable
from weightstring.report.run.page import PAGE, keep_page
from weightstring.runs.certify_step import learned
from weightstring.runs.recording import from_run
from weightstring.runs.result import Result
from weightstring.runs.verdict import with_samples
from weightstring.store import Store
from weightstring.store import opened as store_at
from weightstring.store.records import TaskRef
from weightstring.study.merging import Point
from weightstring.tasks import TASKS, resolve
from weightstring.tasks.registry import Source, build, read_source
from weightstring.tasks.trust import (
    POINT,
    is_named,
    load_named,
    recorded_source,
    remember,
    require_outside,
    require_own_paths,
)
from weightstring.text import shown


def named(options: Namespace) -> tuple[TaskRef, ModuleProblem]:
    """The task that the command line names, and its problem."""
    task = TaskRef(name=resolve(options.task), options=dict(options.options))
    return task, load_named(task.name, task.options)


def problem_of(run: str, recorded: TaskRef | None, options: Namespace, otherwise: str) -> tuple[TaskRef, ModuleProblem]:
    """The task of a run and its problem: the one that the command line points to, else that of the manifest.

    Args:
        run: where the run is kept, the outermost one: nothing inside it is executed.
        recorded: the task that the manifest names.
        options: of the command; ``task`` and ``options`` are what it points to.
        otherwise: what to do from Python with a run that names none.

    Raises:
        InvalidRun: there is no task to build it from.
        TaskError: the manifest names one that the user never named himself; or it cannot be built.
    """
    given = dict(options.options)
    if options.task is None:
        if recorded is None:
            raise InvalidRun(
                f"{run}: begun from Python, without a task to build its problem from; {otherwise}, or point to one by "
                f"{POINT}"
            )
        source = recorded_source(run, recorded.name, recorded.options, given)
        task = TaskRef(name=recorded.name, options={**recorded.options, **given})
    else:
        name = resolve(options.task)
        same_kind = recorded is not None and (recorded.name in TASKS) == (name in TASKS)
        kept = recorded.options if recorded is not None and same_kind else {}
        source = read_source(name)
        require_outside(run, source)
        if source is None:
            require_own_paths(run, name, kept, given)
        task = TaskRef(name=name, options={**kept, **given})
        remember(task.name, source, task.options)
    _tell(source, task)
    return task, build(task.name, source, task.options)


def opened(options: Namespace) -> tuple[ModuleProblem, Result, TaskRef]:
    """A finished run's problem, built from its task, its result without a certificate, and the task."""
    directory = store_at(options.run)
    directory.result()  # An unfinished run has no string: say so before a task's data are read.
    manifest = directory.manifest()
    otherwise = f"call ws.merge, ws.plane, ws.certify or ws.verify with ws.load({options.run!r}, problem).string"
    task, problem = problem_of(options.run, manifest.task, options, otherwise)
    result = from_run(directory, problem, proof=False)
    # The run's own engine rounds as the recorded curve was rounded.
    try:
        problem.use_engine(manifest.engine if manifest.engine in ENGINES else "auto")
    except Unavailable:  # what was computed on another machine can be looked at on this one
        problem.use_engine("auto")
    return problem, result, task


def pointing(run: str, options: Namespace) -> list[str]:
    """The words that a command needs to build a run's problem again, where the run's own would not do."""
    recorded = store_at(run).manifest().task
    if recorded is not None and is_named(run, recorded.name, recorded.options):
        return []
    name = resolve(options.task) if options.task is not None else recorded.name if recorded is not None else None
    settings = [word for key, value in options.options for word in ("--set", shlex.quote(f"{key}={value}"))]
    return ([] if name is None else ["--task", shlex.quote(name)]) + settings


def learn(store: Store, before: Result, after: Result, keep: bool = False) -> Result:
    """What a run has become by what was learned of its string; where that takes its verdict back, say so."""
    result = learned(store, before, after, keep)
    if result.outcome != before.outcome:
        if store.has(PAGE):
            keep_page(store)
        verdict, run = type(before.outcome).__name__.lower(), shown(str(store))
        why = f"a sample of {result.largest:.6g} was met on its string, over the threshold {result.threshold:.6g}"
        print(f"weightstring: {run}: no longer {verdict}: {why}", file=sys.stderr)
    return result


def learn_points(options: Namespace, result: Result, points: Sequence[Point]) -> None:
    """Keep what was measured along a run's string, which may take its verdict back."""
    known = [point for point in points if all(name in point.values for name in result.names)]
    heights = {result.string.place(point.s): max(point.values[name] for name in result.names) for point in known}
    finite = {place: height if math.isfinite(height) else math.inf for place, height in heights.items()}
    learn(store_at(options.run), result, with_samples(result, finite))


def _tell(source: Source | None, task: TaskRef) -> None:
    """Say which file is about to be executed, and with what."""
    if source is not None:
        call = ", ".join([source.function, *(f"{key}={value}" for key, value in task.options.items())])
        note(f"executes {shown(str(source.path))} ({shown(call)})")
