"""Metrics that see the inputs: a residual at the points where a net is evaluated, an error on some of the inputs.

Which a metric is, its signature says: it takes a third argument that it cannot do without, or one called ``inputs``.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from torch import nn

from weightstring.problem.datasets.data import DataSet, Inputs

POSITIONAL = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
NAME = "inputs"


@dataclass(frozen=True, eq=False)
class Sighted:
    """A metric that sees the inputs, called with them as third argument whatever that is named.

    Args:
        given: the metric as the caller gave it.
        keyword: whether it takes them by the name ``inputs`` only.
    """

    given: Callable[..., Any]
    keyword: bool = False
    sees = True

    def __call__(self, output: object, targets: object, inputs: Inputs) -> Any:
        """The metric of some examples."""
        return self.given(output, targets, inputs=inputs) if self.keyword else self.given(output, targets, inputs)


def sighted(metric: Callable[..., Any]) -> Callable[..., Any]:
    """The metric, wrapped as :class:`Sighted` if it takes (output, targets, inputs).

    >>> sighted(nn.MSELoss()), type(sighted(lambda output, targets, x: 0.0)).__name__
    (MSELoss(), 'Sighted')
    >>> import torch
    >>> sighted(lambda output, targets, *, inputs: inputs)(0, 1, torch.tensor(2))
    tensor(2)
    """
    try:
        parameters = inspect.signature(metric.forward if isinstance(metric, nn.Module) else metric).parameters
    except (TypeError, ValueError):  # written in C, or no function at all: what calls it will say so
        return metric
    named = parameters.get(NAME)
    if named is not None and named.kind is inspect.Parameter.KEYWORD_ONLY:
        return Sighted(metric, keyword=True)
    positional = [parameter for parameter in parameters.values() if parameter.kind in POSITIONAL]
    third = positional[2] if len(positional) > 2 else None
    needed = third is not None and third.default is inspect.Parameter.empty
    if third is not None and (third.name == NAME or (needed and len(positional) == 3)):
        return Sighted(metric)
    return metric


def sees(criterion: object) -> bool:
    """Whether a criterion is called with inputs."""
    return bool(getattr(criterion, "sees", False))


def applied(criterion: Callable[..., Any], output: object, examples: DataSet) -> Any:
    """Call a criterion on an output and its examples, with inputs if it sees them."""
    if sees(criterion):
        return criterion(output, examples.targets, examples.inputs)
    return criterion(output, examples.targets)
