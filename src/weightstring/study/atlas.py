"""``atlas``: many models as the vertices of a graph, and how high paths between them must climb.

All straight lines are measured; strings are searched only where a spanning tree needs them, the lowest lines first.
Everything is kept pair by pair, so that an atlas goes on after an interruption, with more models or more searches.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import msgspec

from weightstring.ambient import undisturbed
from weightstring.arrays import Theta
from weightstring.codec import Record
from weightstring.errors import InvalidRun, InvalidSetting
from weightstring.path import Objective
from weightstring.problem import Modular, Traceable
from weightstring.proof.disconnect import prove, stands
from weightstring.protocol import LossProblem, lacking
from weightstring.recipe import Recipe
from weightstring.runs.certify_step import CERTIFY_TOL, require_certifiable, with_bound
from weightstring.runs.computing import arithmetic
from weightstring.runs.result import Result
from weightstring.runs.run import interrupted
from weightstring.runs.settings import DEFAULT_STRATEGY as UNDER
from weightstring.runs.settings import Pair, Settings, Workers
from weightstring.runs.showing import Display
from weightstring.runs.spread import connect_all
from weightstring.search import StopRule, Strategy
from weightstring.store import RunDirectory, digest
from weightstring.store.locks import locked
from weightstring.store.objects import local_path
from weightstring.store.records import CertifyRecord, TaskRef
from weightstring.study.align_many import align_many
from weightstring.study.charting import Atlas, Searched, direct_heights, lower_bounds
from weightstring.study.lines import Matrix
from weightstring.study.matrix import MatrixDirectory, Model, loaded, matrix
from weightstring.study.minimax import DEFAULT_STRATEGY as LOWEST
from weightstring.study.naming import by_name
from weightstring.study.spanning import Edge, next_pairs, over_paths
from weightstring.theory.sign_changes import routes

LINES, STRINGS, ALIGNED = "lines", "strings", "aligned"
"""Folders of an atlas: its matrix, a run for each pair that is searched, and the copies that took the models' place."""

COPIES = "copies.json"


class Copies(Record, frozen=True, kw_only=True):
    """Which copies took the models' place.

    Args:
        problem: its fingerprint.
        seed: of alignment.
        models: digests of the models as they were given.
        copies: of the file with their copies.
    """

    problem: str
    seed: int
    models: tuple[str, ...]
    copies: str


