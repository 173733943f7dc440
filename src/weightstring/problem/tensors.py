"""A module's parameters and buffers by name, and whether two hold the same numbers."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn


def named_tensors(net: nn.Module) -> dict[str, Tensor]:
    """Parameters and buffers by name, a tied one under each of its names."""
    return {
        **dict(net.named_parameters(remove_duplicate=False)),
        **dict(net.named_buffers(remove_duplicate=False)),
    }


def slot_names(net: nn.Module) -> frozenset[str]:
    """One name for each place that holds a parameter or buffer.

    A module registered under two names has one place with two names; two modules that share a
    tensor have two places. ``functional_call`` must fill every place, and each once: it restores
    a place that was filled twice to the first filling instead of the original.
    """
    return frozenset(
        name
        for prefix, module in net.named_modules()
        for tensors in (module.named_parameters, module.named_buffers)
        for name, _ in tensors(prefix, recurse=False, remove_duplicate=False)
    )


def clone_tied(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Detached copies, where names that share a tensor share its copy.

    >>> shared = torch.zeros(2)
    >>> copies = clone_tied({"a": shared, "b": shared})
    >>> copies["a"] is copies["b"], copies["a"] is shared
    (True, False)
    """
    copies = {id(tensor): tensor.detach().clone() for tensor in tensors.values()}
    return {name: copies[id(tensor)] for name, tensor in tensors.items()}


def identical(first: Tensor, second: Tensor) -> bool:
    """Whether two tensors of one shape hold the same numbers, NaN equal to NaN.

    >>> identical(torch.tensor([1.0, torch.nan]), torch.tensor([1.0, torch.nan]))
    True
    """
    return torch.equal(first, second) or bool(((first == second) | ((first != first) & (second != second))).all())
