"""``connect``: from two models to a measured string, or many pairs at once, in memory or in run directories."""

from __future__ import annotations

import dataclasses
import math
import os
from collections.abc import Iterator, Sequence
from concurrent.futures import Executor as Pool
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from weightstring.arrays import Theta
from weightstring.descent import Optimizers, batch_width
from weightstring.errors import EndAboveThreshold, InvalidSetting
from weightstring.identity import another_run, manifest_of, require_same
from weightstring.path import (
    Bound,
    Connected,
    Outcome,
    Seen,
    Unresolved,
    WeightString,
    check_theta,
    measure_models,
    no_worse,
)
from weightstring.problem import ModuleProblem, on_threads
from weightstring.progress import Display, display
from weightstring.protocol import LossProblem, Recipe
from weightstring.result import Result, from_run, to_record
from weightstring.search import (
    Asked as SearchAsked,
)
from weightstring.search import (
    Batched,
    Bead,
    Executor,
    Greedy,
    MaxBeads,
    Processes,
    Remote,
    Search,
    StopRule,
    Task,
    Work,
    run_all,
)
from weightstring.search.chain import beads_of
from weightstring.store import InMemory, Manifest, RunDirectory
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
    executor: Executor | Pool | Processes | None = None,
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
        executor: what runs the jobs: None for all of a round side by side in this process,
            :class:`weightstring.Processes`, or any ``concurrent.futures.Executor``, also one of a cluster.
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
        StoreFailed: the disk refuses; what was written is kept.
        WorkerFailed: the workers of ``executor`` die again and again.

    >>> from weightstring.problem.surfaces import Ring
    >>> ring = Ring()
    >>> result = connect(ring, *ring.ends, threshold=0.1)
    >>> result.connected, len(result.string) > 2
    (True, True)
    """
    (result,) = _connect_all(
        problem,
        [_Asked(a, b, threshold, None if store is None else RunDirectory(store))],
        Settings(strategy, stop, bind, recipe, executor, seed, task),
        progress,
    )
    return result


def connect_many(
    problem: LossProblem,
    pairs: Sequence[tuple[Theta, Theta]],
    threshold: float | Sequence[float | None] | None = None,
    *,
    strategy: Greedy = DEFAULT_STRATEGY,
    stop: StopRule = DEFAULT_STOP,
    bind: str = "evaluate",
    recipe: Recipe | None = None,
    executor: Executor | Pool | Processes | None = None,
    store: str | os.PathLike[str] | None = None,
    seed: int = 0,
    progress: bool | Display | None = None,
    task: TaskRecord | None = None,
) -> list[Result]:
    """:func:`connect` for many pairs of one problem at once: their jobs share batches.

    Small networks are all overhead, so that hundreds of pairs take little longer than a few. Each
    result is the one that ``connect`` alone finds, up to rounding.

    Args:
        problem: the loss.
        pairs: the ends of each path.
        threshold: L0, one for all or one a pair; None: the larger of a pair's own ends.
        strategy: see :func:`connect`, as for all that follows.
        stop: holds for each pair by itself; seconds count from when a pair's round begins.
        bind: what the threshold binds.
        recipe: how beads descend.
        executor: what runs the jobs.
        store: a directory that gets a run directory for each pair, ``pair-0000`` and so on.
        seed: of everything drawn at random; the same for all pairs.
        progress: see :func:`connect`.
        task: recorded in the manifests.

    Raises:
        EndAboveThreshold, InvalidCheckpoint, InvalidSetting, InvalidRun, RunLocked: see :func:`connect`; a
            message names the pair.

    >>> from weightstring.problem.surfaces import Ring
    >>> ring = Ring()
    >>> [result.connected for result in connect_many(ring, [ring.ends, ring.ends[::-1]], 0.1)]
    [True, True]
    """
    thresholds = [threshold] * len(pairs) if threshold is None or isinstance(threshold, float | int) else threshold
    if len(thresholds) != len(pairs):
        raise InvalidSetting(f"threshold: {len(thresholds)} for {len(pairs)} pairs; give one, or one a pair")
    asked = []
    for i, (pair, level) in enumerate(zip(pairs, thresholds, strict=True)):
        if not isinstance(pair, tuple | list) or len(pair) != 2:
            raise InvalidSetting(
                f"pair {i}: a {type(pair).__name__}: give two ends, each problem.flatten(...) of a model"
            )
        a, b = pair
        directory = None if store is None else RunDirectory(Path(store) / f"pair-{i:04d}")
        asked.append(_Asked(a, b, level, directory, f"pair {i}: "))
    return _connect_all(problem, asked, Settings(strategy, stop, bind, recipe, executor, seed, task), progress)


@dataclass(frozen=True)
class Settings:
    """What all pairs have in common; see :func:`connect`."""

    strategy: Greedy
    stop: StopRule
    bind: str
    recipe: Recipe | None
    executor: Executor | Pool | Processes | None
    seed: int
    task: TaskRecord | None


@dataclass(frozen=True)
class _Asked:
    """One pair: its ends, its threshold where one was given, its run directory where it has one."""

    a: Theta
    b: Theta
    threshold: float | None
    directory: RunDirectory | None
    name: str = ""

    def found(self, problem: LossProblem) -> Manifest | None:
        """The manifest of the run that is there already."""
        if self.directory is None or not self.directory.exists:
            return None
        found = self.directory.manifest()
        if found.problem != problem.fingerprint():
            raise another_run(self.directory, "problem")
        return found


@dataclass(frozen=True)
class _Begun:
    """A pair whose search can run."""

    asked: _Asked
    ends: tuple[Bead, Bead]
    threshold: float


def _connect_all(
    problem: LossProblem, asked: Sequence[_Asked], settings: Settings, progress: bool | Display | None
) -> list[Result]:
    _check_kinds(settings.strategy, settings.stop, settings.recipe)
    bound = Bound(problem, settings.bind)
    for one in asked:
        check_theta(problem, one.a, f"{one.name}the first end")
        check_theta(problem, one.b, f"{one.name}the second end")
    found = [one.found(problem) for one in asked]
    first = next((manifest for manifest in found if manifest is not None), None)
    recipe = settings.recipe or problem.recipe
    Optimizers(recipe)  # What torch.optim refuses, it refuses before anything is written.
    with _arithmetic(problem, first), display(progress) as show, ExitStack() as locks:
        width = first.width if first else batch_width(problem, len(asked))
        ends = _ends(bound, asked)
        # Every pair is checked before the first directory is written to.
        levels = [_threshold(*each, settings.bind) for each in zip(asked, ends, found, strict=True)]
        results: dict[int, Result] = {}
        begun: dict[int, _Begun] = {}
        for i, one in enumerate(asked):
            manifest = manifest_of(
                problem,
                ends[i],
                levels[i],
                settings.bind,
                settings.seed,
                settings.strategy,
                settings.stop,
                recipe,
                width,
                settings.task,
            )
            its_ends, result = _begin(one, found[i], manifest, ends[i], problem, locks)
            if result is not None:
                results[i] = result
            else:
                begun[i] = _Begun(one, its_ends, levels[i])
        jobs = _executor(settings.executor, bound, settings.seed, recipe, width)
        searches = run_all(
            [
                SearchAsked(
                    settings.strategy,
                    Task(pair.ends, pair.threshold, settings.seed),
                    settings.stop,
                    pair.asked.directory or InMemory(),
                )
                for pair in begun.values()
            ],
            jobs,
            on_event=show.event,
        )
        for (i, pair), search in zip(begun.items(), searches, strict=True):
            results[i] = _concluded(pair, search, bound, show)
        return [results[i] for i in range(len(asked))]


def _begin(
    pair: _Asked,
    found: Manifest | None,
    manifest: Manifest,
    ends: tuple[Bead, Bead],
    problem: LossProblem,
    locks: ExitStack,
) -> tuple[tuple[Bead, Bead], Result | None]:
    """Begin a pair's run directory, or find out how far it is: the ends, and the result where there is one already."""
    if pair.directory is None:
        return ends, None
    locks.enter_context(pair.directory.locked())
    if found is None:
        pair.directory.begin(manifest, [end.theta for end in ends])
    else:
        require_same(pair.directory, found, manifest)
        ends = _with_values(ends, found.end_losses)
    if pair.directory.finished and _is_final(result := from_run(pair.directory, problem)):
        return ends, result
    return ends, None


