"""Whether the examples of a batch meet while a module trains, so that its full-batch gradient is one pass.

The gradient of a mean over examples is the mean of its parts' gradients, and a training set larger than a chunk is
taken in parts. Batch statistics, gradients scaled by how often a token occurs, or a running mean of one's own make a
part's gradient another than its share of the whole.
"""

from __future__ import annotations

from dataclasses import replace

import torch

from weightstring.arrays import Theta
from weightstring.problem.computation import Computation
from weightstring.problem.datasets.data import DataSet
from weightstring.problem.engines.agreement import near, tolerance_of
from weightstring.problem.engines.base import Workload
from weightstring.problem.engines.loop import Loop
from weightstring.protocol import Gradient

TRIED = 16
"""Training examples of which the gradient is taken at once and in two parts."""


def couples(computation: Computation, theta: Theta, train: DataSet) -> bool:
    """Whether the training gradient of a batch differs from that of its parts together, tried near θ.

    Where training draws at random two gradients always differ: there only BatchNorm counts.
    """
    if computation.draws or len(train) < 4:
        return computation.calibrating is not None
    batch = train.take(torch.arange(min(TRIED, len(train)), device=theta.device))
    model = near(theta, 1)

    def gradient(chunk: int) -> Gradient:
        return Loop(Workload(replace(computation, chunk=chunk), batch, elements=1)).gradient(model, None)

    whole, parts = gradient(len(batch)).gradients, gradient(-(-len(batch) // 2)).gradients
    scale = torch.maximum(whole.abs().amax(), parts.abs().amax())
    return not bool(((whole - parts).abs() <= tolerance_of(computation.coarsest) * scale).all())
