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
from jaxtyping import Float64
from torch import Tensor, nn

from weightstring.errors import InvalidSetting
from weightstring.memory import DoesNotFit, is_out_of_memory, most_bytes
from weightstring.problem.datasets.data import DataSet, joined
from weightstring.problem.losses.folded import Folded, value_of
from weightstring.problem.losses.known import denominator, reduced
from weightstring.problem.losses.sighted import sees
from weightstring.problem.outputs import gathered, tensors_of

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

    >>> mean = Mean(nn.NLLLoss(weight=torch.tensor([1.0, 3.0])), "ratio", nn.NLLLoss(weight=torch.tensor([1.0, 3.0])))
    >>> mean.weighed(torch.tensor([[-1.0, -2.0], [-1.0, -2.0]]), torch.tensor([0, 1]))
    Weighed(value=tensor(1.7500), weight=tensor(4., dtype=torch.float64))
    """

    given: Given
    kind: Kind = "mean"
    loss: nn.Module | None = None
    rows: tuple[int, ...] = (1,)

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

Amounts: TypeAlias = Callable[[Mean, object, Tensor], tuple[Tensor, Number]]
"""What of a mean adds up, of an output and targets: :meth:`Mean.amounts` of one model, or of several at once."""


class Tally:
    """Adds up means over the parts of a set.

    Args:
        means: what is measured.
        examples: how many the set has.
        like: a tensor where θ lives.
        amounts: what adds up of one part; of one model unless given, and then of no criterion that sees inputs.
        axis: of the examples in an output.

    >>> tally = Tally([Mean(nn.MSELoss()), Mean(lambda output, target: output.max(), "whole")], 3, torch.ones(1))
    >>> tally.add(torch.tensor([2.0]), torch.tensor([0.0]))
    >>> tally.add(torch.tensor([1.0, 3.0]), torch.tensor([0.0, 0.0]))
    >>> tally.values()
    tensor([4.6667, 3.0000], dtype=torch.float64)
    """

    def __init__(
        self, means: Sequence[Mean], examples: int, like: Tensor, amounts: Amounts | None = None, axis: int = 0
    ) -> None:
        self._means = means
        self._examples = examples
        self._like = like
        self._amounts = amounts
        self._axis = axis
        self._totals: dict[int, tuple[Tensor, Number]] = {}
        self._states: dict[int, Folded] = {}
        self._kept: list[tuple[object, Tensor, object]] = []
        self._sees = any(mean.sees for mean in means)
        self._whole = [i for i, mean in enumerate(means) if mean.kind == "whole"]

    def add(self, output: object, targets: Tensor, inputs: object = None) -> None:
        """Take in the output of the next part."""
        for i, mean in enumerate(self._means):
            if mean.adds:
                amount, weight = self._of(mean, output, targets, inputs)
                before = self._totals.get(i)
                self._totals[i] = (amount, weight) if before is None else (before[0] + amount, before[1] + weight)
            elif mean.kind == "folded":
                state = mean.state(output, targets, inputs)
                self._states[i] = self._states[i] + state if i in self._states else state
        if self._whole:
            self._kept.append((output, targets, inputs if self._sees else None))
            if len(self._kept) == 1:
                check_fits(output, len(targets), self._examples, self._like.device)

    def take(self, output: object, part: DataSet) -> None:
        """Take in the output of the next part, and its inputs where they are looked at: they may have to be read."""
        self.add(output, part.targets, part.inputs if self._sees else None)

    def values(self) -> Float64[Tensor, "... Q"]:
        """The values over all parts, in the order of the means."""
        values = {i: self._means[i].total(*total) for i, total in self._totals.items()}
        values |= {i: value_of(state, self._like) for i, state in self._states.items()}
        if self._whole:
            whole = self._gathered()
            values |= {i: self._of(self._means[i], *whole)[0] for i in self._whole}
        return torch.stack([values[i] for i in range(len(self._means))], dim=-1)

    def totals(self) -> Float64[Tensor, "Q 2"]:
        """Amounts and weights over all parts, of means that add up: what :meth:`Mean.total` makes a value of."""
        pairs = [self._totals[i] for i in range(len(self._means))]
        return torch.stack([torch.stack([amount, number(weight, amount)]) for amount, weight in pairs])

    def _of(self, mean: Mean, output: object, targets: Tensor, inputs: object) -> tuple[Tensor, Number]:
        if self._amounts is not None:
            return self._amounts(mean, output, targets)
        return mean.amounts(output, targets, self._like, inputs)

    def _gathered(self) -> tuple[object, Tensor, object]:
        if len(self._kept) == 1:
            return self._kept[0]
        outputs, targets, inputs = zip(*self._kept, strict=True)
        try:
            rows = self._means[self._whole[0]].rows
            together = joined(inputs) if self._sees else None
            return gathered(outputs, rows, self._axis), torch.cat(targets), together
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
            raise DoesNotFit(does_not_fit(self._examples)) from None


def check_fits(output: object, part: int, examples: int, device: torch.device) -> None:
    """Refuse to keep a whole set's outputs if they take too much memory.

    Args:
        output: of a part.
        part: examples in it.
        examples: in the set.
        device: where they are kept.

    Raises:
        DoesNotFit: they do.
    """
    needed = sum(leaf.numel() * leaf.element_size() for leaf in tensors_of(output)) * examples // max(part, 1)
    if needed > most_bytes(device):
        raise DoesNotFit(f"{does_not_fit(examples)} (they take {needed / 2**30:.3g} GiB)")


def does_not_fit(examples: int) -> str:
    """The message for outputs of a whole set that do not fit."""
    return (
        f"a loss or metric is no mean over examples and is measured on all {examples} outputs at once, which do not "
        f"fit into memory: {REMEDY}, or measure it on fewer examples"
    )
