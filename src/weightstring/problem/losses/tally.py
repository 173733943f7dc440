"""Adding up means over the parts of a set."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeAlias

import torch
from jaxtyping import Float64
from torch import Tensor

from weightstring.memory import DoesNotFit, is_out_of_memory, most_bytes
from weightstring.problem.datasets.data import DataSet, joined
from weightstring.problem.losses.folded import Folded, FromSums, value_of
from weightstring.problem.losses.means import REMEDY, Mean, Number, number
from weightstring.problem.outputs import gathered, tensors_of

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

    >>> from torch import nn
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
        return torch.stack([self._pair(i) for i in range(len(self._means))])

    def _pair(self, i: int) -> Tensor:
        state = self._states.get(i)
        if isinstance(state, FromSums):
            return state.sums.to(self._like.device)
        amount, weight = self._totals[i]
        return torch.stack([amount, number(weight, amount)])

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
