"""Models side by side through ``torch.func.vmap``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import torch
from jaxtyping import Float64
from torch import Tensor
from torch.func import vmap

from weightstring.arrays import Rows, Thetas, aligned
from weightstring.errors import InvalidModel
from weightstring.problem.datasets.data import DataSet
from weightstring.problem.engines.base import (
    BESIDE,
    ENGINES,
    Engine,
    brought,
    by_autograd,
    gradient_in_parts,
    slopes_beside,
    without_fallback_warnings,
)
from weightstring.problem.engines.loop import Loop
from weightstring.problem.engines.parts import in_parts, width
from weightstring.problem.engines.threads import is_large
from weightstring.problem.losses.means import Mean, Wanted, Weighed
from weightstring.protocol import Gradient


@ENGINES.register("vmap")
@dataclass(frozen=True, eq=False)
class Vmap(Engine):
    """As many models in one call as memory holds.

    Raises:
        InvalidModel: the module computes in float16, whose losses are scaled model by model.
    """

    gain = 1.1

    def __post_init__(self) -> None:
        super().__post_init__()
        if torch.float16 in self.work.computation.dtypes:
            raise InvalidModel("engine='vmap' computes no float16, whose losses are scaled model by model: use 'loop'")

    def measure(self, thetas: Thetas, wanted: Wanted) -> Float64[Tensor, "B Q"]:
        """:meth:`Computation.measure` of all.

        A single model goes through vmap too, beside itself: its kernels round differently from the loop's, and a
        model must not lie over a threshold in one batch and under it in another.
        """
        computation = self.work.computation
        alone = [computation.evaluating.layout.rounds or self._fills_a_call(examples, thetas) for examples, _ in wanted]
        if all(alone):  # as also in half precision, where kernels differ in digits that count
            return Loop(self.work).measure(thetas, wanted)
        if any(alone):  # each set by itself, so that its numbers do not depend on what else is asked for
            return torch.cat([self.measure(thetas, [one]) for one in wanted], dim=1)
        of_one = vmap(partial(self.computation.measure, train=self.work.train, wanted=wanted))
        calibrating = min(len(self.work.train), computation.chunk) if computation.calibrating is not None else 1
        largest = max(_kept(examples, means, computation.block) for examples, means in wanted)
        at_once = width(max(largest, calibrating), self.work.elements)
        with torch.no_grad(), without_fallback_warnings():
            return torch.cat(
                in_parts(
                    len(thetas), at_once, lambda part: of_one(aligned(thetas[part], BESIDE))[: part.stop - part.start]
                )
            )

    def _fills_a_call(self, examples: DataSet, thetas: Thetas) -> bool:
        """Whether one model is enough work to be measured by itself, even if an example uses each parameter once."""
        calibrated = self.work.computation.calibrating is not None
        passes = len(self.work.train if calibrated else examples)
        return not thetas.is_cuda and is_large(2.0 * passes * thetas.shape[1])

    def gradient(self, thetas: Thetas, rows: Rows | None) -> Gradient:
        """Losses and gradients of all; one at a time where training draws at random."""
        computation, train = self.work.computation, self.work.train
        if computation.draws:
            return Loop(self.work).gradient(thetas, rows)
        at_once = len(train) if computation.kind == "whole" else min(len(train), computation.chunk)
        examples = at_once if rows is None else rows.shape[1]

        def compute(part: slice) -> Gradient:
            examples_of_part, rows_of_part = brought(train, None if rows is None else rows[part])
            losses = by_autograd(self._losses)
            return slopes_beside(
                losses, thetas[part], rows_of_part, examples_of_part, computation.chunk, computation.kind
            )

        return gradient_in_parts(thetas, width(examples, self.work.elements), compute)

    def _losses(self, thetas: Thetas, rows: Rows | None, examples: DataSet) -> Weighed:
        computation, places = self.computation, (0, None if rows is None else 0)
        if computation.kind == "ratio":
            return Weighed(*vmap(partial(computation.weighed_loss, examples=examples), places)(thetas, rows))
        return Weighed(vmap(partial(computation.loss, examples=examples), places)(thetas, rows), len(examples))


def _kept(examples: DataSet, means: Sequence[Mean], block: int) -> int:
    """DataSet whose outputs are held at once."""
    return min(len(examples), block) if all(mean.adds for mean in means) else len(examples)
