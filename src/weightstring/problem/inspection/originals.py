"""Uses the user's own net without changing it, and makes plain copies of it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from weightstring.arrays import Theta
from weightstring.errors import InvalidModel
from weightstring.problem.buffers import Buffers, still, tracking
from weightstring.problem.checkpoints.checkpoint import state_at
from weightstring.problem.copying import copied
from weightstring.problem.flat import Layout
from weightstring.problem.tensors import identical, named_tensors
from weightstring.text import first_line


@contextmanager
def untouched(net: nn.Module) -> Iterator[None]:
    """Restore a module afterwards: tensors, modes, attributes, and the contents of its lists and dictionaries.

    >>> net = nn.Linear(1, 1)
    >>> with untouched(net):
    ...     net.training, net.cache = False, 3
    >>> net.training, hasattr(net, "cache")
    (True, False)
    """
    values = {id(tensor): (tensor, tensor.detach().clone()) for tensor in named_tensors(net).values()}
    attributes = [(module, dict(vars(module))) for module in net.modules()]
    held = [
        (own, own.copy()) for _, known in attributes for own in known.values() if isinstance(own, list | dict | set)
    ]
    try:
        yield
    finally:
        for container, content in held:
            _refill(container, content)
        for module, known in attributes:
            vars(module).clear()
            vars(module).update(known)
        with torch.no_grad():
            for tensor, value in values.values():
                if not identical(tensor, value):
                    tensor.copy_(value)


@contextmanager
def evaluating(net: nn.Module) -> Iterator[None]:
    """Temporarily set a module's evaluation flags; ``eval`` itself may be overridden and do more."""
    with untouched(net):
        for module in net.modules():
            module.training = False
        yield


@contextmanager
def poisoned(net: nn.Module) -> Iterator[None]:
    """Temporarily replace a module's numbers by NaN, without writing to them, so that whatever reads them shows."""
    tensors = {id(tensor): tensor for tensor in named_tensors(net).values()}
    kept = [(tensor, tensor.data) for tensor in tensors.values() if tensor.is_floating_point()]
    try:
        for tensor, value in kept:
            tensor.data = torch.full((), torch.nan, dtype=value.dtype, device=value.device).expand(value.shape)
        yield
    finally:
        for tensor, value in kept:
            tensor.data = value


def loaded(
    net: nn.Module, layout: Layout, theta: Theta, derived: Mapping[str, Tensor], training: bool, buffers: Buffers
) -> nn.Module:
    """A plain copy of a module that has loaded θ and the buffers derived from it, in the given mode."""
    twin = still(copied(net))
    tensors = named_tensors(twin)
    try:
        twin.load_state_dict(state_at(net, {**layout.views(theta), **derived}, cloned=False))
    except Exception as error:
        raise InvalidModel(
            f"net cannot load what it saves itself ({first_line(error)}): mend its state_dict or load_state_dict"
        ) from error
    for name, value in derived.items():
        tensors[name].copy_(value)
    return in_mode(twin, training, buffers)


def in_mode(net: nn.Module, training: bool, buffers: Buffers) -> nn.Module:
    """The module itself, training or evaluating; layers whose running statistics are constants evaluate."""
    if training:
        net.train()
    else:
        net.eval()
    for module in tracking(net) if buffers == "frozen" else ():
        module.eval()
    return net


def _refill(container: Any, content: Any) -> None:
    if isinstance(container, list):
        container[:] = content
    else:
        container.clear()
        container.update(content)