def _executor(
    executor: Executor | Pool | Processes | None, bound: Bound, seed: int, recipe: Recipe, width: int
) -> Executor:
    if executor is None:
        return Batched(bound, seed, recipe, width)
    if isinstance(executor, Pool | Processes):
        return Remote(executor, Work(bound.problem, bound.bind, seed, recipe))
    if isinstance(executor, Executor):
        return executor
    raise InvalidSetting(
        f"executor={executor!r:.80}: pass None, weightstring.Processes(4), or a concurrent.futures.Executor"
    )


def _concluded(pair: _Begun, search: Search[Any], bound: Bound, show: Display) -> Result:
    """The result of a search that is over, on disk where it has a directory."""
    directory = pair.asked.directory
    beads = [bead.theta for bead in beads_of(search.chain)]
    seen = Seen(bound.names, tuple(link.heights for link in search.chain))
    result = Result(
        outcome=search.outcome,
        string=WeightString(bound.problem, beads, seen=seen),
        threshold=pair.threshold,
        history=search.rounds,
        bind=bound.bind,
        names=bound.names,
        evaluation=bound.problem.evaluation,
        beads_before_pruning=max((r.beads for r in search.rounds), default=2),
    )
    if directory is None or _interrupted(search.outcome):
        return result
    result.string.measure(show.measuring)
    directory.finish(to_record(result), beads)
    return from_run(directory, bound.problem)  # whose beads are on disk