@undisturbed
def atlas(
    problem: LossProblem,
    models: Mapping[str, Model] | Sequence[Model],
    *,
    threshold: float | None = None,
    align: bool = False,
    searches: int | None = None,
    certify: bool = False,
    strategy: Strategy[Any] | None = None,
    stop: StopRule | None = None,
    bind: str = "evaluate",
    recipe: Recipe | None = None,
    executor: Workers = None,
    store: str | os.PathLike[str] | None = None,
    seed: int = 0,
    progress: bool | Display | None = None,
    task: TaskRef | None = None,
    on_line: Callable[[int, int], None] = lambda done, of: None,
) -> Atlas:
    """Chart many models: the lines between all, strings along a spanning tree, and how they are connected.

    Without a threshold each string is searched as low as it gets, along the minimum spanning tree of the lines; what is
    left of the budget goes to the pairs that may lower the highest joins. With one, strings under it are searched
    between groups that are not joined yet, until all are or no pair is left. Pairs that a proof keeps apart are left
    out. Which pair comes next depends on nothing but what was found, so that an interrupted atlas ends as another.

    Args:
        problem: the loss.
        models: two or more, each (P,) or a function that loads it; a mapping names them, a sequence by its numbers.
        threshold: under which models are to be joined; None: as low as they can be.
        align: put copies in the models' place that compute the same functions, with their units in one order
            (:func:`weightstring.align_many`); all of them are in memory then.
        searches: strings at most; None: as many as a spanning tree has edges. 0: lines alone.
        certify: prove how high the loss on each string is at most.
        strategy: how to search; by default that of :func:`weightstring.connect` under a threshold, else that of
            :func:`weightstring.minimax`.
        stop: the budget of each search; by default that of :func:`weightstring.connect`.
        bind: what is to be low: ``"evaluate"``, ``"train"``, or a metric.
        recipe: how beads descend.
        executor: what runs the jobs, see :func:`weightstring.connect`.
        store: a directory that keeps each line and each search; the same call goes on there, also with more models or
            searches.
        seed: of everything drawn at random.
        progress: True or False; by default only on a terminal.
        task: recorded in the manifests.
        on_line: told after each line how many are done, of how many; it may raise.

    Raises:
        InvalidSetting: fewer than two models, ``bind="both"``, or a strategy that moves the ends: it would join other
            models.
        Unsupported: an operation of the module has no rule for certificates; before anything is measured.
        InvalidCheckpoint: one is no model of the problem's.
        InvalidRun: ``store`` holds other searches, or damaged ones.
        RunLocked, StoreFailed: see :func:`weightstring.connect`.
        KeyboardInterrupt: Ctrl-C; what was found is in ``store``.

    >>> from weightstring.problem.surfaces import TwoWells
    >>> wells = TwoWells(saddle=1.0)  # where Γ = 1
    >>> found = atlas(wells, wells.ends, progress=False)
    >>> [found.count(level).at_most for level in (0.9, 1.1)]
    [2, 1]
    """
    objective = Objective(problem, bind)
    chosen = strategy or (LOWEST if threshold is None else UNDER)
    settings = Settings(
        strategy=chosen,
        stop=stop,
        bind=bind,
        recipe=recipe,
        executor=executor,
        seed=seed,
        progress=progress,
        task=task,
        disprove=False,  # proofs are looked for before pairs are chosen
        certify=CertifyRecord(tolerance=CERTIFY_TOL) if certify else None,
    )
    if threshold is None:
        settings = replace(settings, command="minimax", sampling="dense")
    _check(threshold, searches, chosen)
    if certify:
        require_certifiable(problem, bind)
    folder = None if store is None else Path(local_path(store))
    named = by_name(models)
    if align:
        named |= _aligned(problem, named, seed, None if folder is None else folder / ALIGNED)
    lines_in = None if folder is None else folder / LINES
    lines = matrix(problem, named, bind=bind, seed=seed, store=lines_in, on_line=on_line)
    work = _Work(objective, named, lines, settings, folder, threshold)
    work.prove()
    open_pairs = work.search(len(lines.names) - 1 if searches is None else searches)
    return Atlas(lines, work.searched, work.proved, threshold, tuple(open_pairs), align)


def _check(threshold: float | None, searches: int | None, strategy: Strategy[Any]) -> None:
    if threshold is not None and not (isinstance(threshold, float | int) and math.isfinite(threshold)):
        raise InvalidSetting(f"atlas(threshold={threshold!r}): give a number, or None to join as low as possible")
    if searches is not None and (isinstance(searches, bool) or not isinstance(searches, int) or searches < 0):
        raise InvalidSetting(f"atlas(searches={searches!r}): give how many strings are searched at most, from 0")
    if strategy.frees_ends:
        raise InvalidSetting("atlas: this strategy moves the ends, so that it joins other models; hold them")


class CopiesDirectory(MatrixDirectory):
    """A directory with copies of models in it, and of which models they are."""

    def locked(self) -> AbstractContextManager[None]:  # type: ignore[override]
        """Keep every other process from writing here."""
        busy = "another process is writing this atlas; wait for it or choose another directory"
        return locked(self.path, "atlas", begun=lambda: True, busy=busy, then=self.goes_on)


