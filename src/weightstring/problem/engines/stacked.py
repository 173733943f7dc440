"""Models side by side in a :class:`Stack`, in parts that fit into the processor's cache."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Float64
from torch import Tensor

from weightstring.arrays import Rows, Thetas, aligned, room
from weightstring.devices import on_cpu
from weightstring.problem.datasets.data import DataSet
from weightstring.problem.engines.base import (
    BESIDE,
    ENGINES,
    brought,
    by_autograd,
    gradient_in_parts,
    slopes_beside,
)
from weightstring.problem.engines.criteria import together
from weightstring.problem.engines.loop import Loop
from weightstring.problem.engines.of_stack import CACHED_ELEMENTS, OfStack
from weightstring.problem.engines.parts import width
from weightstring.problem.engines.stack import Stack, flat
from weightstring.problem.engines.threads import BACKWARD, is_large
from weightstring.problem.losses.means import Mean, Weighed
from weightstring.protocol import Gradient


@ENGINES.register("stack")
@dataclass(frozen=True, eq=False)
class Stacked(OfStack):
    """Products of stacked matrices; the derivative is autograd's.

    Raises:
        InvalidModel: the module is no plain sequential network.
    """

    # It may be as fast as the loop, give or take: on curves it saves the first layer's products besides.
    gain = 0.8

    def means(self, thetas: Thetas, examples: DataSet, means: Sequence[Mean]) -> Float64[Tensor, "B Q"]:
        """Means over a data set; of one model at a time where that fills a call."""
        if self._fills_a_call(len(examples), thetas):
            return Loop(self.work).measure(thetas, [(examples, means)])
        return super().means(thetas, examples, means)

    def outputs(self, thetas: Thetas, examples: DataSet) -> Float[Tensor, "B n out"]:
        """Outputs of all."""
        inputs = flat(examples)
        if (order := _filled(len(inputs), inputs)) is not None:
            inputs = inputs[order]
        pieces = self.stack.pieces(aligned(thetas, BESIDE))
        return self.stack(pieces, inputs)[: len(thetas), : len(examples)].contiguous()

    def _fills_a_call(self, examples: int, thetas: Thetas, passes: int = 1) -> bool:
        """Whether one model is enough work to be computed by itself."""
        return on_cpu(thetas) and is_large(passes * examples * self.stack.flops)

    def gradient(self, thetas: Thetas, rows: Rows | None) -> Gradient:
        """Losses and gradients of all; one at a time where training draws at random, or one fills a call."""
        computation, train = self.work.computation, self.work.train
        at_once = len(train) if computation.kind == "whole" else min(len(train), computation.chunk)
        examples = at_once if rows is None else rows.shape[1]
        if computation.draws or self._fills_a_call(examples, thetas, BACKWARD):
            return Loop(self.work).gradient(thetas, rows)

        def compute(part: slice) -> Gradient:
            examples_of_part, rows_of_part = brought(train, None if rows is None else rows[part])
            losses = by_autograd(self._losses)
            return slopes_beside(
                losses, thetas[part], rows_of_part, examples_of_part, computation.chunk, computation.kind
            )

        return gradient_in_parts(thetas, width(examples, self.stack.widest, CACHED_ELEMENTS), compute)

    def _losses(self, thetas: Thetas, rows: Rows | None, examples: DataSet) -> Weighed:
        return stacked_losses(self.stack, self.work.computation.loss_fn, thetas, rows, flat(examples), examples.targets)


def stacked_losses(
    stack: Stack,
    loss_fn: Mean,
    thetas: Thetas,
    rows: Rows | None,
    inputs: Tensor,
    targets: Tensor,
) -> Weighed:
    """Losses (B,) of B models (B, P) on their rows (B, n) of inputs (N, in) and targets (N, …), and weights (B,)."""
    count = len(inputs) if rows is None else rows.shape[1]
    order = _filled(count, inputs)
    if rows is None:
        inputs = inputs if order is None else inputs[order]
    else:
        inputs, targets = inputs[rows if order is None else rows[:, order]], targets[rows]
    # Samples last in memory too: the first layer's gradient is rounded by where it lies where they come first.
    outputs = stack(stack.pieces(thetas), inputs.mT.contiguous().mT)[:, :count]
    return together(loss_fn)(outputs.contiguous(), targets, rows is not None)


def _filled(count: int, inputs: Tensor) -> Tensor | None:
    """Indices that repeat the first of ``count`` samples until they fill whole memory lines; None if they do."""
    whole = room(count, inputs.element_size())
    return None if whole == count else torch.arange(whole, device=inputs.device) % count
