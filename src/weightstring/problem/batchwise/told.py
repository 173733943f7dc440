"""Losses of batches that say themselves what they are of a module's output and one tensor of the batch."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, Protocol, cast, runtime_checkable

import torch
from torch import Tensor, nn

from weightstring.errors import Unsupported
from weightstring.problem.batchwise.per_batch import PerBatch
from weightstring.problem.datasets.batches import Batches
from weightstring.problem.datasets.data import Examples
from weightstring.problem.functional import Functional
from weightstring.problem.losses.folded import Folded
from weightstring.problem.losses.means import Criterion
from weightstring.problem.trace_inputs import TraceInputs

APART = 1e-3
"""How far, relatively, the same number may be from itself by another course, as rounding and kernels go."""

NO_EXAMPLES = "certificates and theorems read single examples, which these batches do not show: "


@runtime_checkable
class Told(Protocol):
    """A loss that calls the module with all tensors of a batch by name but one, the targets."""

    @property
    def targets(self) -> str:
        """The name of that one."""

    @property
    def options(self) -> Mapping[str, Any]:
        """Further arguments of the module."""

    def criterion(self, name: str) -> Criterion:
        """A quantity over any examples together, as a function of the module's output and their targets.

        Raises:
            Unsupported: it is none.
        """


def told_inputs(function: Functional, batches: Batches, name: str) -> TraceInputs:
    """Inputs and targets of all batches, and a quantity of all of them together.

    Args:
        function: the module, and its call by a :class:`Told` loss.
        batches: the data.
        name: of the quantity.

    Raises:
        Unsupported: batches differ in form, or the quantity is not what the loss says.
    """
    assert isinstance(function.call, PerBatch)
    loss = cast(Told, function.call.loss)
    criterion = loss.criterion(name)
    module = called_with(function.module, loss.options)
    parts = [_part(batch, loss.targets) for batch in batches]
    for part in parts:
        if shape_of(part) != shape_of(parts[0]):
            raise Unsupported(
                f"{NO_EXAMPLES}one has inputs {parts[0].form()}, another {part.form()}: make rows of one length, such "
                "as by padding='max_length'"
            )
    examples = together(parts)
    with torch.no_grad():
        amount, weight = function.call.sums(function.module, next(iter(batches)), name)
        own = amount.value() if isinstance(amount, Folded) else amount / weight
        found = criterion(module(**dict(zip(parts[0].keys or (), parts[0].leaves, strict=True))), parts[0].targets)
    if abs(float(found) - float(own)) > APART * max(abs(float(found)), abs(float(own))):
        raise Unsupported(
            f"{NO_EXAMPLES}{name!r} is {float(own):.6g} of a batch, but {float(found):.6g} of its single labels"
        )
    return TraceInputs(module, criterion, examples, len(examples))


def _part(batch: object, targets: str) -> Examples:
    if not isinstance(batch, Mapping) or not all(isinstance(value, Tensor) for value in batch.values()):
        raise Unsupported(f"{NO_EXAMPLES}a batch is no dict of tensors")
    inputs = {name: value for name, value in batch.items() if name != targets}
    rows = {len(value) if value.ndim else 0 for value in batch.values()}
    if len(rows) != 1:
        raise Unsupported(f"{NO_EXAMPLES}its tensors have {', '.join(map(str, sorted(rows)))} rows")
    return Examples(tuple(inputs.values()), batch[targets], tuple(inputs))


def shape_of(examples: Examples) -> object:
    """What all batches must have in common to be put together."""
    tensors = (*examples.leaves, examples.targets)
    return examples.keys, [(tensor.shape[1:], tensor.dtype) for tensor in tensors]


def together(parts: Sequence[Examples]) -> Examples:
    """Batches of one form as one set."""
    leaves = tuple(torch.cat(column) for column in zip(*(part.leaves for part in parts), strict=True))
    return Examples(leaves, torch.cat([part.targets for part in parts]), parts[0].keys)


def called_with(module: nn.Module, options: Mapping[str, Any]) -> nn.Module:
    """The module itself, with the same parameters, which is called with further arguments.

    >>> called_with(nn.Linear(2, 1), {})
    Linear(in_features=2, out_features=1, bias=True)
    """
    if not options:
        return module
    bound = copy.copy(module)
    bound.forward = partial(module.forward, **options)
    return bound