def _aligned(problem: LossProblem, models: Mapping[str, Model], seed: int, folder: Path | None) -> dict[str, Theta]:
    """Copies of all models with their units in one order, as an earlier call made them or made now.

    Raises:
        InvalidSetting: there is no module to align.
        InvalidRun: the folder holds copies of other models.
    """
    if not isinstance(problem, Modular):
        raise InvalidSetting(f"atlas(align=True): no module to align: {lacking(problem, Modular)}")
    thetas = {name: loaded(problem, name, model) for name, model in models.items()}
    digests = tuple(map(digest, thetas.values()))
    directory = None if folder is None else CopiesDirectory(folder)
    known: Copies | None = None if directory is None else directory.kept(COPIES, Copies)
    if known is not None and directory is not None:
        if (known.problem, known.seed, known.models) != (problem.fingerprint(), seed, digests):
            raise InvalidRun(
                f"{directory}: holds copies of other models, or of another problem or seed: one order is found for all "
                "of them together; choose another directory"
            )
        copies = directory.models("copies", known.copies)
        return {name: copy.to(problem.device) for name, copy in zip(thetas, copies, strict=True)}
    found = align_many(problem, thetas, seed=seed)
    if directory is not None:
        with directory.locked():
            kept_as = directory.keep("copies", found.thetas)
            record = Copies(problem=problem.fingerprint(), seed=seed, models=digests, copies=kept_as)
            directory.write(COPIES, msgspec.json.encode(record))
    return dict(zip(thetas, found.thetas, strict=True))


@dataclass
class _Work:
    """What is known so far."""

    objective: Objective
    models: Mapping[str, Model]
    lines: Matrix
    settings: Settings
    folder: Path | None
    threshold: float | None
    searched: dict[Edge, Searched] = field(default_factory=dict)
    proved: dict[Edge, float] = field(default_factory=dict)

    def prove(self) -> None:
        """Look for proofs between all pairs, where the problem is of a kind that has any."""
        problem = self.objective.problem
        if not isinstance(problem, Traceable) or self.objective.names != ("loss",) or not routes(problem):
            return
        thetas = [self._model(number) for number in range(len(self.lines.names))]
        for i, j in self.lines.lines:
            if (proof := prove(problem, thetas[i], thetas[j])) is not None:
                self.proved[i, j] = proof.bound

    def search(self, budget: int) -> list[Edge]:
        """Search pair after pair until nothing is left to search, or of the budget; the pairs that would be next."""
        with ExitStack() as stack:
            while following := self._next():
                batch = following[: budget - len(self.searched)]
                if not batch:
                    break
                pairs = [self._pair(edge) for edge in batch]
                if not self.searched:  # all of an atlas is computed as its first searches were
                    stack.enter_context(arithmetic(self.objective.problem, pairs))
                results = connect_all(self.objective.problem, pairs, self.settings)
                if any(map(interrupted, results)):
                    raise KeyboardInterrupt
                for edge, pair, result in zip(batch, pairs, results, strict=True):
                    self.searched[edge] = Searched(self._concluded(edge, pair, result), _name(pair.directory))
            return following

    def _next(self) -> list[Edge]:
        direct = direct_heights(self.lines, {edge: own.level for edge, own in self.searched.items()})
        below = lower_bounds(direct.diagonal(), over_paths(direct), self.proved)
        return next_pairs(self.lines.barriers("max"), direct, below, self.searched.keys(), self.threshold)

    def _concluded(self, edge: Edge, pair: Pair, result: Result) -> Result:
        """A result with its certificate, where one is wanted and could not be made by the search itself."""
        problem = self.objective.problem
        wanted = self.settings.certify is not None and (self.threshold is None or not result.connected)
        if wanted and result.certificate is None:
            result = with_bound(problem, result, self.objective.quantity(), pair.directory)
        if edge in self.proved and (proof := prove(problem, pair.a, pair.b)) is not None:
            stands(problem, proof, result.string, result.largest, "the string that was found")  # or it raises
        return result

    def _pair(self, edge: Edge) -> Pair:
        a, b = (self._model(number) for number in edge)
        directory = None
        if self.folder is not None:
            # Named by the two models: an atlas of these and others finds it again.
            directory = RunDirectory(self.folder / STRINGS / f"{digest(a)[:16]}-{digest(b)[:16]}")
        names = " and ".join(self.lines.names[number] for number in edge)
        return Pair(a=a, b=b, threshold=self.threshold, directory=directory, name=f"{names}: ")

    def _model(self, number: int) -> Theta:
        name = self.lines.names[number]
        return loaded(self.objective.problem, name, self.models[name])


def _name(directory: Any) -> str:
    return directory.path.name if isinstance(directory, RunDirectory) else ""
