"""torch's own losses, recognised as what they are: by class or function, and only as torch wrote them.

With ``reduction="mean"`` most divide by the number of examples, or of numbers. Cross-entropy and the negative log
likelihood of class indices divide by Σ w_y over the targets that are not ignored (torch's documentation of
``CrossEntropyLoss``, label smoothing included), which the targets alone say.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Sequence
from functools import partial
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.modules import module as hooks

FUNCTIONS: dict[object, type[nn.Module]] = {
    functional.binary_cross_entropy: nn.BCELoss,
    functional.binary_cross_entropy_with_logits: nn.BCEWithLogitsLoss,
    functional.cross_entropy: nn.CrossEntropyLoss,
    functional.huber_loss: nn.HuberLoss,
    functional.kl_div: nn.KLDivLoss,
    functional.l1_loss: nn.L1Loss,
    functional.mse_loss: nn.MSELoss,
    functional.nll_loss: nn.NLLLoss,
    functional.smooth_l1_loss: nn.SmoothL1Loss,
}
"""Functions that, with the same keywords, are one of these modules."""

ELEMENTWISE = (nn.HuberLoss, nn.L1Loss, nn.MSELoss, nn.SmoothL1Loss)
"""Losses that are a mean over numbers, of outputs and targets of one shape."""

BINARY = (nn.BCELoss, nn.BCEWithLogitsLoss)
"""The same, with weights that may be spread over the examples."""

OF_CLASSES = (nn.CrossEntropyLoss, nn.NLLLoss)
"""Losses of class indices, weighted by class."""


def altered(module: nn.Module) -> bool:
    """Whether a module has hooks or an instance ``forward``, and so does more than its class.

    >>> loss = nn.MSELoss()
    >>> handle = loss.register_forward_hook(lambda module, args, output: 2 * output)
    >>> altered(nn.MSELoss()), altered(loss)
    (False, True)
    """
    hooked = (
        module._forward_hooks,
        module._forward_pre_hooks,
        module._backward_hooks,
        module._backward_pre_hooks,
    )
    everywhere = (hooks._global_forward_hooks, hooks._global_forward_pre_hooks, hooks._global_backward_hooks)
    return any(hooked) or any(everywhere) or "forward" in vars(module)


def recognised(criterion: object) -> nn.Module | None:
    """The torch loss that a criterion is; None for anything else, subclasses included.

    Args:
        criterion: a module, its function, or a ``functools.partial`` of that with keywords.

    >>> recognised(partial(functional.huber_loss, delta=0.5))
    HuberLoss()
    >>> recognised(lambda output, target: functional.huber_loss(output, target))
    """
    if isinstance(criterion, nn.Module):
        return criterion if type(criterion) in FUNCTIONS.values() and not altered(criterion) else None
    if type(criterion) is not partial:
        criterion = partial(criterion) if callable(criterion) else partial(object)
    if criterion.args:
        return None
    try:
        return FUNCTIONS[criterion.func](**criterion.keywords)
    except (KeyError, TypeError):  # another function, an object without a hash, or a keyword such as target=
        return None


def understood(
    loss: nn.Module, output: object, targets: Sequence[Iterable[Tensor]], examples: int
) -> Literal["mean", "ratio"] | None:
    """Whether a torch loss is a plain mean over the examples of every set, or a ratio of two sums.

    Args:
        loss: one of torch's own.
        output: of a probe.
        targets: of each set, in parts.
        examples: in the probe.

    Returns:
        None where it depends on more than that: shapes that are spread over each other, another reduction.

    >>> understood(nn.CrossEntropyLoss(ignore_index=0), torch.zeros(2, 3), [(torch.tensor([1, 2]),)], 2)
    'mean'
    >>> understood(nn.CrossEntropyLoss(ignore_index=0), torch.zeros(2, 3), [(torch.tensor([1, 0]),)], 2)
    'ratio'
    """
    known = isinstance(output, Tensor) and output.ndim > 0 and len(output) == examples
    if not known or not isinstance(output, Tensor) or getattr(loss, "reduction", None) != "mean":
        return None
    heads = [next(iter(parts)) for parts in targets]
    same = all(target.shape[1:] == output.shape[1:] for target in heads)
    if type(loss) in ELEMENTWISE:
        return "mean" if same else None
    if type(loss) in BINARY:
        factors = (loss.weight, getattr(loss, "pos_weight", None))
        return "mean" if same and not any(_has_rows(factor, output) for factor in factors) else None
    if type(loss) not in OF_CLASSES or output.ndim < 2:
        return None
    if all(target.is_floating_point() for target in heads):  # of cross-entropy: divided by the number of examples
        return "mean" if same and type(loss) is nn.CrossEntropyLoss else None
    if any(target.is_floating_point() or target.shape[1:] != output.shape[2:] for target in heads):
        return None
    ignores = loss.weight is None and any(has_ignored(loss, part) for parts in targets for part in parts)
    return "ratio" if loss.weight is not None or ignores else "mean"


def _has_rows(factor: Tensor | nn.Module | None, output: Tensor) -> bool:
    """Whether a weight has an entry for each example, which fixes their number."""
    return isinstance(factor, Tensor) and factor.ndim >= output.ndim and factor.shape[0] != 1


def has_ignored(loss: nn.Module, targets: Tensor) -> bool:
    """Whether some targets are not counted."""
    assert isinstance(loss, OF_CLASSES)
    return bool(targets.eq(loss.ignore_index).any())


def denominator(loss: nn.Module, targets: Tensor) -> Tensor:
    """What a loss of class indices divides its sum by: Σ w_y over the targets that are not ignored.

    >>> denominator(nn.NLLLoss(weight=torch.tensor([1.0, 5.0]), ignore_index=-1), torch.tensor([1, 0, 1, -1]))
    tensor(11., dtype=torch.float64)
    """
    return costs(loss, targets).sum(dtype=torch.float64)


def costs(loss: nn.Module, targets: Tensor) -> Tensor:
    """What each target adds to the :func:`denominator`."""
    assert isinstance(loss, OF_CLASSES)
    counted = targets.ne(loss.ignore_index)
    weight = loss.weight
    if weight is None:
        return counted
    # Class 0 stands in for what is ignored, which may be no class.
    return torch.where(counted, weight[targets.where(counted, 0)], 0.0)


def reduced(loss: nn.Module, reduction: str) -> nn.Module:
    """The same loss with another reduction; its constants are shared."""
    other = copy.copy(loss)
    other.reduction = reduction  # type: ignore[assignment]
    return other
