"""The stack's gradient as machine code, by torch.compile: one pass over the samples for all layers.

The code is made for any number of models from two on. That takes seconds once for each network and
minibatch size; torch keeps it for later processes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field

import torch
from torch import Tensor
from torch.func import grad

from weightstring.arrays import Rows, Thetas
from weightstring.problem.compiling import quiet
from weightstring.problem.engines.base import ENGINES, Workload, gradient_in_parts
from weightstring.problem.engines.stack import Stack, flat
from weightstring.problem.engines.stacked import Stacked, stacked_losses
from weightstring.problem.losses.means import Mean
from weightstring.protocol import Gradient

AT_ONCE = 256
"""Models in one call: what its overhead does not count for, and caches hold."""


@ENGINES.register("compiled")
@dataclass(frozen=True, eq=False)
class Compiled(Stacked):
    """Gradients by compiled code; measurements are those of the stack.

    Raises:
        InvalidModel: the module is no plain sequential network.
    """

    # Its gain is over the engine chosen without it. The code is made for two numbers of models.
    gain, compiles, steady = 1.1, True, False

    _code: Callable[[Thetas, Rows | None, Tensor, Tensor], tuple[Tensor, Tensor]] = field(init=False)
    _made: set[int | None] = field(init=False, default_factory=set)

    def __post_init__(self) -> None:
        super().__post_init__()
        program = _program(self.stack, self.work.computation.loss_fn)
        with quiet():  # torch.compile imports its compiler here
            object.__setattr__(self, "_code", torch.compile(program, dynamic=False))

    def __reduce__(self) -> tuple[type[Compiled], tuple[Workload]]:
        return Compiled, (self.work,)  # code does not travel; another process makes its own

    def gradient(self, thetas: Thetas, rows: Rows | None) -> Gradient:
        """Losses and gradients of all; one at a time where training draws at random."""
        computation, train = self.work.computation, self.work.train
        # A training set in pieces of several sizes would want code for each, as would rows of a stored one.
        if computation.draws or not train.in_memory or (rows is None and len(train) > computation.chunk):
            return super().gradient(thetas, rows)

        def compute(part: slice) -> Gradient:
            return self._run(thetas[part], None if rows is None else rows[part])

        return gradient_in_parts(thetas, AT_ONCE, compute)

    def _run(self, thetas: Thetas, rows: Rows | None) -> Gradient:
        count, train = len(thetas), self.work.train
        thetas, rows = thetas.contiguous(), None if rows is None else rows.contiguous()
        if count == 1:  # for one alone, torch would make other code
            thetas = torch.cat([thetas, thetas])
            rows = None if rows is None else torch.cat([rows, rows])
        each = None if rows is None else rows.shape[1]
        with torch.no_grad(), nullcontext() if each in self._made else self._making(each, thetas, rows):
            losses, gradients = self._code(thetas, rows, flat(train), train.targets)
        return Gradient(losses[:count].to(thetas.dtype), gradients[:count])

    @contextmanager
    def _making(self, each: int | None, thetas: Thetas, rows: Rows | None) -> Iterator[None]:
        """Compile at the first call for this number of rows, for any number of models."""
        for tensor in (thetas, rows):
            if tensor is not None:
                torch._dynamo.maybe_mark_dynamic(tensor, 0)
        with quiet():
            yield
        self._made.add(each)


def _program(stack: Stack, loss_fn: Mean) -> Callable[[Thetas, Rows | None, Tensor, Tensor], tuple[Tensor, Tensor]]:
    """Losses (B,) and gradients (B, P), written for the compiler."""

    def total(thetas: Thetas, rows: Rows | None, inputs: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        losses = stacked_losses(stack, loss_fn, thetas, rows, inputs, targets, fused=True).value
        return losses.sum(), losses

    def gradients(thetas: Thetas, rows: Rows | None, inputs: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        slopes, losses = grad(total, has_aux=True)(thetas, rows, inputs, targets)
        return losses, slopes

    # torch counts what it makes of one code object, and stops at some number: each network has its own.
    gradients.__code__ = gradients.__code__.replace()
    return gradients
