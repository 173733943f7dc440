"""The stack's gradient as machine code, by torch.compile: one pass over the samples for all layers.

Code is made for two numbers of models, and every call is filled up to one of them. That takes seconds
once for each network and minibatch size; torch keeps it for later processes.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import torch
from jaxtyping import Float64
from torch import Tensor
from torch.func import grad

from weightstring.arrays import Rows, Thetas
from weightstring.problem.engines.base import Workload, gradient_in_parts
from weightstring.problem.engines.stack import Stack
from weightstring.problem.engines.stacked import Stacked, flat, stacked_losses
from weightstring.problem.functional import Criterion, Wanted
from weightstring.protocol import Gradient

FEW, MANY = 32, 256
"""Models that code is made for: a call costs as much overhead as some dozens of tiny models take."""


@dataclass(frozen=True, eq=False)
class Compiled:
    """Gradients by compiled code; measurements as :class:`Stacked` does them.

    Args:
        work: what is computed.
        stack: its module.
    """

    work: Workload
    stack: Stack
    _code: Callable[[Thetas, Rows | None, Tensor, Tensor], tuple[Tensor, Tensor]] = field(init=False)

    def __post_init__(self) -> None:
        program = _program(self.stack, self.work.computation.loss_fn)
        with quiet():  # torch.compile imports its compiler here
            object.__setattr__(self, "_code", torch.compile(program, dynamic=False))

    def __reduce__(self) -> tuple[type[Compiled], tuple[Workload, Stack]]:
        return Compiled, (self.work, self.stack)  # code does not travel; another process makes its own

    def measure(self, thetas: Thetas, wanted: Wanted) -> Float64[Tensor, "B Q"]:
        """:meth:`Computation.measure` of all."""
        return Stacked(self.work, self.stack).measure(thetas, wanted)

    def gradient(self, thetas: Thetas, rows: Rows | None) -> Gradient:
        """Losses and gradients of all; one at a time where training draws at random."""
        computation, train = self.work.computation, self.work.train
        # A training set in pieces of several sizes would want code for each.
        if computation.draws or (rows is None and len(train) > computation.chunk):
            return Stacked(self.work, self.stack).gradient(thetas, rows)

        size = FEW if len(thetas) <= 3 * FEW else MANY

        def compute(part: slice) -> Gradient:
            return self._filled_up(thetas[part], None if rows is None else rows[part], size)

        return gradient_in_parts(thetas, size, compute)

    def _filled_up(self, thetas: Thetas, rows: Rows | None, size: int) -> Gradient:
        count, train = len(thetas), self.work.train
        with torch.no_grad(), quiet():
            filled = _fill(thetas, size), None if rows is None else _fill(rows, size)
            losses, gradients = self._code(*filled, flat(train), train.targets)
        return Gradient(losses[:count].to(thetas.dtype), gradients[:count])


def _program(
    stack: Stack, loss_fn: Criterion
) -> Callable[[Thetas, Rows | None, Tensor, Tensor], tuple[Tensor, Tensor]]:
    """Losses (B,) and gradients (B, P), written for the compiler."""

    def total(thetas: Thetas, rows: Rows | None, inputs: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        losses = stacked_losses(stack, loss_fn, thetas, rows, inputs, targets, fused=True)
        return losses.sum(), losses

    def gradients(thetas: Thetas, rows: Rows | None, inputs: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        slopes, losses = grad(total, has_aux=True)(thetas, rows, inputs, targets)
        return losses, slopes

    return gradients


def _fill(models: Tensor, size: int) -> Tensor:
    """Repeat the last model until there are as many as the code is made for."""
    missing = size - len(models)
    return torch.cat([models, models[-1:].expand(missing, -1)]) if missing else models


@contextmanager
def quiet() -> Iterator[None]:
    """Without what torch.compile warns of and cannot be changed by who calls this."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
