"""``connect``: from two models to a measured string, in memory or in a run directory."""

from __future__ import annotations

import dataclasses
import math
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch

from weightstring.arrays import Theta
from weightstring.descent import Optimizers
from weightstring.errors import EndAboveThreshold, InvalidSetting
from weightstring.identity import another_run, manifest_of, require_same
from weightstring.path import Bound, Connected, Outcome, Unresolved, WeightString, check_theta, no_worse
from weightstring.problem import ModuleProblem, threads
from weightstring.progress import Display, display
from weightstring.protocol import LossProblem, Recipe
from weightstring.result import Result, from_run, to_record
from weightstring.search import Batched, Bead, Executor, Greedy, MaxBeads, Search, StopRule, Task, run
from weightstring.search.chain import thetas_of
from weightstring.store import InMemory, Journal, Manifest, RunDirectory
from weightstring.store.records import Task as TaskRecord

DEFAULT_STRATEGY = Greedy()
DEFAULT_STOP = MaxBeads(64)


def connect(
    problem: LossProblem,
    a: Theta,
    b: Theta,
    threshold: float | None = None,
    *,
    strategy: Greedy = DEFAULT_STRATEGY,
    stop: StopRule = DEFAULT_STOP,
    bind: str = "evaluate",
    recipe: Recipe | None = None,
    executor: Executor | None = None,
    store: str | os.PathLike[str] | None = None,
    seed: int = 0,
    progress: bool | Display | None = None,
    task: TaskRecord | None = None,
) -> Result:
    """Search for a path from ``a`` to ``b`` on which the loss does not exceed ``threshold``.

    Args:
        problem: the loss.
        a: one end θ (P,), such as ``problem.flatten(net_a)``.
        b: the other end.
        threshold: L0; by default the larger of the ends' own values.
        strategy: how to search.
        stop: when to stop without a string; rules compose with ``|``.
        bind: what the threshold binds: ``"evaluate"`` (the evaluation loss), ``"train"``, ``"both"``, or a
            metric such as ``"error"``. The curves record everything in any case.
        recipe: how beads descend; the problem's own by default.
        executor: what runs the jobs; by default all jobs of a round side by side in this process.
        store: a run directory. If it holds this very search, that is resumed; if it is finished, it is
            read back.
        seed: of the minibatches and everything else drawn at random.
        progress: True or False; by default only on a terminal. Or a display of your own.
        task: recorded in the manifest, for the command line to resume by.

    Returns:
        The outcome, the string and the search's history. Ctrl-C ends a search with the outcome
        ``Unresolved("interrupted", ...)``; while the finished string is measured it is raised. With a
        ``store`` the same call goes on from there.

    Raises:
        EndAboveThreshold: an end's value is larger than ``threshold``, or not finite.
        InvalidCheckpoint: an end is not a θ of the problem.
        InvalidSetting: a setting is unknown or out of range.
        InvalidRun: ``store`` holds another search, or a damaged one.
        RunLocked: another process is writing to ``store``.

    >>> from weightstring.problem.surfaces import Ring
    >>> ring = Ring()
    >>> result = connect(ring, *ring.ends, threshold=0.1)
    >>> result.connected, len(result.string) > 2
    (True, True)
    """
    _check_kinds(strategy, stop, recipe)
    bound = Bound(problem, bind)
    check_theta(problem, a, "the first end")
    check_theta(problem, b, "the second end")
    directory = None if store is None else RunDirectory(store)
    found = directory.manifest() if directory and directory.exists else None
    if directory and found and found.problem != problem.fingerprint():
        raise another_run(directory, "problem")
    with _arithmetic(problem, found), display(progress) as show:
        ends = _ends(bound, a, b)
        threshold = _threshold(ends, found.threshold if found and threshold is None else threshold, bind)
        recipe = recipe or problem.recipe
        Optimizers(recipe)  # What torch.optim refuses, it refuses before anything is written.
        manifest = manifest_of(problem, ends, threshold, bind, seed, strategy, stop, recipe, task)
        jobs = executor or Batched(bound, seed, recipe, manifest.strategy["width"])

        def go(ends: tuple[Bead, Bead], journal: Journal) -> Result:
            asked = Task(ends, threshold, seed)
            search = run(strategy, asked, jobs, stop=stop, journal=journal, on_event=show.event)
            return _result(search, bound, threshold, show)

        return go(ends, InMemory()) if directory is None else _kept(directory, found, manifest, ends, problem, go)