def _check_kinds(strategy: object, stop: object, recipe: object) -> None:
    if not isinstance(strategy, Greedy):
        raise InvalidSetting(f"strategy={strategy!r}: pass one, such as ws.Greedy(alpha=0.95)")
    if not isinstance(stop, StopRule):
        raise InvalidSetting(f"stop={stop!r}: pass a rule, such as ws.MaxBeads(64) | ws.Budget(seconds=600)")
    if not isinstance(recipe, Recipe | None):
        raise InvalidSetting(f"recipe={recipe!r}: pass a ws.Recipe")


def _ends(bound: Bound, asked: Sequence[_Asked]) -> list[tuple[Bead, Bead]]:
    """The ends of all pairs with their heights."""
    thetas = [end for pair in asked for end in (pair.a, pair.b)]
    values = measure_models(bound, thetas)
    return [
        (
            Bead("a", pair.a.detach().clone(), values[2 * i]),
            Bead("b", pair.b.detach().clone(), values[2 * i + 1]),
        )
        for i, pair in enumerate(asked)
    ]


def _with_values(ends: tuple[Bead, Bead], values: tuple[float, float]) -> tuple[Bead, Bead]:
    """The ends with the heights that the run began with, bit for bit."""
    first, last = ends
    return dataclasses.replace(first, value=values[0]), dataclasses.replace(last, value=values[1])


def _threshold(pair: _Asked, ends: tuple[Bead, Bead], found: Manifest | None, bind: str) -> float:
    losses = (ends[0].value, ends[1].value)
    asked = found.threshold if found and pair.threshold is None else pair.threshold
    level = max(losses) if asked is None else float(asked)
    if asked is not None and not math.isfinite(level):
        raise InvalidSetting(
            f"{pair.name}threshold={asked}: must be finite; leave it out for the larger end's own value"
        )
    if not all(no_worse(loss, level) for loss in losses):
        raise EndAboveThreshold(
            f"{pair.name}threshold {level!r} on {bind}: the ends lie at {losses[0]!r} and {losses[1]!r}, so no path "
            "can stay under it; raise it, leave it out for the larger end's own value, or train the higher end further",
            losses,
            level,
        )
    return level


def _interrupted(outcome: Outcome) -> bool:
    return isinstance(outcome, Unresolved) and outcome.reason == "interrupted"


def _is_final(result: Result) -> bool:
    """Whether going on could change nothing: a limit may have been raised since, a verdict stands."""
    return isinstance(result.outcome, Connected) or result.outcome.reason in ("depth", "descent_failed")


@contextmanager
def _arithmetic(problem: LossProblem, found: Manifest | None) -> Iterator[None]:
    """Compute as the run's first session did, with its engine and threads; afterwards all is as before."""
    if not isinstance(problem, ModuleProblem):
        with on_threads(found.threads if found else None):
            yield
    elif found is None:
        with on_threads(problem.engine_choice().threads):
            yield
    else:
        with problem.computing_by(found.engine), on_threads(found.threads):
            yield
