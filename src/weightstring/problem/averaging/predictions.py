"""The average of several models' predictions (an ensemble), measured as if it were one model's output.

What is averaged depends on what an output means to the loss. Cross-entropy takes logits, whose average is not that
of the probabilities they stand for; the mean probabilities are handed back as logits, so that the user's own loss
and metrics measure them. Means of probabilities are taken of their logarithms, where nothing underflows.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from jaxtyping import Float64
from torch import Tensor
from torch.nn import functional

from weightstring.arrays import Theta, Thetas
from weightstring.errors import InvalidModel, Unsupported
from weightstring.problem.computation import EMPTY, Computation
from weightstring.problem.datasets.data import DataSet
from weightstring.problem.each import measure_each
from weightstring.problem.losses.means import Mean, Wanted
from weightstring.problem.losses.tally import Tally
from weightstring.problem.outputs import leaves_of, rebuilt


@dataclass(frozen=True)
class Averaging:
    """How models' outputs become one output.

    Args:
        name: what a caller calls it.
        words: what is averaged, in words.
        axes: how many axes an output has at least.
        logarithms: from an output to logarithms of what is averaged; None: the output itself is averaged.
        output: from the logarithms of the means to an output for the loss.
    """

    name: str
    words: str
    axes: int = 1
    logarithms: Callable[[Tensor], Tensor] | None = None
    output: Callable[[Tensor], Tensor] = lambda logarithms: logarithms

    def mean(self, outputs: Iterable[object]) -> Tensor:
        """The mean of several outputs (n, …), in their dtype; one at a time is held beside the sum.

        Raises:
            InvalidModel: outputs that are no floating tensors, or have too few axes.

        >>> AVERAGES["outputs"].mean([torch.tensor([1.0]), torch.tensor([2.0])])
        tensor([1.5000])
        """
        total: Tensor | None = None
        count, dtype = 0, torch.float64
        for output in outputs:
            checked = self._checked(output)
            count, dtype = count + 1, checked.dtype
            whole = checked.to(torch.float64)
            if self.logarithms is None:
                total = whole if total is None else total + whole
            else:
                logarithms = self.logarithms(whole)
                total = logarithms if total is None else torch.logaddexp(total, logarithms)
        assert total is not None
        if self.logarithms is None:
            return (total / count).to(dtype)
        return self.output(total - math.log(count)).to(dtype)

    def _checked(self, output: object) -> Tensor:
        if not isinstance(output, Tensor) or not output.is_floating_point():
            kind = f"{output.dtype} tensor" if isinstance(output, Tensor) else type(output).__name__
            raise InvalidModel(f"the module returns a {kind}: only floating tensors are averaged; pass predict=")
        if output.ndim < self.axes:
            raise InvalidModel(
                f"an output has shape {tuple(output.shape)}: average={self.name!r} takes {self.axes} axes or more"
            )
        return output


def _two_sides(logits: Tensor) -> Tensor:
    """Logarithms of both probabilities of a logit, (n, …) → (2, n, …)."""
    return torch.stack([functional.logsigmoid(logits), functional.logsigmoid(-logits)])


def classes_on(axis: int, axes: int) -> Averaging:
    """The average of class probabilities over an axis of an output with so many.

    >>> classes_on(2, 3).name, classes_on(1, 2).words
    ('last_axis_probabilities', 'class probabilities (softmax over axis 1)')
    """
    if axis == 1:
        return AVERAGES["probabilities"]
    if axis == axes - 1:
        return AVERAGES["last_axis_probabilities"]
    words = f"class probabilities (softmax over axis {axis})"
    return Averaging(f"axis_{axis}_probabilities", words, axis + 1, lambda output: output.log_softmax(axis))


OUTPUTS = Averaging("outputs", "outputs")
LIKELIHOODS = Averaging("likelihoods", "likelihoods of each example (exp of minus the loss)")
_CLASSES = Averaging(
    "probabilities", "class probabilities (softmax over axis 1)", 2, lambda output: output.log_softmax(1)
)
_LAST = Averaging(
    "last_axis_probabilities", "class probabilities (softmax over the last axis)", 2, lambda out: out.log_softmax(-1)
)
_LOGARITHMS = Averaging("log_probabilities", "probabilities (exp of the outputs)", 1, lambda output: output)
_BINARY = Averaging(
    "binary_probabilities", "probabilities (sigmoid of the outputs)", 1, _two_sides, lambda sides: sides[0] - sides[1]
)

AVERAGES = {each.name: each for each in (_CLASSES, _LAST, _LOGARITHMS, _BINARY, OUTPUTS, LIKELIHOODS)}
"""What can be averaged, by name."""

BY_MEANING: Mapping[str, Averaging] = {"sides": _BINARY, "logarithms": _LOGARITHMS, "numbers": OUTPUTS}
"""The average of what a function takes its input for: see :data:`weightstring.problem.averaging.watching.As`."""

Predict = Callable[[object], object]
"""``predict(output)``: the predictions in a module's output, a tensor."""


