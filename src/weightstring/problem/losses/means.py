"""How a criterion's value over a whole set comes from parts of it, as every measurement and gradient takes it.

Of parts p with n_p examples, values v_p and weights w_p, the value over all is one of

- ``mean``: Σ n_p v_p / Σ n_p, a plain mean over examples;
- ``ratio``: Σ s_p / Σ w_p, where each part has a sum s_p and a weight w_p: class weights, ignored tokens;
- ``sum``: Σ v_p;
- ``folded``: a function of what parts add up to, which is no number: see :mod:`weightstring.problem.losses.folded`;
- ``whole``: the criterion of all outputs at once, which are computed in parts and put together.

Which it is, is found out once, when the problem is built: see :mod:`weightstring.problem.inspection.additive`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple, TypeAlias

import torch
from torch import Tensor, nn

from weightstring.errors import InvalidSetting
from weightstring.problem.datasets.data import DataSet
from weightstring.problem.losses.folded import Folded, FromSums, value_of
from weightstring.problem.losses.known import denominator, reduced
from weightstring.problem.losses.sighted import sees

Number: TypeAlias = Tensor | float
"""A tensor without axes, or a number."""

Criterion: TypeAlias = Callable[..., Tensor]
"""``criterion(output, targets)``: a scalar. A metric may also return a number."""

Given: TypeAlias = Callable[..., Number | tuple[Number, Number]]
"""What a caller may give for it: it returns a scalar, or (sum, weight)."""

Kind = Literal["mean", "ratio", "sum", "folded", "whole"]

REMEDY = "return (sum, weight) from it if it is a ratio of two sums over examples"


class Weighed(NamedTuple):
    """The value on some examples, of one model or several, and its weight among those on others."""

    value: Tensor
    weight: Number


@dataclass(frozen=True, eq=False)
class Mean:
    """A criterion, and how its value over a set comes from parts. Called, it is the criterion of what it is given.

    Args:
        given: the criterion as the caller gave it.
        kind: see above.
        loss: torch's own loss that it is, where a ``ratio`` is known by that.
        rows: of a ``whole`` one: how many rows each tensor of the output has for one example; 0: it is constant.
        pair: of a ``folded`` one that is a function of two sums, that function.

    >>> mean = Mean(nn.NLLLoss(weight=torch.tensor([1.0, 3.0])), "ratio", nn.NLLLoss(weight=torch.tensor([1.0, 3.0])))
    >>> mean.weighed(torch.tensor([[-1.0, -2.0], [-1.0, -2.0]]), torch.tensor([0, 1]))
    Weighed(value=tensor(1.7500), weight=tensor(4., dtype=torch.float64))
    """

    given: Given
    kind: Kind = "mean"
    loss: nn.Module | None = None
    rows: tuple[int, ...] = (1,)
    pair: Callable[[Tensor], Number] | None = None

    def __call__(self, output: object, targets: Tensor, inputs: object = None) -> Tensor:
        """The criterion of these examples alone."""
        if self.kind == "folded":
            return value_of(self.state(output, targets, inputs), targets)
        return self.weighed(output, targets, inputs).value

    @property
    def sees(self) -> bool:
        """Whether it is called with inputs too: see :mod:`weightstring.problem.losses.sighted`."""
        return sees(self.given)

    @property
    def scalar(self) -> Criterion:
        """The criterion as a function that returns a scalar: the caller's own, unless that returns (sum, weight)."""
        own = self.kind == "folded" or (self.kind == "ratio" and self.loss is None)
        return self if own else self.given  # type: ignore[return-value]

    @property
    def adds(self) -> bool:
        """Whether the values of parts determine that of the whole."""
        return self.kind not in ("folded", "whole")

    @property
    def alone(self) -> bool:
        """Whether it is measured model by model in plain PyTorch, whatever the engine."""
        return self.sees or self.kind == "folded"

    def sums(self, output: object, targets: Tensor, inputs: object = None) -> tuple[Number, Number]:
        """What adds up over parts: an amount and a divisor (0: the total is not divided)."""
        if self.loss is not None:
            return _sum_of(self.loss, output, targets), denominator(self.loss, targets)
        returned = self.given(output, targets, inputs) if self.sees else self.given(output, targets)
        if isinstance(returned, tuple | list):
            return returned[0], returned[1]
        return (returned, len(targets)) if self.kind == "mean" else (returned, 0)

    def state(self, output: object, targets: Tensor, inputs: object = None) -> Folded:
        """Of a ``folded`` one what these examples add."""
        returned = self.given(output, targets, inputs) if self.sees else self.given(output, targets)
        found = returned[0] if isinstance(returned, tuple) else returned
        assert isinstance(found, Folded)
        return found

    def amounts(self, output: object, targets: Tensor, like: Tensor, inputs: object = None) -> tuple[Tensor, Number]:
        """:meth:`sums` in float64, the amount of a mean times its number of examples."""
        amount, weight = self.sums(output, targets, inputs)
        if self.kind == "mean":
            return number(amount, like) * weight, weight
        return number(amount, like), weight if self.kind != "ratio" else number(weight, like)

    def total(self, amount: Tensor, weight: Number) -> Tensor:
        """The value of the whole from totals over its parts."""
        if self.pair is not None:
            pairs = torch.stack([amount, number(weight, amount)], dim=-1)
            return torch.stack([value_of(FromSums(pair, self.pair), amount) for pair in pairs.view(-1, 2)]).view_as(
                amount
            )
        return amount / weight if self.kind in ("mean", "ratio") else amount

    def weighed(self, output: object, targets: Tensor, inputs: object = None) -> Weighed:
        """The differentiable value on these examples, and their weight; without any weight 0, not NaN.

        Raises:
            InvalidSetting: a weight that depends on θ by ways known to autograd.
        """
        amount, weight = self.sums(output, targets, inputs)
        value = amount if isinstance(amount, Tensor) else number(amount, targets)
        if self.kind != "ratio":
            return Weighed(value, weight)
        weight = weight_of(torch.as_tensor(weight, device=value.device))
        return Weighed(ratio(value, weight.to(value)), weight)


def _sum_of(loss: nn.Module, output: object, targets: Tensor) -> Tensor:
    """A torch loss with reduction by sum."""
    total: Tensor = reduced(loss, "sum")(output, targets)
    return total


def weight_of(weight: Tensor) -> Tensor:
    """The weight, checked to have no gradient.

    Raises:
        InvalidSetting: it has one.
    """
    if weight.requires_grad:
        raise InvalidSetting(
            "loss_fn returned (sum, weight) with a weight that carries a gradient: the weight must not depend on "
            "theta; compute it from the targets, or .detach() it"
        )
    return weight


def ratio(amount: Tensor, weight: Tensor) -> Tensor:
    """Amount / weight; 0, with gradient 0, where the weight is 0.

    >>> ratio(torch.tensor([6.0, 0.0]), torch.tensor([4.0, 0.0]))
    tensor([1.5000, 0.0000])
    """
    empty = weight == 0
    return torch.where(empty, torch.zeros_like(amount), amount / torch.where(empty, torch.ones_like(weight), weight))


def number(value: Number, like: Tensor) -> Tensor:
    """A criterion's value as float64 on another tensor's device."""
    if isinstance(value, Tensor):
        return value.to(like.device, torch.float64)
    return torch.tensor(value, dtype=torch.float64, device=like.device)  # not by way of the default dtype


Wanted: TypeAlias = Sequence[tuple[DataSet, Sequence[Mean]]]
"""Data sets and what to measure on each."""
