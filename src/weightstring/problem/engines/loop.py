"""One model after the other: runs any module that PyTorch runs."""

from __future__ import annotations

from contextlib import nullcontext

import torch
from jaxtyping import Float64
from torch import Tensor

from weightstring.arrays import Positions, Rows, Theta, Thetas
from weightstring.problem.datasets.data import DataSet
from weightstring.problem.engines.base import (
    ENGINES,
    REFERENCE,
    Engine,
    gradient_in_parts,
    require_slope,
    seeded_by,
    weighed_slopes,
)
from weightstring.problem.engines.parts import in_parts
from weightstring.problem.live import Live, scaled_backward
from weightstring.problem.losses.means import Number, Wanted, Weighed
from weightstring.protocol import Gradient


@ENGINES.register(REFERENCE)
class Loop(Engine):
    """Models one at a time, in plain PyTorch.

    Where training draws at random, each model draws from a seed derived from its own rows (without
    rows: from its θ): the result of a model depends on nothing beside it, and the global generators
    stay untouched.
    """

    joint, steady = False, True

    def measure(self, thetas: Thetas, wanted: Wanted) -> Float64[Tensor, "B Q"]:
        """:meth:`Computation.measure` of each."""

        def compute(part: slice) -> Float64[Tensor, "B Q"]:
            return self.work.computation.measure(thetas[part][0], self.work.train, wanted)[None]

        with torch.no_grad():
            return torch.cat(in_parts(len(thetas), 1, compute))

    def measure_along(self, a: Theta, b: Theta, ts: Positions, wanted: Wanted) -> Float64[Tensor, "T Q"]:
        """:meth:`measure` of the models at positions of a segment, each written straight into the module."""
        computation, train = self.work.computation, self.work.train
        with torch.no_grad():
            tallies = (computation.tallied_between(a, b, t, train, wanted) for t in ts.to(a).tolist())
            return torch.stack([torch.cat([tally.values() for tally in each]) for each in tallies])

    def gradient(self, thetas: Thetas, rows: Rows | None) -> Gradient:
        """Losses and gradients of each."""

        def compute(part: slice) -> Gradient:
            theta, own_rows = thetas[part], None if rows is None else rows[part]
            return self.weighed(theta, own_rows, theta if own_rows is None else own_rows)[0]

        return gradient_in_parts(thetas, 1, compute)

    def weighed(self, theta: Thetas, rows: Rows | None, drawn_by: Tensor) -> tuple[Gradient, Number]:
        """Loss and gradient of one model (1, P), and the weight of its examples beside others.

        Args:
            theta: the model.
            rows: its own (1, n); None: all.
            drawn_by: the numbers that seed what training draws.
        """
        computation, train = self.work.computation, self.work.train
        with seeded_by(drawn_by, theta.device) if computation.draws else nullcontext():
            if rows is not None and not train.together:
                train, rows = train.take(rows[0]), None
            return weighed_slopes(self._differentiate, theta, rows, train, computation.chunk, computation.kind)

    def _differentiate(self, thetas: Thetas, rows: Rows | None, examples: DataSet) -> tuple[Gradient, Number]:
        """By ``backward``, as a training loop would: reentrant checkpoints support nothing else."""
        training = self.work.computation.training
        assert isinstance(training, Live)
        own_rows = None if rows is None else rows[0]
        latest: list[Weighed] = []

        def loss() -> Tensor:
            latest[:] = [self.work.computation.weighed_loss(thetas[0], own_rows, examples)]
            require_slope(latest[0].value)
            return latest[0].value

        training.forget()
        with torch.enable_grad():
            slope = scaled_backward(self.work.computation.dtypes, loss, training.gradient)
        value, weight = latest[0]
        gradient = Gradient(value.detach().to(thetas.dtype)[None], slope[None])
        return gradient, weight[None] if isinstance(weight, Tensor) else weight
