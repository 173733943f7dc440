"""Barriers of the straight lines between every two of many models, each line measured once, and kept when it is."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from itertools import combinations
from typing import Any, TypeAlias

import msgspec
from torch import nn

from weightstring.ambient import undisturbed
from weightstring.arrays import Theta
from weightstring.codec import Loss, Record, decode
from weightstring.errors import InvalidRun, InvalidSetting
from weightstring.path import Objective, Segment, check_theta
from weightstring.path.line import measure_line
from weightstring.path.objective import Noted
from weightstring.problem import Modular
from weightstring.problem.digests.digest import text_digest
from weightstring.protocol import LossProblem, lacking
from weightstring.randomness import check_seed
from weightstring.runs.computing import Stopwatch
from weightstring.runs.manifest import digests_of, versions
from weightstring.runs.run import COSTLY
from weightstring.store import RunDirectory, digest
from weightstring.store.files import UNREADABLE, one_line
from weightstring.store.locks import locked
from weightstring.store.objects import local_path
from weightstring.study.lines import Line, Lines, Matrix
from weightstring.study.naming import by_name
from weightstring.symmetry.alignment import align as align_models
from weightstring.symmetry.spec import Symmetry

Model: TypeAlias = Theta | Callable[[], Theta]
"""A model (P,), or what loads it when it is needed."""

MATRIX = "matrix.json"


class Asked(Record, frozen=True, kw_only=True):
    """What a matrix in a directory is of, and what its models measure."""

    problem: str
    bind: str
    seed: int
    symmetry: str
    """Digest of the one that was given; empty where it is found from the module."""
    adaptive: bool
    """Whether lines are sampled only as densely as they bend."""
    models: dict[str, str]
    """The digest of each, by name."""
    values: dict[str, dict[str, Loss]]
    """What was measured, by digest: of further models too, that an earlier call named."""

    def ends(self, name: str) -> dict[str, float]:
        """What a model measures."""
        return self.values[self.models[name]]


@undisturbed
def matrix(
    problem: LossProblem,
    models: Mapping[str, Model] | Sequence[Model],
    *,
    align: bool = False,
    bind: str = "evaluate",
    symmetry: Symmetry | None = None,
    seed: int = 0,
    store: str | os.PathLike[str] | None = None,
    on_line: Callable[[int, int], None] = lambda done, of: None,
) -> Matrix:
    """Measure the straight line between every two of n models: barriers by all definitions in use, and lengths.

    Each model is measured once, each line where its maximum is looked for (:func:`weightstring.locate_maximum`), with
    all quantities that the same passes over the data tell. At most three models are in memory at a time where
    functions load them.

    Args:
        problem: the loss.
        models: two or more, each (P,) or a function that loads it; a mapping names them, a sequence by its numbers.
        align: measure the lines to aligned copies too: of each two models, the second aligned with the first
            (:func:`weightstring.align`). A copy counts with the values of its model, whose function it has.
        bind: what the maxima are looked for of: ``"evaluate"``, ``"train"``, or a metric.
        symmetry: which units may move; found from the module unless given.
        seed: of alignment.
        store: a directory that keeps each line when it is measured; the same call goes on there, with more models or
            with ``align`` too.
        on_line: told after each line how many are done, of how many; it may raise.

    Raises:
        InvalidSetting: fewer than two models, ``bind="both"``, or nothing to align.
        InvalidCheckpoint: one is no model of the problem's.
        InvalidRun: ``store`` holds the matrix of another problem, or a damaged one.
        RunLocked, StoreFailed: see :func:`weightstring.connect`.

    >>> from weightstring.problem.surfaces import Ring
    >>> ring = Ring()
    >>> found = matrix(ring, [*ring.ends, ring.ends[0]])
    >>> found.barriers("max").shape, round(found.barriers()[0, 1].item(), 3), found.barriers()[0, 2].item()
    (torch.Size([3, 3]), 0.943, 0.0)
    """
    named = by_name(models)
    objective = Objective(problem, bind)
    quantity = objective.quantity("a barrier is of")
    check_seed(seed)
    if len(named) < 2:
        raise InvalidSetting(f"matrix of {len(named)} models: give two or more")
    if align and not isinstance(problem, Modular):
        raise InvalidSetting(f"matrix(align=True): no module to align: {lacking(problem, Modular)}")
    directory = None if store is None else MatrixDirectory(local_path(store))
    with nullcontext() if directory is None else directory.locked():
        asked = _asked(objective, named, directory, seed, symmetry)
        work = _Work(objective, named, asked, directory, align, symmetry)
        lines: dict[tuple[int, int], Lines] = {}
        pairs = list(combinations(range(len(named)), 2))
        for pair, found in work.lines(pairs):
            lines[pair] = found
            on_line(len(lines), len(pairs))
    about = {
        "problem": asked.problem,
        **digests_of(problem),
        **{f"model: {name}": asked.models[name] for name in named},
        **{f"version: {name}": value for name, value in versions().items()},
    }
    return Matrix(tuple(named), tuple(map(asked.ends, named)), lines, quantity, problem.evaluation, about)


class MatrixDirectory(RunDirectory):
    """A directory with a matrix in it: what is asked, and a file for each line."""

    goes_on = "the same call goes on with it"

    @property
    def exists(self) -> bool:
        """Whether a matrix was begun here."""
        return self.has(MATRIX)

    def locked(self) -> AbstractContextManager[None]:  # type: ignore[override]
        """Keep every other process from writing here; see :meth:`weightstring.store.RunDirectory.locked`."""
        busy = "another process is writing this matrix; wait for it or choose another directory"
        return locked(self.path, "matrix", begun=lambda: self.exists, busy=busy, then=self.goes_on)

    def kept(self, name: str, kind: type[Any]) -> Any:
        """What is kept under a name; None: nothing.

        Raises:
            InvalidRun: it is damaged.
        """
        content = self.read(name)
        try:
            return None if content is None else decode(msgspec.json.decode(content), kind)
        except UNREADABLE as problem:
            raise InvalidRun(f"{self}/{name}: damaged, or not written by weightstring: {one_line(problem)}") from None


def _asked(
    objective: Objective,
    models: Mapping[str, Model],
    directory: MatrixDirectory | None,
    seed: int,
    symmetry: Symmetry | None,
) -> Asked:
    """What is asked, with every model measured that was not before."""
    problem = objective.problem
    begun: Asked | None = None if directory is None else directory.kept(MATRIX, Asked)
    fixed: dict[str, Any] = {
        "problem": problem.fingerprint(),
        "bind": objective.bind,
        "seed": seed,
        "symmetry": "" if symmetry is None else text_digest(repr(symmetry)),
    }
    for name, value in fixed.items() if begun is not None else ():
        if getattr(begun, name) != value:
            raise InvalidRun(f"{directory}: holds another matrix: its {name} differs; choose another directory")
    values, digests, watch, fresh = {} if begun is None else dict(begun.values), {}, Stopwatch(problem.device), 0
    for name, model in models.items():
        theta = loaded(problem, name, model)
        digests[name] = digest(theta)
        if digests[name] not in values:
            noted, fresh = Noted(objective), fresh + 1
            noted(theta.unsqueeze(0))
            values[digests[name]] = noted.rows[0]
    adaptive = begun.adaptive if begun is not None else watch.seconds >= COSTLY * fresh
    asked = Asked(**fixed, adaptive=adaptive, models=digests, values=values)
    if directory is not None and asked != begun:
        directory.write(MATRIX, msgspec.json.format(msgspec.json.encode(asked)))
    return asked


def loaded(problem: LossProblem, name: str, model: Model) -> Theta:
    """The model of a name (P,), loaded where it is a function that does that.

    Raises:
        InvalidCheckpoint: it is no model of the problem's.
    """
    given: Any = model() if callable(model) and not isinstance(model, nn.Module) else model  # which can be called too
    check_theta(problem, given, f"model {name!r:.80}")
    theta: Theta = given
    return theta


@dataclass(frozen=True)
class _Work:
    """Lines that are measured, or read back."""

    objective: Objective
    models: Mapping[str, Model]
    asked: Asked
    directory: MatrixDirectory | None
    align: bool
    symmetry: Symmetry | None

    def lines(self, pairs: Sequence[tuple[int, int]]) -> Iterator[tuple[tuple[int, int], Lines]]:
        """The lines of all pairs, those of one first model together, which is loaded once for them."""
        names, row, a = list(self.models), -1, None
        for i, j in pairs:
            known = self._kept(names[i], names[j])
            if known is None or (self.align and known.aligned is None):
                if row != i:
                    row, a = i, self._load(names[i])
                assert a is not None
                known = self._measured((names[i], names[j]), a, known)
            yield (i, j), known if self.align else Lines(given=known.given)

    def _measured(self, names: tuple[str, str], a: Theta, known: Lines | None) -> Lines:
        b = self._load(names[1])
        given = self._line(names, a, b) if known is None else known.given
        aligned = None
        if self.align:
            assert isinstance(self.objective.problem, Modular)
            copy = align_models(self.objective.problem, a, b, seed=self.asked.seed, symmetry=self.symmetry).theta
            aligned = self._line(names, a, copy)
        lines = Lines(given=given, aligned=aligned)
        if self.directory is not None:
            self.directory.write(self._file(*names), msgspec.json.encode(lines))
        return lines

    def _line(self, names: tuple[str, str], a: Theta, b: Theta) -> Line:
        ends = self.asked.ends(names[0]), self.asked.ends(names[1])
        curve = measure_line(self.objective, a, b, ends, adaptive=self.asked.adaptive)
        return Line(length=Segment(a, b).length, t=curve.t, values=dict(curve.values))

    def _load(self, name: str) -> Theta:
        return loaded(self.objective.problem, name, self.models[name])

    def _kept(self, a: str, b: str) -> Lines | None:
        found: Lines | None = None if self.directory is None else self.directory.kept(self._file(a, b), Lines)
        return found

    def _file(self, a: str, b: str) -> str:
        """Named by the two models: a matrix of these and others finds it again."""
        return f"line-{self.asked.models[a][:16]}-{self.asked.models[b][:16]}.json"
