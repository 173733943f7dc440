"""A criterion of many models' outputs at once.

``vmap`` does that for any criterion, by operations that are several times slower than a loss's own kernel. For
the usual means over examples, the kernel computes each example's share of all models, and means are taken after.
"""

from __future__ import annotations

import copy
from collections.abc import Callable

from torch import Tensor, nn
from torch.func import vmap
from torch.nn import functional

from weightstring.problem.functional import Criterion, number

Together = Callable[[Tensor, Tensor, bool], Tensor]
"""Outputs (B, n, …), targets, and whether each model has its own, (B, n, …), or all the same, (n, …): to B values."""

FUNCTIONS: dict[object, type[nn.Module]] = {
    functional.cross_entropy: nn.CrossEntropyLoss,
    functional.huber_loss: nn.HuberLoss,
    functional.l1_loss: nn.L1Loss,
    functional.mse_loss: nn.MSELoss,
    functional.smooth_l1_loss: nn.SmoothL1Loss,
}
"""Functions that, with their defaults, are one of these modules."""

ELEMENTWISE = (nn.HuberLoss, nn.L1Loss, nn.MSELoss, nn.SmoothL1Loss)
"""Losses that are a mean over numbers, of outputs and targets of one shape."""


def together(criterion: Criterion) -> Together:
    """A criterion, differentiable, of many models at once.

    >>> import torch
    >>> loss = together(nn.MSELoss())
    >>> loss(torch.tensor([[[1.0], [2.0]], [[3.0], [3.0]]]), torch.tensor([[1.0], [3.0]]), False)
    tensor([0.5000, 2.0000])
    """
    loss = FUNCTIONS[criterion]() if _is_function(criterion) else criterion
    if not isinstance(loss, nn.Module) or not _plain(loss) or getattr(loss, "reduction", None) != "mean":
        return _mapped(criterion)
    if type(loss) in ELEMENTWISE:
        return _mean_over_numbers(loss)
    if type(loss) is nn.CrossEntropyLoss and loss.weight is None:
        return _mean_over_examples(loss)
    return _mapped(criterion)


def _is_function(criterion: Criterion) -> bool:
    try:
        return criterion in FUNCTIONS
    except TypeError:  # an object that has no hash is none of them
        return False


def _plain(loss: nn.Module) -> bool:
    return not (loss._forward_hooks or loss._forward_pre_hooks or "forward" in vars(loss))


def _unreduced(loss: nn.Module) -> nn.Module:
    each = copy.copy(loss)
    each.reduction = "none"  # type: ignore[assignment]
    return each


def _mapped(criterion: Criterion) -> Together:
    def of_one(output: Tensor, targets: Tensor) -> Tensor:
        value = criterion(output, targets)
        return value if isinstance(value, Tensor) and value.is_floating_point() else number(value, output)

    def of_all(outputs: Tensor, targets: Tensor, own: bool) -> Tensor:
        values: Tensor = vmap(of_one, (0, 0 if own else None))(outputs, targets)
        return values

    return of_all


def _mean_over_numbers(loss: nn.Module) -> Together:
    each, mapped = _unreduced(loss), _mapped(loss)

    def of_all(outputs: Tensor, targets: Tensor, own: bool) -> Tensor:
        if targets.shape != outputs.shape[0 if own else 1 :]:
            return mapped(outputs, targets, own)  # one is spread over the other, and the mean is over more numbers
        values: Tensor = each(outputs, targets if own else targets.expand_as(outputs))
        return values.flatten(1).mean(1)

    return of_all


def _mean_over_examples(loss: nn.CrossEntropyLoss) -> Together:
    each, mapped = _unreduced(loss), _mapped(loss)

    def of_all(outputs: Tensor, targets: Tensor, own: bool) -> Tensor:
        models, examples = outputs.shape[:2]
        if outputs.ndim != 3 or targets.is_floating_point() or bool((targets == loss.ignore_index).any()):
            return mapped(outputs, targets, own)
        values: Tensor = each(outputs.flatten(0, 1), targets.expand(models, examples).flatten())
        return values.view(models, examples).mean(1)

    return of_all
