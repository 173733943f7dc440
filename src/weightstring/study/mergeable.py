"""``mergeable``: will these models merge? Every way to merge them is tried and measured, the simplest first.

Averages (Wortsman et al. 2022: greedy soups), averages after alignment (Ainsworth et al. 2022) and repair (Jordan et
al. 2022), and, if wanted, a string between two (Garipov et al. 2018: ensembles along a path). Nothing is predicted:
each verdict is the loss of the merged model itself.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from weightstring.ambient import undisturbed
from weightstring.arrays import Theta
from weightstring.errors import InvalidModel, InvalidSetting, NotEquivalent, Unsupported
from weightstring.path.objective import check_theta
from weightstring.problem import Modular
from weightstring.protocol import LossProblem, lacking
from weightstring.runs.connect import connect
from weightstring.search import MaxSteps
from weightstring.study.averages import averaged, measured
from weightstring.study.lines import Matrix
from weightstring.study.matrix import matrix
from weightstring.study.merge import merge
from weightstring.study.mergeability import Mergeability, Way
from weightstring.study.repair import repair
from weightstring.study.threshold import suggest_threshold
from weightstring.symmetry.alignment import align as aligned_copy

MANY = 4
"""Up to so many models the lines between every two are measured."""
CANNOT = (Unsupported, NotEquivalent, InvalidModel)
"""What says that a way is closed to a module."""


@undisturbed
def mergeable(
    problem: LossProblem,
    models: Mapping[str, Theta] | Sequence[Theta],
    *,
    align: bool = True,
    search: int = 0,
    seed: int = 0,
    on_way: Callable[[str], None] = lambda name: None,
) -> Mergeability:
    """Merge two models or more in every way there is, and measure each.

    It costs an evaluation a model and a way, about twenty a line for up to four models, and what alignment and a
    search take.

    Args:
        problem: the loss.
        models: two or more, each (P,); a mapping names them, a sequence by its numbers.
        align: also bring the others to their symmetric copies nearest to one of them.
        search: of two models, gradient steps that a search for a string between them may take; 0: none is made.
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
    named = dict(models) if isinstance(models, Mapping) else {str(number): each for number, each in enumerate(models)}
    if len(named) < 2:
        raise InvalidSetting(f"mergeable of {len(named)} models: give two or more")
    if search and len(named) > 2:
        raise InvalidSetting(f"a search joins two models, not {len(named)}: leave search out, or name two")
    for name, model in named.items():
        check_theta(problem, model, f"model {name!r:.80}")
    started = time.perf_counter()
    values = dict(zip(named, measured(problem, list(named.values())), strict=True))
    lines = matrix(problem, named) if len(named) <= MANY else None
    reference = _star(values, lines)
    work = _Work(problem, named, values, reference, seed, on_way)
    work.average("average", named)
    moved = work.aligned() if align else named
    if moved is not named:
        work.average("aligned average", moved)
    better = named if work.ways[0].loss <= work.ways[-1].loss else moved
    work.repaired("aligned and repaired" if better is not named else "repaired average", better)
    if len(named) > 2:
        work.soup(better)
    if search:
        work.string(better, search)
    return Mergeability(
        models=values,
        ways=tuple(work.ways),
        untried=work.untried,
        lines=lines,
        reference=reference,
        evaluation=problem.evaluation,
        seconds=time.perf_counter() - started,
    )


def _star(values: Mapping[str, Mapping[str, float]], lines: Matrix | None) -> str:
    """The model from which the lines to all others rise least on the mean; where none were measured, the best one."""
    names = list(values)
    if lines is None:
        return min(names, key=lambda name: values[name]["loss"])
    means = lines.barriers("over_mean").fill_diagonal_(0).nan_to_num(float("inf")).sum(1).tolist()
    return names[means.index(min(means))]


@dataclass
class _Work:
    """The ways that were tried so far."""

    problem: LossProblem
    models: Mapping[str, Theta]
    values: Mapping[str, Mapping[str, float]]
    reference: str
    seed: int
    on_way: Callable[[str], None]
    ways: list[Way] = field(default_factory=list)
    untried: dict[str, str] = field(default_factory=dict)

    def average(self, name: str, models: Mapping[str, Theta]) -> None:
        """The mean of all weights."""
        self.on_way(name)
        theta = averaged(list(models.values()))
        (values,) = measured(self.problem, [theta])
        self.ways.append(Way(name, theta, values, tuple(models)))

    def aligned(self) -> Mapping[str, Theta]:
        """All but the reference as copies aligned with it; the models themselves where that cannot be."""
        self.on_way("alignment")
        if not isinstance(self.problem, Modular):
            self.untried["alignment"] = lacking(self.problem, Modular)
            return self.models
        try:
            copies = {
                name: model
                if name == self.reference
                else aligned_copy(self.problem, self.models[self.reference], model, seed=self.seed).theta
                for name, model in self.models.items()
            }
        except CANNOT as refusal:
            self.untried["alignment"] = str(refusal)
            return self.models
        if all(bool((copies[name] == model).all()) for name, model in self.models.items()):
            self.untried["alignment"] = "no other order of units is nearer: they are aligned as they are"
            return self.models
        return copies

    def repaired(self, name: str, models: Mapping[str, Theta]) -> None:
        """The mean of all weights, its units rescaled."""
        self.on_way(name)
        try:
            found = repair(self.problem, list(models.values()))
        except CANNOT as refusal:
            self.untried["repair"] = str(refusal).removeprefix("repair: ")
            return
        self.ways.append(Way(name, found.theta, found.after, tuple(models)))

    def soup(self, models: Mapping[str, Theta]) -> None:
        """The best model, and one after the other those with which the average is no worse."""
        self.on_way("greedy soup")
        order = sorted(models, key=lambda name: self.values[name]["loss"])
        members, theta, values = [order[0]], models[order[0]], self.values[order[0]]
        for name in order[1:]:
            mixed = averaged([models[each] for each in [*members, name]])
            (found,) = measured(self.problem, [mixed])
            if found["loss"] <= values["loss"]:
                members, theta, values = [*members, name], mixed, found
        self.ways.append(Way("greedy soup", theta, values, tuple(members)))

    def string(self, models: Mapping[str, Theta], steps: int) -> None:
        """The best point and the ensemble of a string between the two."""
        self.on_way("a string")
        a, b = models.values()
        level = suggest_threshold(self.problem, a, b).value
        result = connect(self.problem, a, b, level, stop=MaxSteps(steps), seed=self.seed, progress=False)
        if not result.connected:
            self.untried["a string"] = f"none was found under {level:.4g} in {result.steps} gradient steps"
            return
        merging = merge(self.problem, result.string)
        theta = result.string.at(merging.best.s)
        self.ways.append(Way("best on the string", theta, merging.best.values, tuple(models)))
        if merging.ensemble is not None:
            self.ways.append(Way("ensemble on the string", None, merging.ensemble.values, tuple(models)))
