"""Merging two models along a string: its best point, its midpoint, and the average of predictions along it.

Averaging weights in the middle of a path, or predictions along it (Garipov et al. 2018, Izmailov et al. 2018), is what
connected models are good for. Every choice here is made by the evaluation loss; a hold-out set is only ever reported.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import chain

import torch

from weightstring.ambient import undisturbed
from weightstring.arrays import Theta, together
from weightstring.errors import InvalidModel, InvalidSetting, Unsupported
from weightstring.path import WeightString, check_theta
from weightstring.path.quantities import holdout_prefixes
from weightstring.path.segment import rows_at_once
from weightstring.problem import Predicting
from weightstring.problem.averaging.predictions import Predict
from weightstring.protocol import LossProblem, lacking

HALVINGS = 4
"""How often the distance to the neighbouring samples is halved around the lowest one."""
TIE = 1e-6
"""Losses that differ by less than this share are equal: other batches round in other ways."""


@dataclass(frozen=True)
class Point:
    """A model on a string.

    Args:
        s: where, as a share of the arc length.
        values: every quantity measured there, by name.
    """

    s: float
    values: Mapping[str, float]

    @property
    def loss(self) -> float:
        """The evaluation loss; +inf where it is not finite."""
        loss = self.values["loss"]
        return loss if math.isfinite(loss) else math.inf


@dataclass(frozen=True)
class Ensemble:
    """The average of several models' predictions, as if it were one model.

    Args:
        average: what was averaged, a name of :data:`weightstring.problem.averaging.predictions.AVERAGES`, and
        words: the same in words.
        values: quantities of the average, by name.
        models: the single models with the same quantities.
    """

    average: str
    words: str
    values: Mapping[str, float]
    models: tuple[Point, ...]

    @property
    def mean(self) -> dict[str, float]:
        """The mean of the single models' values, by name."""
        return {name: math.fsum(m.values[name] for m in self.models) / len(self.models) for name in self.values}

    @property
    def verdict(self) -> str:
        """Whether the average helps: it is compared with each of its models, and with their mean."""
        loss, best = self.values["loss"], min(model.loss for model in self.models)
        what = f"averaging the {self.words} of {len(self.models)} models"
        if _below(loss, best):
            return f"{what} helps: {loss:.4g}, lower than each of them alone (lowest {best:.4g})"
        if _below(loss, self.mean["loss"]):
            mean = f"lower than their mean {self.mean['loss']:.4g}"
            return f"{what} does not beat the best of them: {loss:.4g}, {mean}, but one alone has {best:.4g}"
        return f"{what} does not help: {loss:.4g}, and one of them alone has {best:.4g}"


@dataclass(frozen=True)
class Merging:
    """What can be made of two models that a string joins.

    Args:
        ends: the two models.
        midpoint: the model at half the arc length.
        best: the model with the least *sampled* evaluation loss.
        ensemble: the average of predictions along the string; None: there is none, and
        missing: why there is none.
        evaluation: what the loss is measured on: ``"evaluate"``, or ``"train"`` where there is no evaluation set.
        warning: what the choice of ``best`` does to its own value; None for a formula, which has no data.
    """

    ends: tuple[Point, Point]
    midpoint: Point
    best: Point
    ensemble: Ensemble | None
    missing: str | None
    evaluation: str
    warning: str | None

    @property
    def verdict(self) -> str:
        """In plain words: what the midpoint, the best point and the ensemble are worth beside the ends, a line each."""
        lines = [self._of_the_midpoint(), self._of_the_best()]
        lines.append(f"no ensemble: {self.missing}" if self.ensemble is None else self.ensemble.verdict)
        return "\n".join(lines)

    def _of_the_midpoint(self) -> str:
        middle, better = self.midpoint.loss, min(end.loss for end in self.ends)
        mean = sum(end.loss for end in self.ends) / 2
        name = "train" if self.evaluation == "train" else "evaluation"
        value = f"the midpoint's {name} loss {middle:.4g}"
        if _no_worse(middle, better):
            return f"merging costs nothing: {value} is no worse than the better end's {better:.4g}"
        if _no_worse(middle, mean):
            beside = f"the mean of the ends {mean:.4g}, but worse than the better end's {better:.4g}"
            return f"{value} is no worse than {beside}"
        return f"merging at the midpoint costs: {value} is worse than the mean of the ends {mean:.4g}"

    def _of_the_best(self) -> str:
        best, better = self.best, min(end.loss for end in self.ends)
        if not _below(best.loss, better):
            return f"no sampled point of the string is better than the better end ({better:.4g}): keep that model"
        return f"best sampled point: s = {best.s:.4f} with {best.loss:.4g}, better than either end ({better:.4g})"

    @property
    def held_out(self) -> str | None:
        """The loss of each on the hold-out sets, in a line a set; None where there is none."""
        return "\n".join(map(self._on, holdout_prefixes(self.midpoint.values))) or None

    def _on(self, prefix: str) -> str:
        quantity = f"{prefix}loss"
        first, last = (end.values[quantity] for end in self.ends)
        parts = [f"ends {first:.4g} and {last:.4g}"]
        for name, point in (("midpoint", self.midpoint), ("best", self.best)):
            parts.append(f"{name} {point.values[quantity]:.4g}")
        if self.ensemble is not None:
            parts.append(f"ensemble {self.ensemble.values[quantity]:.4g}")
        name = {"holdout_": "hold-out"}.get(prefix, prefix.removesuffix("_"))
        return f"{name} loss: {', '.join(parts)}"

    def __str__(self) -> str:
        return "\n".join(line for line in (self.verdict, self.held_out, self.warning) if line is not None)


