"""Batches as single examples, where that is what they are: what certificates and theorems read.

A loss that calls the module once with tensors of n rows, and compares its output with one further tensor of n rows,
is a criterion of output and targets; if each batch's weight is its number of rows, the loss is a mean over examples.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, cast

import torch
from torch import Tensor, nn

from weightstring.errors import Unsupported
from weightstring.problem.batchwise.calls import ReadCall, StandIn
from weightstring.problem.batchwise.per_batch import BatchLoss, MeanOf, PerBatch
from weightstring.problem.batchwise.told import APART, NO_EXAMPLES, Told, shape_of, together, told_inputs
from weightstring.problem.datasets.batches import Batches, batch_digest, mapped
from weightstring.problem.datasets.data import Examples
from weightstring.problem.functional import Functional
from weightstring.problem.losses.means import Criterion
from weightstring.problem.losses.metric_objects import is_metric
from weightstring.problem.outputs import leaves_of, rebuilt
from weightstring.problem.trace_inputs import TraceInputs

MOST_BYTES = 2**28
"""Bytes of data that are put together, beside the batches themselves."""

STACKED = 512
"""Examples of batches, put together, that are traced in one pass."""


class Given:
    """Stands in a batch for a tensor that the module is called with."""


class Unread(StandIn):
    """A stand-in whose metric objects, of which only their own quantities are made, say nothing."""

    def __getattr__(self, name: str) -> Any:
        value = super().__getattr__(name)
        return Silent() if is_metric(value) else value


class Silent(float):
    """In place of a metric: the number 0, as which it may be logged, and whatever is called of it gives 0."""

    def __call__(self, *_: object, **__: object) -> Tensor:
        """0."""
        return torch.zeros(())

    def __getattr__(self, name: str) -> Any:
        return self


@dataclass(frozen=True, eq=False)
class Part:
    """One batch as examples.

    Args:
        examples: inputs and targets.
        output: of the module.
        criterion: of output and targets.
        rest: digest of what else the batch holds.
    """

    examples: Examples
    output: Tensor
    criterion: Criterion
    rest: str


def as_examples(function: Functional, batches: Batches, name: str) -> TraceInputs:
    """Inputs and targets of all batches, and a quantity as a criterion of output and targets.

    Args:
        function: the module, and its call by a loss of batches.
        batches: the data.
        name: of the quantity.

    Raises:
        Unsupported: the loss is no mean over examples of one output and one tensor of targets, as far as can be seen.
    """
    size = sum(tensor.nbytes for tensor in batches.take(slice(1)).tensors) * len(batches)
    if size > MOST_BYTES:
        raise Unsupported(f"{NO_EXAMPLES}{size / 2**20:.0f} MiB would be put together, {MOST_BYTES >> 20} MiB at most")
    assert isinstance(function.call, PerBatch)
    if isinstance(function.call.loss, Told) and name not in function.call.metrics:
        return told_inputs(function, batches, name)
    parts: list[Part] = []
    for batch in batches:
        part = _part(function, batch, name)
        parts.append(part)
        if shape_of(part.examples) != shape_of(parts[0].examples) or part.rest != parts[0].rest:
            first = parts[0].examples.form()
            raise Unsupported(f"{NO_EXAMPLES}one has inputs {first}, another {part.examples.form()}, or other settings")
        if len(parts) == 2:
            _check_mean(*parts)
    if len(parts) == 1:
        _check_mean(*_cut(parts[0]))
    examples = together([part.examples for part in parts])
    return TraceInputs(function.module, parts[0].criterion, examples, min(len(examples), STACKED))


def _part(function: Functional, batch: object, name: str) -> Part:
    """One batch as examples, and the criterion, compared with the loss itself."""
    leaves = leaves_of(batch)
    (args, kwargs), output, (amount, weight) = ReadCall(function, lambda: batch).seen(name)
    inputs = [*args, *kwargs.values()]
    used = {id(leaf) for leaf in inputs}
    rest = [place for place, leaf in enumerate(leaves) if isinstance(leaf, Tensor) and id(leaf) not in used]
    whole = used <= set(map(id, leaves)) and not (args and kwargs) and len(rest) == 1
    if not whole or not isinstance(output, Tensor) or not all(isinstance(leaf, Tensor) for leaf in inputs):
        raise Unsupported(
            f"{NO_EXAMPLES}net must be called with all tensors of a batch as they are but one, the targets, and return "
            "one tensor"
        )
    targets = cast(Tensor, leaves[rest[0]])
    rows = {len(tensor) if tensor.ndim else 0 for tensor in (*inputs, targets)}
    if rows != {float(weight)}:
        raise Unsupported(f"{NO_EXAMPLES}a batch of {max(rows)} rows has the weight {float(weight):g}")
    assert isinstance(function.call, PerBatch)
    loss = function.call.metrics.get(name, function.call.loss)
    template = rebuilt(batch, [Given() if isinstance(leaf, Tensor) else leaf for leaf in leaves])
    criterion = partial(of_targets, net=function.module, loss=loss, name=name, template=template, place=rest[0])
    try:
        value, mean = float(criterion(output, targets)), float(amount) / float(weight)
    except Exception as error:  # whatever a stranger's loss does with what is not there
        raise Unsupported(f"{NO_EXAMPLES}{name!r} looks at more than an output and targets") from error
    if abs(value - mean) > APART * max(abs(value), abs(mean)):
        raise Unsupported(f"{NO_EXAMPLES}{name!r} is {mean:.6g} of a batch, but {value:.6g} of its output and targets")
    examples = Examples(tuple(inputs), targets, tuple(kwargs) or None)
    return Part(examples, output, criterion, batch_digest(mapped(batch, lambda tensor: tensor.new_empty(0))))


def _cut(part: Part) -> tuple[Part, Part]:
    cut = max(1, len(part.output) // 3)
    first, rest = (
        replace(part, examples=part.examples.take(place), output=part.output[place])
        for place in (slice(cut), slice(cut, None))
    )
    return first, rest


def _check_mean(one: Part, other: Part) -> None:
    """Refuse a criterion whose value over two parts is not the mean of theirs: one that divides by a fixed number."""
    sizes = [len(part.examples) for part in (one, other)]
    if not all(sizes):
        return
    outputs = torch.cat([one.output, other.output])
    together = float(one.criterion(outputs, torch.cat([one.examples.targets, other.examples.targets])))
    each = [float(one.criterion(part.output, part.examples.targets)) for part in (one, other)]
    mean = sum(size * value for size, value in zip(sizes, each, strict=True)) / sum(sizes)
    if abs(mean - together) > APART * max(map(abs, (mean, together))):
        raise Unsupported(f"{NO_EXAMPLES}two parts have {mean:.6g} on average, but {together:.6g} together")


def of_targets(
    output: object, targets: Tensor, *, net: nn.Module, loss: BatchLoss, name: str, template: object, place: int
) -> Tensor:
    """A quantity that a loss gives of a batch with these targets when the module returns this output."""
    leaves = leaves_of(template)
    leaves[place] = targets
    stand_in: Any = Unread(net, lambda args, kwargs: output)
    returned: Any = loss(stand_in, rebuilt(template, leaves))
    value = returned[name] if isinstance(returned, Mapping) else returned
    return cast(Tensor, value.mean if isinstance(value, MeanOf) else value[0] / value[1])
