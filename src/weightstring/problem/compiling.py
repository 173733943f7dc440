"""``torch.compile``, without its words."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn

OPTIONS: dict[str, str | int | bool | Callable[..., object]] = {"fallback_random": True}
"""Compiled passes draw as others do, or dropout would be another function of its seed."""


class Compiled(nn.Module):
    """A module that ``torch.compile`` computes; whatever else is asked of it is asked of the module."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net
        with quiet():  # torch.compile imports its compiler here
            self._pass = torch.compile(net, options=OPTIONS)

    def forward(self, *args: object, **kwargs: object) -> object:
        """The module's output."""
        with quiet():
            return self._pass(*args, **kwargs)

    def __getattr__(self, name: str) -> Any:
        try:
            return super().__getattr__(name)
        except AttributeError:
            return getattr(super().__getattr__("net"), name)


@contextmanager
def quiet() -> Iterator[None]:
    """Silence torch.compile's warnings, which the caller cannot act on."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
