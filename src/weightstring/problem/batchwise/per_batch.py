"""Losses and metrics that take the module and a batch, and what they return.

Over a set, a quantity is Σ s_b / Σ w_b: a function of the data alone, however they are cut into batches, if each batch
gives its sum and the weight by which that is to be divided.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from numbers import Real
from typing import Any, TypeAlias, cast

import torch
from torch import Tensor, nn

from weightstring.errors import InvalidSetting
from weightstring.problem.datasets.data import DataSet, form
from weightstring.problem.functional import forward
from weightstring.problem.losses.folded import Folded
from weightstring.problem.losses.means import Number

HALF = (torch.float16, torch.bfloat16)


@dataclass(frozen=True, eq=False)
class MeanOf:
    """A mean over a batch with its weight: what it is a mean of, counted.

    Args:
        mean: a tensor without axes, such as a loss with ``reduction="mean"``.
        weight: how many examples, tokens or nodes it is the mean of, or the sum of their weights; independent of θ.

    >>> MeanOf(torch.tensor(0.5), 8)
    MeanOf(mean=tensor(0.5000), weight=8)
    """

    mean: Number
    weight: Number


Sums: TypeAlias = tuple[Any, Number]
"""A sum and its weight; or a :class:`Folded` and 0."""

Returned: TypeAlias = MeanOf | Sums | Folded
"""What a metric returns of one batch; a loss no :class:`Folded`, which has no gradient."""

BatchLoss: TypeAlias = Callable[[nn.Module, object], Returned | Mapping[str, Returned]]
"""``loss(net, batch)``: (sum, weight) or :class:`MeanOf`; or a dict of these by name, with ``"loss"`` among them."""


def sums_of(label: str, value: object) -> Sums:
    """What adds up over batches: a sum and a weight.

    Raises:
        InvalidSetting: neither (sum, weight) nor :class:`MeanOf`, or no numbers.
    """
    if isinstance(value, Folded):
        return value, 0
    mean = isinstance(value, MeanOf)
    parts = [value.mean, value.weight] if isinstance(value, MeanOf) else value
    if not isinstance(parts, tuple | list) or len(parts) != 2 or not all(map(_is_number, parts)):
        raise InvalidSetting(
            f"{label} returned {_described(value)} of a batch: it must return (sum, weight), or "
            "ws.MeanOf(mean, weight) with the number of examples or tokens that it is the mean of; their totals' "
            "ratio is the value of all batches"
        )
    amount, weight = parts
    if mean:
        weights = torch.as_tensor(weight, dtype=torch.float64, device=getattr(amount, "device", None))
        # The mean over a batch in which nothing counts is 0 / 0, its sum 0.
        return torch.where(weights == 0, 0.0, torch.as_tensor(amount, dtype=torch.float64) * weights), weight
    return (amount.float() if isinstance(amount, Tensor) and amount.dtype in HALF else amount), weight


def _is_number(value: object) -> bool:
    return value.ndim == 0 and not value.is_complex() if isinstance(value, Tensor) else isinstance(value, Real)


def _described(value: object) -> str:
    if isinstance(value, MeanOf):
        return f"MeanOf({_described(value.mean)}, {_described(value.weight)})"
    if isinstance(value, tuple | list):
        return "(" + ", ".join(map(_described, value)) + ")"
    return form(value) if isinstance(value, Tensor) else f"a {type(value).__name__}"


class Outcome:
    """Sums and weights of some batches by name; metrics that need passes of their own take them when asked for.

    It is read before the module holds another θ.
    """

    def __init__(self, net: nn.Module, batches: DataSet, call: PerBatch) -> None:
        self._net, self._batches, self._call = net, batches, call
        each = [call.of_loss(net, batch) for batch in batches.inputs]
        shared = [name for name in each[0] if all(name in found for found in each)]
        self.found = {name: _total(found[name] for found in each) for name in shared}

    def __getitem__(self, name: str) -> Sums:
        if name not in self.found and name in self._call.metrics:
            each = (self._call.sums(self._net, batch, name) for batch in self._batches.inputs)
            self.found[name] = _total(each)
        if name not in self.found:
            raise InvalidSetting(
                f"loss returned {', '.join(self.found)} of a batch, but {name!r} too of another: return the same "
                "names for every batch"
            )
        return self.found[name]


def _total(each: Iterable[Sums]) -> Sums:
    (amount, weight), *others = each
    for more, further in others:
        amount, weight = amount + more, weight + further
    return amount, weight


@dataclass(frozen=True, eq=False)
class PerBatch:
    """How a module is called with batches: by the loss, and by the metrics that are functions of their own."""

    loss: BatchLoss
    metrics: Mapping[str, BatchLoss] = field(default_factory=dict)

    def __call__(self, net: nn.Module, examples: DataSet) -> object:
        """The sums and weights of these batches; the module's output of a single call."""
        return forward(net, examples) if examples.together else Outcome(net, examples, self)

    def sums(self, net: Callable[..., object], batch: object, name: str) -> Sums:
        """One quantity of one batch, by the module or what stands in for it."""
        if name not in self.metrics:
            return self.of_loss(net, batch)[name]
        return sums_of(name, self.metrics[name](cast(nn.Module, net), batch))

    def of_loss(self, net: Callable[..., object], batch: object) -> dict[str, Sums]:
        """What the loss returns of one batch, by name.

        Raises:
            InvalidSetting: neither (sum, weight), :class:`MeanOf` nor a dict of these with a loss.
        """
        returned = self.loss(cast(nn.Module, net), batch)
        if not isinstance(returned, Mapping):
            return {"loss": sums_of("loss", returned)}
        if "loss" not in returned:
            raise InvalidSetting(f"loss returned a dict of {', '.join(map(str, returned))}: one must be called 'loss'")
        return {name: sums_of(f"loss's {name!r}", value) for name, value in returned.items()}


@dataclass(frozen=True, eq=False)
class Picked:
    """The criterion that reads one quantity off an :class:`Outcome`."""

    name: str

    def __call__(self, outcome: Outcome, targets: Tensor) -> Sums:
        """Its sum and weight."""
        return outcome[self.name]