@undisturbed
def merge(
    problem: LossProblem,
    string: WeightString,
    *,
    points: int = 5,
    average: str | None = None,
    predict: Predict | None = None,
    train: bool = False,
) -> Merging:
    """What can be made of the two models that a string joins: one on the way, or the average of several's predictions.

    Args:
        problem: the loss.
        string: a path between the models, such as ``result.string``.
        points: models whose predictions are averaged, evenly spaced along the arc length, ends included.
        average: what of them: ``"probabilities"`` (softmax over axis 1), ``"last_axis_probabilities"``,
            ``"log_probabilities"`` (exp), ``"binary_probabilities"`` (sigmoid) or ``"outputs"``; the result goes
            back to loss and metrics in the form in which they take an output. ``"likelihoods"``: of a loss that is the
            negative log likelihood of one target an example, −log of the mean of exp(−loss), and no metrics. None: as
            the loss is seen to take them, by a function of torch's or as a function of output minus target; otherwise
            there is no ensemble, and ``missing`` says why.
        predict: ``predict(output)`` returns what is averaged: a tensor of the module's output, which is put back into
            it, or one computed from it, which loss and metrics then take in place of an output. None: the one
            tensor of the output that the loss depends on.
        train: measure the average on the training set too, not only on evaluation and hold-out data.

    Memory: ``points`` models where they are small, else one at a time, the outputs of a chunk of examples, and what
    ``problem.measure`` takes.

    Raises:
        InvalidSetting: fewer than 2 points, an unknown average, or a string of another problem or of none.
        InvalidCheckpoint: a string whose models are not the problem's.

    >>> x = torch.tensor([[1.0], [2.0]])
    >>> from weightstring.problem import ModuleProblem
    >>> problem = ModuleProblem(torch.nn.Linear(1, 1, bias=False), torch.nn.functional.mse_loss, (x, 2 * x))
    >>> merging = merge(problem, WeightString(problem, torch.tensor([[1.0], [3.0]])))
    >>> print(merging.verdict)
    merging costs nothing: the midpoint's train loss 0 is no worse than the better end's 2.5
    best sampled point: s = 0.5000 with 0, better than either end (2.5)
    averaging the outputs of 5 models does not beat the best of them: 0, lower than their mean 1.25, but one alone has 0
    """
    _check(problem, string, points)
    samples = _samples(string)
    ensemble, missing = _ensemble(problem, string, points, average, predict, train)
    (midpoint,) = _measured(problem, string, [0.5])
    return Merging(
        ends=(samples[0], samples[-1]),
        midpoint=midpoint,
        best=best_point(problem, string),
        ensemble=ensemble,
        missing=missing,
        evaluation=problem.evaluation,
        warning=_warning(problem, len(samples)),
    )


