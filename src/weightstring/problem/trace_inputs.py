"""What certificates and theorems read of a quantity."""

from __future__ import annotations

from typing import NamedTuple

from torch import nn

from weightstring.problem.datasets.data import Examples
from weightstring.problem.losses.means import Criterion


class TraceInputs(NamedTuple):
    """What a quantity is computed from: the mean of ``criterion(module(inputs), targets)`` over blocks of examples.

    Args:
        module: in evaluation mode, its trainable parameters named as in the problem's layout.
        criterion: of an output and its targets.
        examples: inputs and targets.
        block: the most examples in one pass.
    """

    module: nn.Module
    criterion: Criterion
    examples: Examples
    block: int
