"""``mergeable``: will these models merge? Every way to merge them is tried and measured, the simplest first.

Averages (Wortsman et al. 2022: greedy soups), averages after alignment (Ainsworth et al. 2022) and repair (Jordan et
al. 2022), slerp, learned matching (Peña et al. 2023; Theus et al. 2025), and, if wanted, a string between two (Garipov
et al. 2018: ensembles along a path). Nothing is predicted: each verdict is the loss of the merged model itself.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from weightstring.ambient import undisturbed
from weightstring.arrays import Theta
from weightstring.errors import InvalidModel, InvalidSetting, NotEquivalent, Unsupported
from weightstring.memory import most_in_use
from weightstring.path.objective import check_theta
from weightstring.path.quantities import split_quantity
from weightstring.path.string_curve import StringCurve
from weightstring.problem import Modular
from weightstring.problem.capabilities import Laid
from weightstring.protocol import LossProblem, lacking
from weightstring.runs.computing import Stopwatch
from weightstring.runs.connect import connect
from weightstring.runs.manifest import digests_of, versions
from weightstring.runs.run import COSTLY
from weightstring.search import MaxSteps
from weightstring.store import digest
from weightstring.study.align_many import align_many
from weightstring.study.averages import averaged, measured, on_arcs
from weightstring.study.between import lines_between
from weightstring.study.blame import blame as blame_line
from weightstring.study.blaming import Blame
from weightstring.study.lines import Line, Lines, Matrix
from weightstring.study.merge import merge
from weightstring.study.mergeability import AVERAGES, Mergeability, Way
from weightstring.study.merging import no_worse
from weightstring.study.naming import by_name
from weightstring.study.repair import rescaled
from weightstring.study.threshold import suggest_threshold
from weightstring.symmetry.alignment import LEARNED
from weightstring.symmetry.alignment import align as aligned_copy
from weightstring.symmetry.learning import STEPS

CANNOT = (Unsupported, NotEquivalent, InvalidModel)
"""What says that a way is closed to a module."""


@undisturbed
def mergeable(
    problem: LossProblem,
    models: Mapping[str, Theta] | Sequence[Theta],
    *,
    align: bool = True,
    learn: int = STEPS,
    search: int = 0,
    blame: bool = False,
    seed: int = 0,
    on_way: Callable[[str], None] = lambda name: None,
) -> Mergeability:
    """Merge two models or more in every way there is, and measure each.

    It costs an evaluation a model and a way, and what alignment and a search take. Of up to four models the lines
    between every two are sampled, at about twenty points each; of up to 32 their midpoints. Where they do not merge by
    these ways, alignment is learned: so many gradients of the training loss for each model but one.

    Args:
        problem: the loss.
        models: two or more, each (P,); a mapping names them, a sequence by its numbers.
        align: also bring the others to their symmetric copies nearest to one of them.
        learn: gradients by which each of these may be improved (:func:`weightstring.align`, ``"learned"``) where the
            models do not merge otherwise; 0: none. It needs an evaluation set: what is learned from the training set
            is measured on that.
        search: of two models, gradient steps that a search for a string between them may take; 0: none is made.
        blame: also look for the layer that raises the line between two of them (:func:`weightstring.blame`): of more
            than two that between the reference and the model from which it rises most. It costs four evaluations a
            layer.
        seed: of alignment and of the search.
        on_way: told the name of each way before it is tried; it may raise.

    Raises:
        InvalidCheckpoint: one is no model of the problem's.
        InvalidSetting: fewer than two models, or a search between more than two.

    >>> import torch
    >>> from torch import nn
    >>> from weightstring.problem import ModuleProblem
    >>> x = torch.linspace(-1, 1, 8)[:, None]
    >>> problem = ModuleProblem(nn.Linear(1, 1), nn.functional.mse_loss, (x, 2 * x))
    >>> found = mergeable(problem, [torch.tensor([1.9, 0.0]), torch.tensor([2.1, 0.0])])
    >>> found.merges, found.best.name
    (True, 'average')
    """
    named = by_name(models)
    if isinstance(learn, bool) or not isinstance(learn, int) or learn < 0:
        raise InvalidSetting(f"mergeable(learn={learn!r}): give a number of gradients, or 0 for none")
    if len(named) < 2:
        raise InvalidSetting(f"mergeable of {len(named)} models: give two or more")
    if search and len(named) > 2:
        raise InvalidSetting(f"a search joins two models, not {len(named)}: leave search out, or name two")
    for name, model in named.items():
        check_theta(problem, model, f"model {name!r:.80}")
    started = time.perf_counter()
    work = _Work(problem, named, seed, on_way)
    work.average("average", named, started)
    asked = time.perf_counter()
    moved = work.aligned() if align else named
    if moved is not named:
        work.average("aligned average", moved, asked)
    better = named if work.ways[0].loss <= work.ways[-1].loss else moved
    aligned = better is not named
    if len(named) == 2:
        work.on_arc("aligned slerp" if aligned else "slerp", better)
    work.repaired("aligned and repaired" if aligned else "repaired average", better)
    if len(named) > 2:
        work.soup(better)
    if align and learn and work.alignable and not work.merge:
        better = work.learned(moved, better, learn)
    if search:
        work.string(better, search)
    if blame:
        work.blame(better)
    return replace(work.found(), seconds=time.perf_counter() - started, search=search, learn=learn)


@dataclass
class _Work:
    """The ways that were tried so far."""

    problem: LossProblem
    models: Mapping[str, Theta]
    seed: int
    on_way: Callable[[str], None]
    ways: list[Way] = field(default_factory=list)
    untried: dict[str, str] = field(default_factory=dict)
    alignable: bool = False
    curve: StringCurve | None = None
    blamed: tuple[str, ...] = ()
    culprit: Blame | None = None

    def __post_init__(self) -> None:
        """Measure the models, and the lines between them."""
        names = self.problem.quantities
        # The training set says little of a merge, and takes as long as all the rest together.
        self.names = tuple(name for name in names if split_quantity(name, names)[0] != "train_")
        watch = Stopwatch(self.problem.device)
        rows = measured(self.problem, list(self.models.values()), self.names)
        self.values = dict(zip(self.models, rows, strict=True))
        self.adaptive = watch.seconds >= COSTLY * len(rows)
        self.given = self._lines(self.models)
        self.moved: Mapping[tuple[int, int], Line] | None = None
        self.reference = self._star()

    def _lines(self, models: Mapping[str, Theta]) -> Mapping[tuple[int, int], Line] | None:
        values = [self.values[name] for name in models]
        return lines_between(self.problem, list(models.values()), values, adaptive=self.adaptive)

    def _star(self) -> str:
        """The model from which the lines to all others rise least on the mean; if none were measured, the best one."""
        names = list(self.models)
        if self.given is None:
            return min(names, key=lambda name: self.values[name]["loss"])
        rises = [
            sum(_barrier(line) for pair, line in self.given.items() if number in pair) for number in range(len(names))
        ]
        return names[rises.index(min(rises))]

    def average(self, name: str, models: Mapping[str, Theta], started: float) -> None:
        """The mean of all weights."""
        self.on_way(name)
        theta = averaged(list(models.values()))
        self._add(name, theta, tuple(models), started, self._highest(models, tuple(models)))

    def _add(
        self, name: str, theta: Theta, members: tuple[str, ...], started: float, barrier: float | None = None
    ) -> None:
        (values,) = measured(self.problem, [theta], self.names)
        self.ways.append(Way(name, theta, values, members, barrier, time.perf_counter() - started))

    def _highest(self, models: Mapping[str, Theta], members: tuple[str, ...]) -> float | None:
        """The largest barrier of the lines between these of them."""
        lines = self.given if models is self.models else self.moved
        kept = [number for number, name in enumerate(self.models) if name in members]
        barriers = [_barrier(line) for pair, line in (lines or {}).items() if set(pair) <= set(kept)]
        return max(barriers) if barriers else None

    def aligned(self) -> Mapping[str, Theta]:
        """Copies with their units in one order; the models themselves where that cannot be."""
        self.on_way("alignment")
        if not isinstance(self.problem, Modular):
            self.untried["alignment"] = lacking(self.problem, Modular)
            return self.models
        try:
            copies = self._in_one_order(self.problem)
        except CANNOT as refusal:
            self.untried["alignment"] = str(refusal)
            return self.models
        self.alignable = True
        if all(bool((copies[name] == model).all()) for name, model in self.models.items()):
            self.untried["alignment"] = "no other order of units is nearer: they are aligned as they are"
            return self.models
        self.moved = self._lines(copies)
        return copies

    def _in_one_order(self, problem: Modular) -> Mapping[str, Theta]:
        """Copies of two with the reference's units; of more those whose average is lower, in that or a common order."""
        if len(self.models) > 2:
            found = align_many(problem, self.models, reference=self.reference, seed=self.seed)
            return dict(zip(found.names, found.thetas, strict=True))
        first = self.models[self.reference]
        return {
            name: model if name == self.reference else aligned_copy(problem, first, model, seed=self.seed).theta
            for name, model in self.models.items()
        }

    @property
    def merge(self) -> bool:
        """Whether one of the ways is no worse than the worst of the models."""
        return no_worse(min(way.loss for way in self.ways), max(values["loss"] for values in self.values.values()))

    def on_arc(self, name: str, models: Mapping[str, Theta]) -> None:
        """The middle of the arcs between two models, parameter by parameter."""
        started = time.perf_counter()
        if not isinstance(self.problem, Laid):
            self.untried["slerp"] = lacking(self.problem, Laid)
            return
        self.on_way(name)
        theta = on_arcs(self.problem.layout, *models.values())
        if bool((theta == averaged(list(models.values()))).all()):
            self.untried["slerp"] = "it is their average: every parameter of the one is parallel to the other's"
            return
        self._add(name, theta, tuple(models), started)

    def learned(self, copies: Mapping[str, Theta], better: Mapping[str, Theta], steps: int) -> Mapping[str, Theta]:
        """Copies whose lines from the reference are low by learning, if their average is the best; else the better."""
        name, started = "learned matching", time.perf_counter()
        self.on_way(f"{name}, {steps} gradients for each model but one")
        assert isinstance(self.problem, Modular)  # it was alignable
        if self.problem.evaluation == "train":
            self.untried[name] = "there is no evaluation set: it would be measured on the examples that it learns from"
            return better
        first = copies[self.reference]
        how: dict[str, Any] = {"methods": [LEARNED], "steps": steps, "seed": self.seed}
        try:
            taught = {
                name: copy if copy is first else aligned_copy(self.problem, first, copy, **how).theta
                for name, copy in copies.items()
            }
        except CANNOT as refusal:
            self.untried[name] = str(refusal)
            return better
        if all(bool((taught[name] == copy).all()) for name, copy in copies.items()):
            self.untried[name] = f"{steps} gradients found nothing better"
            return better
        known, self.moved = self.moved, self._lines(taught)
        self.average("learned average", taught, started)
        *before, taught_way = self.ways
        if any(way.loss <= taught_way.loss for way in before if way.name in AVERAGES):
            self.moved = known
            return better
        self.repaired("learned and repaired", taught)
        return taught

    def repaired(self, name: str, models: Mapping[str, Theta]) -> None:
        """The mean of all weights, its units rescaled."""
        self.on_way(name)
        started = time.perf_counter()
        try:
            theta = rescaled(self.problem, list(models.values())).theta
        except CANNOT as refusal:
            self.untried["repair"] = str(refusal).removeprefix("repair: ")
            return
        self._add(name, theta, tuple(models), started)

    def soup(self, models: Mapping[str, Theta]) -> None:
        """The best model, and one after the other those with which the average is no worse."""
        self.on_way("greedy soup")
        started = time.perf_counter()
        order = sorted(models, key=lambda name: self.values[name]["loss"])
        members, theta, values = [order[0]], models[order[0]], self.values[order[0]]
        for name in order[1:]:
            mixed = averaged([models[each] for each in [*members, name]])
            (found,) = measured(self.problem, [mixed], self.names)
            if found["loss"] <= values["loss"]:
                members, theta, values = [*members, name], mixed, found
        if len(members) == 1:
            self.untried["greedy soup"] = f"the average of {members[0]} with any other of them is worse than it alone"
            return
        of, barrier = tuple(members), self._highest(models, tuple(members))
        self.ways.append(Way("greedy soup", theta, values, of, barrier, time.perf_counter() - started))

    def string(self, models: Mapping[str, Theta], steps: int) -> None:
        """The best point and the ensemble of a string between the two."""
        self.on_way("a string")
        started = time.perf_counter()
        a, b = models.values()
        level = suggest_threshold(self.problem, a, b).value
        result = connect(self.problem, a, b, level, stop=MaxSteps(steps), seed=self.seed, progress=False)
        if not result.connected:
            self.untried["a string"] = f"none was found under {level:.4g} in {result.steps} gradient steps"
            return
        merging, self.curve = merge(self.problem, result.string), result.string.curve
        theta, barrier = result.string.at(merging.best.s), result.string.curve.barrier("over_mean")
        best = {name: merging.best.values[name] for name in self.names}
        seconds = time.perf_counter() - started
        self.ways.append(Way("best on the string", theta, best, tuple(models), barrier, seconds))
        if merging.ensemble is not None:
            ensemble = merging.ensemble.values
            self.ways.append(Way("ensemble on the string", None, ensemble, tuple(models), barrier, seconds))

    def blame(self, models: Mapping[str, Theta]) -> None:
        """The part that raises the line from the reference to the model from which it rises most."""
        self.on_way("the layer to blame")
        if not isinstance(self.problem, Laid):
            self.untried["blame"] = lacking(self.problem, Laid)
            return
        names, lines = list(self.models), self.given if models is self.models else self.moved
        here = names.index(self.reference)
        others = [number for number in range(len(names)) if number != here]

        def cost(other: int) -> float:
            if lines is None:  # of many models the worst has to do
                return self.values[names[other]]["loss"]
            return _barrier(lines[min(here, other), max(here, other)])

        pair = sorted((here, max(others, key=cost)))
        self.blamed = tuple(names[number] for number in pair)
        self.culprit = blame_line(self.problem, *(models[name] for name in self.blamed))

    def found(self) -> Mergeability:
        """All of it."""
        about = {
            "device": self.problem.device.type,
            "problem": self.problem.fingerprint(),
            **digests_of(self.problem),
            **{f"model: {name}": digest(model) for name, model in self.models.items()},
            **{f"version: {name}": value for name, value in versions().items()},
        }
        lines = None
        if self.given is not None:
            moved = self.moved or {}
            both = {pair: Lines(given=line, aligned=moved.get(pair)) for pair, line in self.given.items()}
            ends = tuple(self.values[name] for name in self.models)
            lines = Matrix(tuple(self.models), ends, both, evaluation=self.problem.evaluation, about=about)
        return Mergeability(
            models=self.values,
            ways=tuple(self.ways),
            untried=self.untried,
            lines=lines,
            reference=self.reference,
            evaluation=self.problem.evaluation,
            seconds=0.0,
            memory=most_in_use(self.problem.device),
            string=self.curve,
            blame=self.culprit,
            blamed=self.blamed,
            about=about,
        )


def _barrier(line: Line) -> float:
    """Over the mean of its ends; infinite where a sample is not finite."""
    barrier = line.curve.barrier("over_mean")
    return barrier if math.isfinite(barrier) else math.inf
