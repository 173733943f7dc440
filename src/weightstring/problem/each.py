"""A mean over examples, example by example."""

from __future__ import annotations

import torch
from jaxtyping import Float64
from torch import Tensor
from torch.utils import _pytree as trees

from weightstring.arrays import Theta
from weightstring.problem.data import Examples
from weightstring.problem.functional import Computation, Criterion, number


def measure_each(
    computation: Computation, theta: Theta, train: Examples, examples: Examples, criterion: Criterion
) -> Float64[Tensor, " N"]:
    """A criterion of each example by itself, whose mean is the criterion of all where that is a mean over examples.

    Args:
        computation: the module.
        theta: the model.
        train: from which running statistics are estimated.
        examples: N of them.
        criterion: ``criterion(output, targets)``, here of one example at a time.
    """
    found = []
    with torch.no_grad():
        statistics = computation.estimate(theta, train)
        for part in examples.chunks(computation.block):
            output = computation.evaluating(theta, part, statistics)
            found.append(_one_by_one(criterion, output, part.targets, theta))
    return torch.cat(found).cpu()


def _one_by_one(criterion: Criterion, output: object, targets: Tensor, theta: Theta) -> Float64[Tensor, " N"]:
    leaves, spec = trees.tree_flatten(output)

    def of(target: Tensor, *own: object) -> Tensor:
        one = trees.tree_unflatten([x.unsqueeze(0) if isinstance(x, Tensor) else x for x in own], spec)
        return number(criterion(one, target.unsqueeze(0)), theta)

    dims = tuple(0 if isinstance(leaf, Tensor) and leaf.ndim else None for leaf in leaves)
    try:
        return torch.vmap(of, in_dims=(0, *dims), randomness="error")(targets, *leaves)
    except (RuntimeError, ValueError):  # a metric that returns a Python number, or does not map
        picked = (
            [leaf[i] if dim == 0 else leaf for leaf, dim in zip(leaves, dims, strict=True)] for i in range(len(targets))
        )
        return torch.stack([of(target, *own) for target, own in zip(targets, picked, strict=True)])
