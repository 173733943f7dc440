"""The squared losses that theorems of this package are about, recognised for what they are."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional

from weightstring.problem.means import Criterion


def squared_distance(output: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """(1/N) Σ ‖output − target‖²: summed over outputs, where ``mse_loss`` averages over them too.

    >>> squared_distance(torch.ones(4, 2), torch.zeros(4, 2))
    tensor(2.)
    """
    return functional.mse_loss(output, target) * target.shape[1]


SQUARED = (nn.MSELoss, functional.mse_loss, squared_distance)
"""Losses that are c · Σ (output − target)², by class or function."""


def scale_of(criterion: Criterion, examples: int, outputs: int) -> float | None:
    """C, where the criterion is c · Σ (output − target)² over all numbers; None: it is not known to be.

    >>> scale_of(nn.MSELoss(), 10, 2), scale_of(squared_distance, 10, 2), scale_of(nn.L1Loss(), 10, 2)
    (0.05, 0.1, None)
    """
    kind = type(criterion) if isinstance(criterion, nn.Module) else criterion
    if kind not in SQUARED or getattr(criterion, "reduction", "mean") != "mean":
        return None
    return 1 / examples if kind is squared_distance else 1 / (examples * outputs)