def best_point(problem: LossProblem, string: WeightString) -> Point:
    """The lowest sample of the evaluation loss on a string, after a few more between it and its neighbours.

    Of equal ones the first. No lower point may be known, but between the samples there may be one.

    >>> x = torch.tensor([[1.0], [2.0]])
    >>> from weightstring.problem import ModuleProblem
    >>> problem = ModuleProblem(torch.nn.Linear(1, 1, bias=False), torch.nn.functional.mse_loss, (x, 2 * x))
    >>> best_point(problem, WeightString(problem, torch.tensor([[1.0], [4.0]]))).s
    0.33203125
    """
    samples = _samples(string)
    place = min(range(len(samples)), key=lambda i: samples[i].loss)
    best = samples[place]
    left, right = samples[max(place - 1, 0)].s, samples[min(place + 1, len(samples) - 1)].s
    for _ in range(HALVINGS):
        between = sorted({(left + best.s) / 2, (best.s + right) / 2} - {left, best.s, right})
        spots = sorted({left, best.s, right, *between})
        best = min([best, *_measured(problem, string, between)], key=lambda point: point.loss)
        place = spots.index(best.s)
        left, right = spots[max(place - 1, 0)], spots[min(place + 1, len(spots) - 1)]
    return best


def _check(problem: LossProblem, string: WeightString, points: int) -> None:
    if not isinstance(points, int) or points < 2:
        raise InvalidSetting(f"points={points!r}: an average along a string takes 2 models or more, its ends first")
    if string.problem is None:
        raise InvalidSetting("this string has no problem that measured it: give one, ws.load(run, problem=problem)")
    for end in (string[0], string[-1]):
        check_theta(problem, end, "an end of the string")
    if string.problem is not problem and string.problem.fingerprint() != problem.fingerprint():
        raise InvalidSetting("the string was measured by another problem: pass ws.WeightString(problem, string.beads)")


def _samples(string: WeightString) -> list[Point]:
    curve = string.curve
    return [Point(s, {name: values[i] for name, values in curve.values.items()}) for i, s in enumerate(curve.s)]


def _measured(problem: LossProblem, string: WeightString, where: Sequence[float]) -> list[Point]:
    """The models at these places, measured in memory-bounded batches."""
    rows = rows_at_once(string[0])
    parts = [where[start : start + rows] for start in range(0, len(where), rows)]
    return list(chain.from_iterable(_measured_at_once(problem, string, part) for part in parts))


def _measured_at_once(problem: LossProblem, string: WeightString, where: Sequence[float]) -> list[Point]:
    measured = problem.measure(together([string.at(s)[None] for s in where]), problem.quantities)
    return [Point(s, {name: float(values[i]) for name, values in measured.items()}) for i, s in enumerate(where)]


def _ensemble(
    problem: LossProblem,
    string: WeightString,
    points: int,
    average: str | None,
    predict: Predict | None,
    train: bool,
) -> tuple[Ensemble | None, str | None]:
    """The ensemble, or why there is none."""
    if not isinstance(problem, Predicting):
        return None, f"this loss makes no predictions: {lacking(problem, Predicting)}"
    names = [name for name in problem.quantities if train or not name.startswith("train_")]
    where = [i / (points - 1) for i in range(points)]
    try:
        made = _Made(string, where)
        few = rows_at_once(string[0]) >= points
        averaged = problem.measure_average(torch.stack(list(made)) if few else made, names, average, predict)
    except (InvalidModel, Unsupported) as refusal:
        return None, str(refusal)
    models = tuple(
        Point(point.s, {name: point.values[name] for name in averaged.values})
        for point in _measured(problem, string, where)
    )
    return Ensemble(averaged.by.name, averaged.by.words, averaged.values, models), None


class _Made(Sequence[Theta]):
    """Models at places of a string, each made when it is asked for."""

    def __init__(self, string: WeightString, where: Sequence[float]) -> None:
        self._string, self._where = string, where

    def __len__(self) -> int:
        return len(self._where)

    def __getitem__(self, index: int) -> Theta:  # type: ignore[override]
        return self._string.at(self._where[index])


def _warning(problem: LossProblem, samples: int) -> str | None:
    if problem.train_size == 1 and not isinstance(problem, Predicting):
        return None
    chosen = f"the best of {samples} samples and a few beside it was chosen by the same loss that is shown"
    if problem.evaluation == "train":
        return f"{chosen}, which is the train loss: neither says how the model does on other data"
    if holdout_prefixes(problem.quantities):
        advice = "judge by that, unless the search was bound to it"
        return f"{chosen}, so that its value flatters it; the hold-out set had no part in this choice: {advice}"
    return f"{chosen}, so that its value flatters it: judge it by data that had no part in the choice (holdout=...)"


def _no_worse(loss: float, other: float) -> bool:
    return math.isfinite(loss) and loss <= other + TIE * abs(other)


def _below(loss: float, other: float) -> bool:
    return math.isfinite(loss) and loss < other - TIE * abs(other)