def _kept(
    directory: RunDirectory,
    found: Manifest | None,
    manifest: Manifest,
    ends: tuple[Bead, Bead],
    problem: LossProblem,
    go: Callable[[tuple[Bead, Bead], Journal], Result],
) -> Result:
    """Begin, continue or read back the run of a directory."""
    with directory.locked():
        if found is None:
            directory.begin(manifest, torch.stack([end.theta for end in ends]))
        else:
            require_same(directory, found, manifest)
            ends = _with_values(ends, found.end_losses)
        if directory.finished and _is_final(result := from_run(directory, problem)):
            return result
        result = go(ends, directory)
        if not _interrupted(result.outcome):
            directory.finish(to_record(result), result.string.beads)
        return result


def _check_kinds(strategy: object, stop: object, recipe: object) -> None:
    if not isinstance(strategy, Greedy):
        raise InvalidSetting(f"strategy={strategy!r}: pass one, such as ws.Greedy(alpha=0.95)")
    if not isinstance(stop, StopRule):
        raise InvalidSetting(f"stop={stop!r}: pass a rule, such as ws.MaxBeads(64) | ws.Budget(seconds=600)")
    if not isinstance(recipe, Recipe | None):
        raise InvalidSetting(f"recipe={recipe!r}: pass a ws.Recipe")


def _ends(bound: Bound, a: Theta, b: Theta) -> tuple[Bead, Bead]:
    values = bound(torch.stack([a, b])).tolist()
    return Bead("a", a.detach().clone(), values[0]), Bead("b", b.detach().clone(), values[1])


def _with_values(ends: tuple[Bead, Bead], values: tuple[float, float]) -> tuple[Bead, Bead]:
    """The ends with the heights that the run began with, bit for bit."""
    first, last = ends
    return dataclasses.replace(first, value=values[0]), dataclasses.replace(last, value=values[1])


def _threshold(ends: tuple[Bead, Bead], threshold: float | None, bind: str) -> float:
    losses = (ends[0].value, ends[1].value)
    level = max(losses) if threshold is None else float(threshold)
    if threshold is not None and not math.isfinite(level):
        raise InvalidSetting(f"threshold={threshold}: must be finite; leave it out for the larger end's own value")
    if not all(no_worse(loss, level) for loss in losses):
        raise EndAboveThreshold(
            f"threshold {level!r} on {bind}: the ends lie at {losses[0]!r} and {losses[1]!r}, so no path can stay "
            "under it; raise it, leave it out for the larger end's own value, or train the higher end further",
            losses,
            level,
        )
    return level


def _result(search: Search[Any], bound: Bound, threshold: float, show: Display) -> Result:
    string = WeightString(bound.problem, thetas_of(search.chain))
    if not _interrupted(search.outcome):
        peaks = [[peak.t for peak in link.measured.peaks] if link.measured else [] for link in search.chain]
        string.measure(peaks, show.measuring)
    return Result(
        outcome=search.outcome,
        string=string,
        threshold=threshold,
        history=search.rounds,
        bind=bound.bind,
        names=bound.names,
        evaluation=bound.problem.evaluation,
        beads_before_pruning=max((r.beads for r in search.rounds), default=2),
    )


def _interrupted(outcome: Outcome) -> bool:
    return isinstance(outcome, Unresolved) and outcome.reason == "interrupted"


def _is_final(result: Result) -> bool:
    """Whether going on could change nothing: a limit may have been raised since, a verdict stands."""
    return isinstance(result.outcome, Connected) or result.outcome.reason in ("depth", "descent_failed")


@contextmanager
def _arithmetic(problem: LossProblem, found: Manifest | None) -> Iterator[None]:
    """Compute as the run's first session did, with its engine and threads; afterwards all is as before."""
    if not isinstance(problem, ModuleProblem):
        with threads(found.threads if found else None):
            yield
    elif found is None:
        with threads(problem.engine_choice().threads):
            yield
    else:
        with problem.computing_by(found.engine), threads(found.threads):
            yield
