"""A criterion of many models' outputs at once.

``vmap`` does that for any criterion, by operations that are several times slower than a loss's own kernel. For
the usual means over examples, the kernel computes each example's share of all models, and means are taken after.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import TypeAlias

import torch
from torch import Tensor, nn
from torch.func import vmap

from weightstring.problem.losses.known import ELEMENTWISE, costs, recognised, reduced
from weightstring.problem.losses.means import Given, Mean, Number, Weighed, ratio

Each: TypeAlias = Callable[[Tensor, Tensor], Tensor]
"""Outputs of B models (B, n, …) and targets, to a number for each example (B, n)."""

EACH: dict[Given, Each] = {}
"""Metrics that are means over examples, and the numbers of which."""

Together: TypeAlias = Callable[[Tensor, Tensor, bool], Weighed]
"""Outputs (B, n, …), targets, and whether each model has its own, (B, n, …), or all the same, (n, …): to B values
and their weights (B,)."""


def together(mean: Mean) -> Together:
    """A criterion, differentiable, of many models at once.

    >>> loss = together(Mean(nn.MSELoss()))
    >>> loss(torch.tensor([[[1.0], [2.0]], [[3.0], [3.0]]]), torch.tensor([[1.0], [3.0]]), False).value
    tensor([0.5000, 2.0000])
    """
    loss = mean.loss or recognised(mean.given)
    if loss is not None and getattr(loss, "reduction", None) == "mean" and mean.kind in ("mean", "ratio"):
        if type(loss) in ELEMENTWISE:
            return _mean_over_numbers(mean, loss)
        if type(loss) is nn.CrossEntropyLoss:
            return _mean_over_examples(mean, loss)
    each = of_each(mean)
    return mapped(mean) if each is None else _mean_of_each(mean, each)


def misclassified(outputs: Tensor, targets: Tensor) -> Tensor:
    """1 for each example whose largest output is not its class, else 0."""
    return (outputs.argmax(-1) != targets).double()


def of_each(mean: Mean) -> Each | None:
    """Of which numbers a metric is known to be the mean; None: of none that are known."""
    return EACH.get(mean.given) if mean.kind == "mean" and isinstance(mean.given, Hashable) else None


def amounts(mean: Mean, output: object, targets: Tensor) -> tuple[Tensor, Number]:
    """Each model's amount (B,) from outputs (B, n, …) on the same targets, and their weight."""
    assert isinstance(output, Tensor)
    value, weight = together(mean)(output, targets, False)
    if mean.kind == "mean":
        return value.double() * len(targets), len(targets)
    return (value.double() * weight, weight) if mean.kind == "ratio" else (value.double(), 0)


def mapped(mean: Mean) -> Together:
    """By ``vmap``, for any criterion."""

    def value(output: Tensor, targets: Tensor) -> Tensor:
        returned = mean(output, targets)
        return returned if returned.is_floating_point() else returned.double()

    def weighed(output: Tensor, targets: Tensor) -> tuple[Tensor, Number]:
        return mean.weighed(output, targets)

    def of_all(outputs: Tensor, targets: Tensor, separate: bool) -> Weighed:
        places = (0, 0 if separate else None)
        if mean.kind == "ratio":
            return Weighed(*vmap(weighed, places)(outputs, targets))
        return Weighed(vmap(value, places)(outputs, targets), outputs.shape[1])

    return of_all


def _counted(values: Tensor) -> Weighed:
    """Means (B,) of values (B, n, …), each of n examples."""
    return Weighed(values.flatten(1).mean(1), values.shape[1])


def _mean_of_each(mean: Mean, each: Each) -> Together:
    other = mapped(mean)

    def of_all(outputs: Tensor, targets: Tensor, separate: bool) -> Weighed:
        if targets.shape != outputs.shape[0 if separate else 1 : -1]:
            return other(outputs, targets, separate)
        return _counted(each(outputs, targets))

    return of_all


def _mean_over_numbers(mean: Mean, loss: nn.Module) -> Together:
    each, other = reduced(loss, "none"), mapped(mean)

    def of_all(outputs: Tensor, targets: Tensor, separate: bool) -> Weighed:
        if targets.shape != outputs.shape[0 if separate else 1 :]:
            return other(outputs, targets, separate)  # one is spread over the other, and the mean is over more numbers
        return _counted(each(outputs, targets if separate else targets.expand_as(outputs)))

    return of_all


def _mean_over_examples(mean: Mean, loss: nn.CrossEntropyLoss) -> Together:
    each, other = reduced(loss, "none"), mapped(mean)

    def of_all(outputs: Tensor, targets: Tensor, separate: bool) -> Weighed:
        models, examples = outputs.shape[:2]
        if outputs.ndim != 3 or targets.is_floating_point():
            return other(outputs, targets, separate)
        values: Tensor = each(outputs.flatten(0, 1), targets.expand(models, examples).flatten()).view(models, examples)
        if mean.kind == "mean":
            return _counted(values)
        weights = costs(loss, targets).sum(-1, dtype=torch.float64).expand(models)
        return Weighed(ratio(values.sum(1), weights.to(values)), weights)

    return of_all
