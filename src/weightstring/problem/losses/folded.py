"""Quantities whose value over a set is no mean, though what it is computed from adds up: perplexity, F1, AUROC.

Of each part such a quantity gives a state instead of a value; states are added, and the value is that of their total.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol, TypeVar, runtime_checkable

import torch
from torch import Tensor

from weightstring.errors import InvalidSetting

Own = TypeVar("Own", bound="Folded")


@runtime_checkable
class Folded(Protocol):
    """What a part of a set adds to a quantity of the whole."""

    def __add__(self: Own, other: Own) -> Own:
        """That of both parts together."""

    def value(self) -> Tensor | float:
        """The quantity of what was added up."""


@dataclass(frozen=True, eq=False)
class FromSums:
    """A quantity that is a function of sums over the set, such as F1 of hits and misses.

    Args:
        sums: over these examples (S,); kept in float64.
        compute: the quantity, one number, of their totals.

    >>> f1 = lambda sums: 2 * sums[0] / (sums[1] + sums[2])  # of hits, predicted and positive ones
    >>> (FromSums(torch.tensor([1, 2, 1]), f1) + FromSums(torch.tensor([0, 0, 1]), f1)).value().item()
    0.5
    """

    sums: Tensor
    compute: Callable[[Tensor], Tensor | float]

    def __post_init__(self) -> None:
        if not isinstance(self.sums, Tensor) or self.sums.ndim != 1 or not callable(self.compute):
            raise InvalidSetting(
                f"FromSums({type(self.sums).__name__}, {type(self.compute).__name__}): pass a tensor with one axis and "
                "a function of it"
            )
        object.__setattr__(self, "sums", self.sums.detach().double())

    def __add__(self, other: FromSums) -> FromSums:
        """Sums over both."""
        return FromSums(self.sums + other.sums, self.compute)

    def value(self) -> Tensor | float:
        """The quantity."""
        return self.compute(self.sums)


def value_of(folded: Folded, like: Tensor) -> Tensor:
    """The quantity of a state, float64 on another tensor's device.

    Raises:
        InvalidSetting: it is no single number.
    """
    value = torch.as_tensor(folded.value(), dtype=torch.float64, device=like.device)
    if value.numel() != 1:
        raise InvalidSetting(
            f"a metric's value has shape {tuple(value.shape)}: it must be one number; average it over classes, or give "
            "each its own name"
        )
    return value.detach().reshape(())
