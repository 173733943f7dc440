"""``repair``: the average of models, its units brought back to the spread that theirs have (REPAIR).

Averaging makes units vary less: the variance of a sum of units that do not agree is smaller than theirs, layer after
layer, until the outputs hardly depend on the inputs (Jordan et al. 2022, arXiv:2211.08403). Each unit of a linear layer
or convolution is shifted and rescaled so that its mean and standard deviation are the average of the models'. That is
folded into its weights and bias, so that what comes out is a model of the same module.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from weightstring.ambient import undisturbed
from weightstring.arrays import Theta
from weightstring.errors import Unsupported
from weightstring.notebook import Viewable
from weightstring.path.objective import check_theta
from weightstring.problem import Modular
from weightstring.protocol import LossProblem, lacking
from weightstring.study.averages import averaged, measured, shares_of
from weightstring.study.units import correctable, corrections_of, folded, mixed, moments_of, seen

LISTED = 4
"""Models whose losses are printed."""


@dataclass(frozen=True, repr=False)
class Repaired(Viewable):
    """The average of models, before and after its units' means and deviations were brought back.

    Args:
        theta: the repaired model (P,), of the same module.
        models: what was measured of each, by quantity.
        before: of the average as it is.
        after: of the repaired one.
        layers: names of those whose units were corrected, in the order in which they run.
        left: why others were not, by name.
        shrunk: of each layer corrected, the mean over its units of the average's standard deviation over the models'.
        examples: training examples on which they were taken.
        evaluation: what ``loss`` is measured on: ``"evaluate"``, or ``"train"`` where there is no evaluation set.
    """

    theta: Theta
    models: tuple[Mapping[str, float], ...]
    before: Mapping[str, float]
    after: Mapping[str, float]
    layers: tuple[str, ...]
    left: Mapping[str, str]
    shrunk: Mapping[str, float]
    examples: int
    evaluation: str

    def __str__(self) -> str:
        name = "train" if self.evaluation == "train" else "evaluation"
        own = ", ".join(f"{values['loss']:.4g}" for values in self.models[:LISTED])
        before, after = self.before["loss"], self.after["loss"]
        lines = [
            f"the average's {name} loss {before:.4g} {'falls' if after < before else 'rises'} to {after:.4g} by "
            f"repair; the models' own {own}{', …' if len(self.models) > LISTED else ''}"
        ]
        least = min(self.shrunk, key=lambda layer: self.shrunk[layer])
        lines.append(
            f"{len(self.layers)} layers corrected on {self.examples} training examples; units of {least} had shrunk "
            f"most, to {self.shrunk[least]:.0%} of their deviation"
        )
        if self.left:
            one, why = next(iter(self.left.items()))
            more = f", and {len(self.left) - 1} more" if len(self.left) > 1 else ""
            lines.append(f"left as it is: {one} ({why}){more}")
        return "\n".join(lines)


@undisturbed
def repair(problem: LossProblem, models: Sequence[Theta], *, weights: Sequence[float] | None = None) -> Repaired:
    """Average models, and give the average's units the means and deviations that theirs have.

    It costs a forward pass a model over at most 2,048 training examples, and one more; and an evaluation of each.

    Args:
        problem: the loss of a module.
        models: two or more, each (P,); align them first, :func:`weightstring.align`, where they were trained apart.
        weights: their shares of the average; all the same unless given.

    Returns:
        The repaired model, with what it and the average as it is measure. It need not be the better one: compare.

    Raises:
        InvalidCheckpoint: one is not a θ of the problem.
        InvalidSetting: fewer than two models, or weights that are no shares of them.
        Unsupported: no module; running statistics that are re-estimated for every model, which repairs the average
            already; or no layer that could be corrected.

    >>> import torch
    >>> from torch import nn
    >>> from weightstring.problem import ModuleProblem
    >>> x = torch.linspace(-1, 1, 64)[:, None]
    >>> net = nn.Sequential(nn.Linear(1, 8), nn.Tanh(), nn.Linear(8, 1))
    >>> problem = ModuleProblem(net, nn.functional.mse_loss, (x, x.sin()))
    >>> repaired = repair(problem, [problem.initial(0), problem.initial(1)])
    >>> repaired.layers, list(repaired.left)
    (('0',), ['2'])
    """
    found = rescaled(problem, models, weights)
    rows = measured(problem, [*models, found.average, found.theta])
    return Repaired(
        theta=found.theta,
        models=tuple(rows[:-2]),
        before=rows[-2],
        after=rows[-1],
        layers=found.layers,
        left=found.left,
        shrunk=found.shrunk,
        examples=found.examples,
        evaluation=problem.evaluation,
    )


class Rescaled(NamedTuple):
    """A repaired model that is not measured yet, and the average that it was; see :class:`Repaired`."""

    theta: Theta
    average: Theta
    layers: tuple[str, ...]
    left: Mapping[str, str]
    shrunk: Mapping[str, float]
    examples: int


def rescaled(problem: LossProblem, models: Sequence[Theta], weights: Sequence[float] | None = None) -> Rescaled:
    """The repaired average by itself; see :func:`repair`."""
    if not isinstance(problem, Modular):
        raise Unsupported(f"repair changes the layers of a module: {lacking(problem, Modular)}")
    for number, model in enumerate(models):
        check_theta(problem, model, f"model {number}")
    shares = shares_of(models, weights)
    if problem.statistics_names:
        raise Unsupported(
            "repair: running statistics are re-estimated for every model, so that the average is repaired already"
        )
    average = averaged(models, shares)
    modules, left = correctable(problem)
    examples = seen(problem)
    moments = [moments_of(problem, theta, modules, left, examples) for theta in models]
    target = {name: mixed([each[name] for each in moments], shares) for name in moments[0] if name not in left}
    corrections, shrunk = corrections_of(problem, average, {name: modules[name] for name in target}, target, examples)
    if not corrections:
        why = "; ".join(f"{name}: {reason}" for name, reason in left.items()) or "it has no linear layer or convolution"
        raise Unsupported(f"repair: no layer to correct: {why:.300}")
    theta = folded(problem, average, modules, corrections)
    return Rescaled(theta, average, tuple(corrections), left, shrunk, len(examples))