@dataclass(frozen=True, eq=False)
class Predictions:
    """Where the predictions are in an output, and how they are averaged.

    Args:
        by: how.
        place: which of its leaves they are; None: ``predict`` computes them, and loss and metrics take the average in
            place of an output.
        predict: the caller's own.
    """

    by: Averaging
    place: int | None
    predict: Predict | None = None

    def of(self, output: object) -> object:
        """The predictions."""
        if self.place is not None:
            return leaves_of(output)[self.place]
        return output if self.predict is None else self.predict(output)

    def put(self, output: object, predictions: object) -> object:
        """The output with other predictions."""
        if self.place is None:
            return predictions
        leaves = leaves_of(output)
        leaves[self.place] = predictions
        return rebuilt(output, leaves)

    def mean(self, outputs: Iterable[object]) -> object:
        """An output with the average of several outputs' predictions; one at a time is held beside their sum.

        >>> Predictions(OUTPUTS, 0).mean([{"y": torch.zeros(1), "n": 3}, {"y": torch.ones(1), "n": 3}])
        {'y': tensor([0.5000]), 'n': 3}
        """
        last: list[object] = []

        def predictions() -> Iterator[object]:
            for output in outputs:
                last[:] = [output]
                yield self.of(output)

        average = self.by.mean(predictions())
        return self.put(last[0], average)


class Averaged(NamedTuple):
    """Quantities of an average of predictions, by name, and how it was taken."""

    values: dict[str, float]
    by: Averaging


def measure_average(
    computation: Computation,
    thetas: Thetas | Sequence[Theta],
    train: DataSet,
    wanted: Wanted,
    predictions: Predictions,
    at_once: int,
) -> Float64[Tensor, " Q"]:
    """Quantities of the average of K models' (K, P) predictions, in the order wanted.

    As :meth:`Computation.measure` measures one model: in evaluation mode, each model with its own running
    statistics, ``at_once`` examples at a time, of which one model's outputs are held beside the sum.

    Raises:
        InvalidModel: the module's outputs cannot be averaged.
    """
    with torch.no_grad():
        statistics = estimates(computation, thetas, train)
        values, like = [], next(iter(computation.evaluating.module.parameters())).detach()
        for examples, means in wanted:
            tally = Tally(means, len(examples), like)
            for part in examples.chunks(at_once):
                outputs = (_output(computation, thetas, i, part, each) for i, each in enumerate(statistics))
                tally.take(predictions.mean(outputs), part)
            values.append(tally.values())
        return torch.cat(values)


def _output(
    computation: Computation, thetas: Thetas | Sequence[Theta], index: int, part: DataSet, buffers: Mapping[str, Tensor]
) -> object:
    """One model's output, of which alone it is left: a name for the model would hold it while the next is made."""
    with computation.at(thetas, index) as theta:
        return computation.evaluating(theta, part, buffers)


def estimates(
    computation: Computation, thetas: Thetas | Sequence[Theta], train: DataSet
) -> Sequence[Mapping[str, Tensor]]:
    """:meth:`Computation.estimate` of each model; where nothing is a function of θ, none of them is made for it."""
    if computation.fixed:
        return [EMPTY] * len(thetas)
    return [computation.estimate(thetas[i], train) for i in range(len(thetas))]


def measure_mixture(
    computation: Computation, thetas: Thetas | Sequence[Theta], train: DataSet, examples: DataSet, loss: Mean
) -> Float64[Tensor, ""]:
    """The loss of the mixture of K models (K, P): −log of the mean of exp(−loss), on each example by itself.

    For a loss that is the negative log likelihood of each example, that of the ensemble's own distribution.

    Raises:
        Unsupported: the loss is no mean over examples.
    """
    if loss.kind != "mean":
        raise Unsupported("likelihoods are averaged where the loss is a plain mean over examples")
    total: Tensor | None = None
    for i in range(len(thetas)):
        each = -measure_each(computation, thetas[i], train, examples, loss).sums
        total = each if total is None else torch.logaddexp(total, each)
    assert total is not None
    return (math.log(len(thetas)) - total).mean()
