"""What each example adds to a mean."""

from __future__ import annotations

from typing import NamedTuple

import torch
from jaxtyping import Float64
from torch import Tensor

from weightstring.arrays import Theta
from weightstring.errors import Unsupported
from weightstring.problem.computation import Computation
from weightstring.problem.datasets.data import DataSet
from weightstring.problem.losses.means import Mean, number
from weightstring.problem.outputs import leaves_of, rebuilt


class Shares(NamedTuple):
    """What each of N examples adds to a quantity, which is Σ sums / Σ weights.

    Args:
        sums: of a plain mean, the quantity of each example by itself.
        weights: of a plain mean, 1 each.
    """

    sums: Float64[Tensor, " N"]
    weights: Float64[Tensor, " N"]

    @property
    def each(self) -> Float64[Tensor, " N"]:
        """N s_i w_i / Σ w: numbers whose plain mean is the quantity of all; 0 for what is ignored."""
        return self.sums * (len(self.weights) / self.weights.sum())


def measure_each(computation: Computation, theta: Theta, train: DataSet, examples: DataSet, mean: Mean) -> Shares:
    """What each unit by itself adds to a quantity; running statistics are estimated on ``train``.

    Raises:
        Unsupported: the quantity is made of all outputs together, so that a single example has none.
    """
    if not mean.adds:
        raise Unsupported(
            "the quantity is no mean over examples but is measured on all outputs together: a single example has none"
        )
    shares = []
    with torch.no_grad():
        statistics = computation.estimate(theta, train)
        for part in examples.chunks(computation.block):
            output = computation.evaluating(theta, part, statistics)
            if not part.together:
                amount, weight = mean.amounts(output, part.targets, theta)
                shares.append((amount[None], number(weight, theta)[None]))
                continue
            shares.append((_each_seen if mean.sees else _one_by_one)(mean, output, part, theta))
    sums, weights = (torch.cat(column).cpu() for column in zip(*shares, strict=True))
    # Of a sum, all examples together weigh 1.
    return Shares(sums, weights if mean.kind != "sum" else torch.full_like(weights, 1 / len(weights)))


def _each_seen(mean: Mean, output: object, examples: DataSet, theta: Theta) -> tuple[Tensor, Tensor]:
    """The same for a criterion that sees inputs, one example at a time."""
    leaves = [_by_example(leaf, len(examples)) for leaf in leaves_of(output)]
    sums, weights = [], []
    for i in range(len(examples)):
        example = examples.take(slice(i, i + 1))
        parts = [leaf[i] if grows and isinstance(leaf, Tensor) else leaf for leaf, grows in leaves]
        amount, weight = mean.amounts(rebuilt(output, parts), example.targets, theta, example.inputs)
        sums.append(amount)
        weights.append(number(weight, theta))
    return torch.stack(sums), torch.stack(weights)


def _one_by_one(mean: Mean, output: object, examples: DataSet, theta: Theta) -> tuple[Tensor, Tensor]:
    targets = examples.targets
    leaves = [_by_example(leaf, len(targets)) for leaf in leaves_of(output)]

    def of(target: Tensor, *leaves_of_one: object) -> tuple[Tensor, Tensor]:
        amount, weight = mean.amounts(rebuilt(output, leaves_of_one), target.unsqueeze(0), theta)
        return amount, number(weight, theta)

    dims = tuple(0 if grows else None for _, grows in leaves)
    try:
        sums, weights = torch.vmap(of, in_dims=(0, *dims), randomness="error")(targets, *(leaf for leaf, _ in leaves))
    except (RuntimeError, ValueError):  # a metric that returns a Python number, or does not map
        picked = (
            [leaf[i] if grows and isinstance(leaf, Tensor) else leaf for leaf, grows in leaves]
            for i in range(len(targets))
        )
        pairs = [of(target, *leaves_of_one) for target, leaves_of_one in zip(targets, picked, strict=True)]
        sums, weights = (torch.stack(column) for column in zip(*pairs, strict=True))
    return sums, weights


def _by_example(leaf: object, examples: int) -> tuple[object, bool]:
    """A leaf of the output split by example, and whether it can be; otherwise all examples share it."""
    if not isinstance(leaf, Tensor) or not leaf.ndim or not len(leaf) or len(leaf) % examples:
        return leaf, False
    return leaf.reshape(examples, -1, *leaf.shape[1:]), True
