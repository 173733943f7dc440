"""Merging two models along a string: its best point, its midpoint, and the average of predictions along it.

Averaging weights in the middle of a path, or predictions along it (Garipov et al. 2018, Izmailov et al. 2018), is what
connected models are good for. Every choice here is made by the evaluation loss; a hold-out set is only ever reported.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch

from weightstring.ambient import undisturbed
from weightstring.arrays import Theta
from weightstring.errors import InvalidModel, InvalidSetting, Unsupported
from weightstring.path import WeightString, check_theta
from weightstring.path.quantities import holdout_prefixes
from weightstring.path.segment import rows_at_once
from weightstring.path.string_curve import measured_in_parts
from weightstring.problem import Predicting
from weightstring.problem.averaging.predictions import Predict
from weightstring.problem.on_segments import OnSegments
from weightstring.protocol import LossProblem, lacking
from weightstring.study.merging import Ensemble, Merging, Point

HALVINGS = 4
"""How often the distance to the neighbouring samples is halved around the lowest one."""


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

    Memory: ``points`` models where they are small, else none beside the module; the outputs of a chunk of examples,
    and what ``problem.measure`` takes.

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
    (midpoint,) = _measured(problem, string, [0.5])
    known = {point.s: point for point in (samples[0], midpoint, samples[-1])}
    ensemble, missing = _ensemble(problem, string, points, average, predict, train, known)
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
    places = [string.place(s) for s in where]
    parts = [measured for _, measured in measured_in_parts(problem, string.segments, places, problem.quantities)]
    columns = {name: torch.cat([part[name] for part in parts]).tolist() for name in problem.quantities if parts}
    return [Point(s, {name: column[i] for name, column in columns.items()}) for i, s in enumerate(where)]


def _ensemble(
    problem: LossProblem,
    string: WeightString,
    points: int,
    average: str | None,
    predict: Predict | None,
    train: bool,
    known: Mapping[float, Point],
) -> tuple[Ensemble | None, str | None]:
    """The ensemble, or why there is none."""
    if not isinstance(problem, Predicting):
        return None, f"this loss makes no predictions: {lacking(problem, Predicting)}"
    names = [name for name in problem.quantities if train or not name.startswith("train_")]
    where = [i / (points - 1) for i in range(points)]
    try:
        made = OnSegments([_on_segment(string, s) for s in where])
        few = rows_at_once(string[0]) >= points
        averaged = problem.measure_average(torch.stack(list(made)) if few else made, names, average, predict)
    except (InvalidModel, Unsupported) as refusal:
        return None, str(refusal)
    told = {s: point for s, point in known.items() if averaged.values.keys() <= point.values.keys()}
    fresh = _measured(problem, string, [s for s in where if s not in told])
    told |= {point.s: point for point in fresh}
    models = tuple(Point(s, {name: told[s].values[name] for name in averaged.values}) for s in where)
    return Ensemble(averaged.by.name, averaged.by.words, averaged.values, models), None


def _on_segment(string: WeightString, s: float) -> tuple[Theta, Theta, float]:
    """The segment at a share of the arc length, and t on it, as θ's dtype has it."""
    index, t = string.place(s)
    a, b = string.segments[index].a, string.segments[index].b
    return a, b, float(torch.tensor(t, dtype=torch.float64).to(a.dtype))


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
