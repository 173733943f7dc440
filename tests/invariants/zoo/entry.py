"""One module as people write it, with data and a loss, and what is to become of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from weightstring.errors import WeightstringError

Refusal = tuple[type[WeightstringError], str]
BOTH = (torch.float32, torch.float64)


def draw(*shape: int) -> Callable[[int], Tensor]:
    """Inputs of n examples, off the origin."""
    return lambda n: 0.5 + torch.randn(n, *shape)


def classes(count: int, *shape: int) -> Callable[[int], Tensor]:
    """Class numbers of n examples, or tokens."""
    return lambda n: torch.randint(count, (n, *shape))


def accuracy(output: Tensor, targets: Tensor) -> Tensor:
    return (output.argmax(1) == targets).to(output.dtype).mean()


THREE, TWO = draw(3), draw(2)


@dataclass(frozen=True, kw_only=True)
class Entry:
    """A module in the zoo. By default it has three inputs and two outputs, and its loss is the squared error.

    Args:
        name: what is special about it.
        net: builds it; seeded by the harness, so that each call gives the same.
        inputs: inputs of n examples: a tensor, a tuple (``net(*x)``) or a dict (``net(**x)``).
        targets: targets of n examples.
        loss: ``loss(output, targets)``: the mean, or (sum, weight).
        loss_of: in its place, makes the loss of the net: a loss that closes over it.
        metrics: further means.
        options: further arguments of ``ModuleProblem``.
        refused: the error and what its message names, where the module cannot be explored as it is; by dtype
            where that differs.
        draws: its training mode draws, so that a gradient is only compared with itself.
        dtypes: in which it is tried.
        warns: patterns of warnings that torch or a library gives about it.
    """

    name: str
    net: Callable[[], nn.Module]
    inputs: Callable[[int], Any] = THREE
    targets: Callable[[int], Any] = TWO
    loss: Callable[..., Any] = functional.mse_loss
    loss_of: Callable[[nn.Module], Callable[..., Any]] | None = None
    metrics: Mapping[str, Callable[..., Any]] = field(default_factory=dict)
    options: Mapping[str, Any] = field(default_factory=dict)
    refused: Refusal | None = None
    draws: bool = False
    dtypes: tuple[torch.dtype, ...] = BOTH
    warns: tuple[str, ...] = ()
    slow: bool = False


class Net(nn.Module):
    """Modules, parameters and buffers by name, and a function of them and the inputs: a module in one line."""

    def __init__(self, function: Callable[..., Any], **held: Any) -> None:
        super().__init__()
        self.function = function
        for name, value in held.items():
            if isinstance(value, Tensor) and not isinstance(value, nn.Parameter):
                self.register_buffer(name, value)
            else:
                setattr(self, name, value)

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        return self.function(self, *args, **kwargs)


def param(*shape: int, scale: float = 0.5) -> nn.Parameter:
    return nn.Parameter(scale * torch.randn(*shape))
