"""From the command line's words, or a run's manifest, to a problem: which task is built, and by whose word."""

from __future__ import annotations

import math
import shlex
import sys
from argparse import Namespace
from collections.abc import Sequence
from pathlib import Path

from weightstring.errors import InvalidRun
from weightstring.problem import ModuleProblem
from weightstring.problem.engines import ENGINES, Unavailable
from weightstring.report import write_report
from weightstring.runs.certify_step import learned
from weightstring.runs.recording import from_run
from weightstring.runs.result import Result
from weightstring.runs.verdict import with_samples
from weightstring.store import RunDirectory
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


def problem_of(
    run: Path, recorded: TaskRef | None, options: Namespace, otherwise: str
) -> tuple[TaskRef, ModuleProblem]:
    """The task of a run and its problem: the one that the command line points to, else that of the manifest.

    Args:
        run: the run directory, the outermost one: nothing inside it is executed.
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
    directory = RunDirectory(options.run)
    directory.result()  # An unfinished run has no string: say so before a task's data are read.
    manifest = directory.manifest()
    otherwise = f"call ws.merge, ws.plane, ws.certify or ws.verify with ws.load({options.run!r}, problem).string"
    task, problem = problem_of(directory.path, manifest.task, options, otherwise)
    result = from_run(directory, problem, proof=False)
    # The run's own engine rounds as the recorded curve was rounded.
    try:
        problem.use_engine(manifest.engine if manifest.engine in ENGINES else "auto")
    except Unavailable:  # what was computed on another machine can be looked at on this one
        problem.use_engine("auto")
    return problem, result, task


def pointing(run: Path, options: Namespace) -> list[str]:
    """The words that a command needs to build a run's problem again, where the run's own would not do."""
    recorded = RunDirectory(run).manifest().task
    if recorded is not None and is_named(run, recorded.name, recorded.options):
        return []
    name = resolve(options.task) if options.task is not None else recorded.name if recorded is not None else None
    settings = [word for key, value in options.options for word in ("--set", shlex.quote(f"{key}={value}"))]
    return ([] if name is None else ["--task", shlex.quote(name)]) + settings


def learn(directory: RunDirectory, before: Result, after: Result, keep: bool = False) -> Result:
    """What a run has become by what was learned of its string; where that takes its verdict back, say so."""
    result = learned(directory, before, after, keep)
    if result.outcome != before.outcome:
        if (directory.path / "report.html").exists():
            write_report(directory.path)
        verdict, run = type(before.outcome).__name__.lower(), shown(str(directory.path))
        why = f"a sample of {result.largest:.6g} was met on its string, over the threshold {result.threshold:.6g}"
        print(f"weightstring: {run}: no longer {verdict}: {why}", file=sys.stderr)
    return result


def learn_points(options: Namespace, result: Result, points: Sequence[Point]) -> None:
    """Keep what was measured along a run's string, which may take its verdict back."""
    known = [point for point in points if all(name in point.values for name in result.names)]
    heights = {result.string.place(point.s): max(point.values[name] for name in result.names) for point in known}
    finite = {place: height if math.isfinite(height) else math.inf for place, height in heights.items()}
    learn(RunDirectory(options.run), result, with_samples(result, finite))


def _tell(source: Source | None, task: TaskRef) -> None:
    """Say which file is about to be executed, and with what."""
    if source is not None:
        call = ", ".join([source.function, *(f"{key}={value}" for key, value in task.options.items())])
        print(f"weightstring: executes {shown(str(source.path))} ({shown(call)})", file=sys.stderr)
