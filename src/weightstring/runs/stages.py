"""What one call does for its pairs: check all, begin or read each run, search together, conclude each."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator, Sequence
from concurrent.futures import Executor as Pool
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from typing import Any

import msgspec
import torch

from weightstring.arrays import Theta
from weightstring.descent import Optimizers, batch_width
from weightstring.errors import EndAboveThreshold, InvalidSetting
from weightstring.path import (
    Connected,
    Disconnected,
    Objective,
    Outcome,
    SearchSamples,
    Unresolved,
    WeightString,
    check_theta,
    measure_models,
    no_worse,
)
from weightstring.path.curvature import curvature_across
from weightstring.problem import on_threads
from weightstring.protocol import Engined, Independent, LossProblem, Recipe
from weightstring.randomness import check_seed
from weightstring.runs.manifest import another_run, manifest_of, require_same
from weightstring.runs.progress import Display, display
from weightstring.runs.result import Result, from_run, judged, outcome_record, write_result
from weightstring.search import (
    Apart,
    Batched,
    Bead,
    Executor,
    Processes,
    Remote,
    Search,
    StopRule,
    Strategy,
    Task,
    Work,
    run_all,
)
from weightstring.search import (
    Asked as SearchAsked,
)
from weightstring.search.chain import Chain, beads_of
from weightstring.search.running.history import strings
from weightstring.store import InMemory, Manifest, RunDirectory
from weightstring.store.records import AlignmentRecord, AsSaved, CertifyRecord, Command, TaskRef
from weightstring.theory.disconnection import prove, stands

STUCK = ("depth", "descent_failed", "stalled")
"""Reasons for which the loss around the string is looked at, where it is stuck."""


@dataclass(frozen=True)
class Settings:
    """What all pairs have in common; see :func:`weightstring.connect`."""

    strategy: Strategy[Any]
    stop: StopRule
    bind: str
    recipe: Recipe | None
    executor: Executor | Pool | Processes | None
    seed: int
    task: TaskRef | None
    disprove: bool = True
    certify: CertifyRecord | None = None
    command: Command = "connect"


@dataclass(frozen=True)
class Pair:
    """One pair: its ends, its threshold and run directory where it has them; how it was aligned, and saved.

    ``beside`` marks one that is searched for comparison with another: what is asked of that beyond the search, such as
    a certificate, is not asked of it. ``settled`` says that the caller searches again where the final curve takes the
    verdict back, and writes the result down then.
    """

    a: Theta
    b: Theta
    threshold: float | None
    directory: RunDirectory | None
    name: str = ""
    alignment: AlignmentRecord | None = None
    as_saved: AsSaved = (None, None)
    beside: bool = False
    settled: bool = False

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

    directory: RunDirectory | None
    ends: tuple[Bead, Bead]
    threshold: float
    settled: bool


def connect_all(
    problem: LossProblem, pairs: Sequence[Pair], settings: Settings, progress: bool | Display | None
) -> list[Result]:
    """Search for the strings of all pairs, in their run directories where they have one.

    Args:
        problem: the loss.
        pairs: what is asked.
        settings: how to search.
        progress: see :func:`weightstring.connect`.
    """
    _check_kinds(settings.strategy, settings.stop, settings.recipe)
    check_seed(settings.seed)
    bound = Objective(problem, settings.bind)
    for pair in pairs:
        check_theta(problem, pair.a, f"{pair.name}the first end")
        check_theta(problem, pair.b, f"{pair.name}the second end")
    found = [pair.found(problem) for pair in pairs]
    first = first_of(found)
    recipe = settings.recipe or problem.recipe
    Optimizers(recipe)  # What torch.optim refuses, it refuses before anything is written.
    with arithmetic(problem, first), display(progress) as show, ExitStack() as locks:
        width = _width(problem, settings.executor, first, len(pairs))
        ends = _ends(bound, pairs)
        # Every pair is checked before the first directory is written to.
        free = getattr(settings.strategy, "frees_ends", False)
        levels = [_threshold(*each, settings.bind, free) for each in zip(pairs, ends, found, strict=True)]
        results: dict[int, Result] = {}
        begun: dict[int, _Begun] = {}
        threads = 1 if isinstance(settings.executor, Processes) else _threads(problem)
        # The first one last: a run that holds another has begun when all of it has.
        for i in reversed(range(len(pairs))):
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
                first.threads if first else threads,
                settings.task,
                settings.command,
                None if pairs[i].beside else settings.certify,
                settings.disprove,
                pairs[i].as_saved,
            )
            its_ends, result = _begin(pairs[i], found[i], manifest, ends[i], problem, locks)
            begun[i] = _Begun(pairs[i].directory, its_ends, levels[i], pairs[i].settled)
            if result is not None:
                results[i] = result
        begun = {i: begun[i] for i in range(len(pairs)) if i not in results}
        for i, one in list(begun.items()):
            if (verdict := _disproved(bound, one, settings)) is not None:
                results[i] = _finished(one, _chord(bound, one, verdict), bound, show)
                del begun[i]
        jobs = _executor(settings.executor, bound, settings.seed, recipe, width, threads)
        searches = run_all(
            [
                SearchAsked(
                    settings.strategy,
                    Task(one.ends, one.threshold, settings.seed),
                    settings.stop,
                    one.directory or InMemory(),
                )
                for one in begun.values()
            ],
            jobs,
            on_event=show.event,
        )
        for (i, one), search in zip(begun.items(), searches, strict=True):
            results[i] = _concluded(one, search, bound, show)
        return [
            replace(
                results[i],
                alignment=pair.alignment or results[i].alignment,
                as_saved=pair.as_saved if pair.directory is None else results[i].as_saved,
            )
            for i, pair in enumerate(pairs)
        ]


def _begin(
    pair: Pair,
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
        pair.directory.begin(manifest, [end.theta for end in ends], pair.alignment)
    else:
        require_same(pair.directory, found, manifest)
        asked = {
            "command": manifest.command,
            "certify": manifest.certify or found.certify,
            "disprove": manifest.disprove,
        }
        if (more := msgspec.structs.replace(found, **asked)) != found:
            pair.directory.amend(more)
        ends = _with_values(ends, found.end_losses)
    if pair.directory.finished and _is_final(result := from_run(pair.directory, problem)):
        return ends, result
    return ends, None


def _executor(
    executor: Executor | Pool | Processes | None, bound: Objective, seed: int, recipe: Recipe, width: int, threads: int
) -> Executor:
    if executor is None:
        independent = isinstance(bound.problem, Independent) and bound.problem.independent
        if independent:  # all searches share batches, as wide as they gain
            return Batched(bound, seed, recipe, batch_width(bound.problem) if width == 1 else width)
        return Apart(lambda: Batched(bound, seed, recipe, width), jobs=width == 1)
    if isinstance(executor, Pool | Processes):
        return Remote(executor, Work(bound.problem, bound.bind, seed, recipe, threads))
    if isinstance(executor, Executor):
        return executor
    raise InvalidSetting(
        f"executor={executor!r:.80}: pass None, weightstring.Processes(4), or a concurrent.futures.Executor"
    )


def _concluded(begun: _Begun, search: Search[Any], bound: Objective, show: Display) -> Result:
    """The result of a search that is over, on disk where it has a directory."""
    outcome = search.outcome
    level = begun.threshold if isinstance(outcome, Connected) else None
    string = _string(bound, search.chain, level)
    result = Result(
        outcome=outcome,
        string=string,
        threshold=begun.threshold,
        history=search.rounds,
        bind=bound.bind,
        names=bound.names,
        evaluation=bound.problem.evaluation,
        beads_before_pruning=len(search.unpruned) + 1,
        unpruned=string if search.unpruned is search.chain else _string(bound, search.unpruned, level),
        length_before=search.length_before,
    )
    if _interrupted(outcome):
        return result
    # The verdict is on disk before the curvature is computed: what goes wrong in that, or ends it, takes nothing along.
    return _looked_at(_finished(begun, result, bound, show), begun, search, bound)


def _string(bound: Objective, chain: Chain, level: float | None) -> WeightString:
    """A chain with what its search saw of it, held to a level where it is closed."""
    seen = SearchSamples(bound.names, tuple(link.heights for link in chain), level)
    return WeightString(bound.problem, [bead.theta for bead in beads_of(chain)], seen=seen)


def _finished(begun: _Begun, result: Result, bound: Objective, show: Display) -> Result:
    """A result that stands, on disk where it has a directory; its final curve may take the verdict back."""
    if begun.directory is None and bound.screening is None:
        return result  # The curve's grid is part of what the search has sampled: it tells nothing new.
    result.string.measure(show.measuring)
    connected, result = result.connected, judged(result)
    # Whose verdict is taken back here is searched again, and written after that: ended amid it, it begins again.
    if begun.directory is None or (begun.settled and connected and not result.connected):
        return result
    write_result(begun.directory, result)
    return from_run(begun.directory, result.string.problem)  # whose beads are on disk


def _disproved(bound: Objective, begun: _Begun, settings: Settings) -> Disconnected | None:
    """A proof that no path stays under the threshold; then there is nothing to search for."""
    if not settings.disprove or "loss" not in bound.names or getattr(settings.strategy, "frees_ends", False):
        return None
    first, last = begun.ends
    proof = prove(bound.problem, first.theta, last.theta)
    if proof is None or proof.bound <= begun.threshold:
        return None
    rounds = [] if begun.directory is None else begun.directory.replay()
    task = Task(begun.ends, begun.threshold, settings.seed)
    for chain in strings(settings.strategy, task, rounds) if rounds else ():
        # What the run found before, whatever it was asked then, is a path too.
        if all(link.measured is not None for link in chain):
            string = WeightString(bound.problem, [bead.theta for bead in beads_of(chain)])
            if not stands(bound.problem, proof, string, max(link.height for link in chain), "a string of this run"):
                return None
    return Disconnected(proof)


def _chord(bound: Objective, begun: _Begun, verdict: Disconnected) -> Result:
    """The straight line between the ends, where no search was made."""
    line = WeightString(bound.problem, [end.theta for end in begun.ends])
    return Result(
        outcome=verdict,
        string=line,
        threshold=begun.threshold,
        history=(),
        bind=bound.bind,
        names=bound.names,
        evaluation=bound.problem.evaluation,
        beads_before_pruning=2,
        unpruned=line,
    )


def _looked_at(result: Result, begun: _Begun, search: Search[Any], bound: Objective) -> Result:
    """With the slope and the curvature across the string where it is stuck, and so on disk."""
    outcome = result.outcome
    if not isinstance(outcome, Unresolved) or outcome.reason not in STUCK:
        return result
    link = search.chain[outcome.evidence.segment[0]]
    if link.measured is None:
        return result
    try:
        curvature = curvature_across(bound.problem, link.segment, link.measured.top.t)
    except InvalidSetting:  # not finite there, or too large for memory: the verdict stands without it
        return result
    result = replace(result, outcome=replace(outcome, evidence=replace(outcome.evidence, curvature=curvature)))
    if begun.directory is not None:
        begun.directory.revise(outcome_record(result.outcome))
    return result


def _check_kinds(strategy: object, stop: object, recipe: object) -> None:
    if not isinstance(strategy, Strategy) or isinstance(strategy, type):
        raise InvalidSetting(f"strategy={strategy!r}: pass one, such as ws.Greedy(alpha=0.95)")
    if not isinstance(stop, StopRule):
        raise InvalidSetting(f"stop={stop!r}: pass a rule, such as ws.MaxBeads(64) | ws.Budget(seconds=600)")
    if not isinstance(recipe, Recipe | None):
        raise InvalidSetting(f"recipe={recipe!r}: pass a ws.Recipe")


def _ends(bound: Objective, pairs: Sequence[Pair]) -> list[tuple[Bead, Bead]]:
    """The ends of all pairs with their heights."""
    thetas = [end for pair in pairs for end in (pair.a, pair.b)]
    values = measure_models(bound, thetas)
    return [
        (
            Bead("a", pair.a.detach().clone(), values[2 * i]),
            Bead("b", pair.b.detach().clone(), values[2 * i + 1]),
        )
        for i, pair in enumerate(pairs)
    ]


def _with_values(ends: tuple[Bead, Bead], values: tuple[float, float]) -> tuple[Bead, Bead]:
    """The ends with the heights that the run began with, bit for bit."""
    first, last = ends
    return dataclasses.replace(first, value=values[0]), dataclasses.replace(last, value=values[1])


def _threshold(pair: Pair, ends: tuple[Bead, Bead], found: Manifest | None, bind: str, free: bool) -> float:
    losses = (ends[0].value, ends[1].value)
    asked = found.threshold if found and pair.threshold is None else pair.threshold
    level = max(losses) if asked is None else float(asked)
    if asked is not None and not math.isfinite(level):
        raise InvalidSetting(
            f"{pair.name}threshold={asked}: must be finite; leave it out for the larger end's own value"
        )
    if not free and not all(no_worse(loss, level) for loss in losses):
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
    outcome = result.outcome
    if isinstance(outcome, Unresolved) and outcome.reason in STUCK:
        return outcome.evidence.curvature is not None  # else the session ended while it was computed
    return not isinstance(outcome, Unresolved) or outcome.reason == "higher_sample"


def first_of(found: Sequence[Manifest | None]) -> Manifest | None:
    """The first manifest there is: runs that were begun together compute alike."""
    return next((manifest for manifest in found if manifest is not None), None)


@contextmanager
def arithmetic(problem: LossProblem, found: Manifest | None) -> Iterator[None]:
    """Compute as the run's first session did, with its engine and threads; afterwards all is as before.

    What lies between the engine's calls is computed by one thread: several divide sums by how many there are.
    """
    with by_engine(problem, found.engine if found else None, found.threads if found else None):
        yield


@contextmanager
def by_engine(problem: LossProblem, engine: str | None, threads: int | None) -> Iterator[None]:
    """Compute by an engine and so many threads; None: as the problem's own trial chooses."""
    if not isinstance(problem, Engined):
        with on_threads(threads):
            yield
        return
    name = engine or problem.engine_choice().name
    most = threads or problem.engine_choice().threads or torch.get_num_threads()
    with problem.computing_by(name, most), on_threads(None if problem.device.type == "cuda" else 1):
        yield


def _threads(problem: LossProblem) -> int:
    """CPU threads of large calls."""
    own = problem.engine_choice().threads if isinstance(problem, Engined) else None
    return own or torch.get_num_threads()


def _width(
    problem: LossProblem, executor: Executor | Pool | Processes | None, found: Manifest | None, searches: int
) -> int:
    """Models descended side by side: one where other processes run each job by itself."""
    if found is not None:
        return found.width
    return 1 if isinstance(executor, Pool | Processes) else batch_width(problem, searches)
