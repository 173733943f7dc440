"""The average of several models' predictions (an ensemble), measured as if it were one model's output.

What is averaged depends on what an output means to the loss. Cross-entropy takes logits, whose average is not that
of the probabilities they stand for; the mean probabilities are handed back as logits, so that the user's own loss
and metrics measure them. Means of probabilities are taken of their logarithms, where nothing underflows.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import NamedTuple

import torch
from jaxtyping import Float64
from torch import Tensor, nn
from torch.nn import functional

from weightstring.arrays import Thetas
from weightstring.errors import InvalidModel, InvalidSetting
from weightstring.problem.data import DataSet
from weightstring.problem.functional import Computation
from weightstring.problem.known import recognised
from weightstring.problem.means import Given, Tally, Wanted


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
            raise InvalidModel(f"the module returns a {kind}: only outputs that are one floating tensor are averaged")
        if output.ndim < self.axes:
            raise InvalidModel(
                f"an output has shape {tuple(output.shape)}: average={self.name!r} takes {self.axes} axes or more"
            )
        return output


def _two_sides(logits: Tensor) -> Tensor:
    """Logarithms of both probabilities of a logit, (n, …) → (2, n, …)."""
    return torch.stack([functional.logsigmoid(logits), functional.logsigmoid(-logits)])


_OUTPUTS = Averaging("outputs", "outputs")
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

AVERAGES = {each.name: each for each in (_CLASSES, _LAST, _LOGARITHMS, _BINARY, _OUTPUTS)}
"""What can be averaged, by name."""

_KNOWN: tuple[tuple[tuple[type[nn.Module], ...], Averaging], ...] = (
    ((nn.CrossEntropyLoss,), _CLASSES),
    ((nn.NLLLoss, nn.KLDivLoss), _LOGARITHMS),
    ((nn.BCEWithLogitsLoss,), _BINARY),
)


def averaging(loss_fn: Given, name: str | None = None) -> Averaging:
    """What to average: as named, or as torch's own losses read an output; plain outputs for any other loss.

    Args:
        loss_fn: a module or function; of a ``functools.partial`` the function inside decides.
        name: one of :data:`AVERAGES`; None: by the loss.

    Raises:
        InvalidSetting: an unknown name.

    >>> averaging(nn.CrossEntropyLoss()).name, averaging(nn.MSELoss()).name
    ('probabilities', 'outputs')
    """
    if name is not None:
        if not isinstance(name, str) or name not in AVERAGES:
            raise InvalidSetting(f"average={name!r}: choose one of {', '.join(AVERAGES)}, or None to go by the loss")
        return AVERAGES[name]
    # A subclass may read its output in another way, so only torch's own count.
    kind = type(recognised(loss_fn))
    return next((known for losses, known in _KNOWN if kind in losses), _OUTPUTS)


class Averaged(NamedTuple):
    """Quantities of an average of predictions, by name, and how it was taken."""

    values: dict[str, float]
    by: Averaging


def measure_average(
    computation: Computation, thetas: Thetas, train: DataSet, wanted: Wanted, by: Averaging
) -> Float64[Tensor, " Q"]:
    """Quantities of the average of K models' (K, P) predictions, in the order wanted.

    As :meth:`Computation.measure` measures one model: in evaluation mode, each model with its own running
    statistics, as many examples at a time, of which one model's outputs are held beside the sum.

    Raises:
        InvalidModel: the module's outputs cannot be averaged.
    """
    with torch.no_grad():
        statistics = [computation.estimate(theta, train) for theta in thetas]
        values = []
        for examples, means in wanted:
            tally = Tally(means, len(examples), thetas)
            for part in examples.chunks(computation.block):
                models = zip(thetas, statistics, strict=True)
                output = by.mean(computation.evaluating(theta, part, buffers) for theta, buffers in models)
                tally.add(output, part.targets, part.inputs)
            values.append(tally.values())
        return torch.cat(values)
