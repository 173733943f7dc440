"""Measuring the average of several models' predictions, by whichever way the loss allows."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from weightstring.arrays import Theta, Thetas
from weightstring.errors import InvalidModel
from weightstring.problem.averaging.ensembles import NotShownError, predictions_of
from weightstring.problem.averaging.loss_calls import measure_by_calls
from weightstring.problem.averaging.predictions import (
    LIKELIHOODS,
    Averaged,
    Predict,
    Predictions,
    measure_average,
    measure_mixture,
)
from weightstring.problem.datasets.data import Examples
from weightstring.problem.on_segments import OnSegments
from weightstring.problem.parts import Parts

TRIED = 2
"""Examples on which it is seen what the loss reads of an output."""


def averaged(
    parts: Parts,
    thetas: Thetas | Sequence[Theta],
    quantities: Sequence[str],
    average: str | None,
    predict: Predict | None,
) -> Averaged:
    """Measure the average of K models' (K, P) predictions: their outputs put together, or else the loss alone.

    Raises:
        InvalidSetting, InvalidModel: see :meth:`weightstring.problem.evaluator.Evaluator.measure_average`.
    """
    computation, train, loss = parts.computation, parts.train, parts.quantities.means["loss"]
    names, wanted = parts.quantities.select(quantities)
    losses = [name for name in names if name in {f"{prefix}loss" for prefix in parts.quantities.sets}]
    sets = [examples for examples, means in wanted if loss in means]
    try:
        predictions = _predictions(parts, thetas, average, predict)
    except NotShownError as why:
        if average is not None or predict is not None or not losses:
            raise
        try:
            found = [measure_by_calls(computation, thetas, train, examples, loss) for examples in sets]
        except InvalidModel as also:
            raise InvalidModel(f"{why}; {also}") from also
        return Averaged(dict(zip(losses, (float(value) for value, _ in found), strict=True)), found[0][1])
    if predictions.by is LIKELIHOODS:
        values = [measure_mixture(computation, thetas, train, examples, loss) for examples in sets]
        return Averaged(dict(zip(losses, map(float, values), strict=True)), LIKELIHOODS)
    at_once = computation.block
    if not isinstance(thetas, Tensor):  # each is made for every part: outputs may take as much as one of them
        at_once = max(at_once, min(computation.chunk, parts.layout.size // parts.dispatcher.work.elements))
    measured = measure_average(computation, thetas, train, wanted, predictions, at_once)
    return Averaged(dict(zip(names, measured.tolist(), strict=True)), predictions.by)


def _predictions(
    parts: Parts, thetas: Thetas | Sequence[Theta], average: str | None, predict: Predict | None
) -> Predictions:
    """Where the predictions are in an output of the first model, tried on a few examples."""
    few = parts.evaluation.take(parts.evaluation.spread(TRIED))
    if not isinstance(few, Examples):
        raise NotShownError("the loss calls the module itself with a batch, and has no output")
    parts.check(thetas.places[0][0] if isinstance(thetas, OnSegments) else thetas[0], 1)
    with torch.no_grad(), parts.computation.at(thetas, 0) as theta:
        output = parts.computation.evaluating(theta, few, parts.computation.estimate(theta, parts.train))
    metrics = {name: given for name, given in parts.criteria.items() if name != "loss"}
    return predictions_of(output, few, parts.quantities.means["loss"], metrics, average, predict)
