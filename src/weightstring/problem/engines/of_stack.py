"""What the engines for plain sequential networks share."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import ClassVar

import torch
from jaxtyping import Float, Float64
from torch import Tensor

from weightstring.arrays import Thetas
from weightstring.errors import InvalidModel
from weightstring.problem.datasets.data import DataSet
from weightstring.problem.engines.base import ENGINES, Engine, without_fallback_warnings
from weightstring.problem.engines.criteria import amounts
from weightstring.problem.engines.first_layer import SharedFirstLayer
from weightstring.problem.engines.parts import in_parts, width
from weightstring.problem.engines.stack import Stack
from weightstring.problem.functional import forward
from weightstring.problem.losses.means import Mean, Wanted
from weightstring.problem.losses.tally import Tally

PLANES = ", and of plain Conv2d, MaxPool2d, AvgPool2d and AdaptiveAvgPool2d(1)"
CACHED_ELEMENTS = 2**18
"""Numbers in the widest layer of one call: about a processor's second-level cache."""


@dataclass(frozen=True, eq=False)
class OfStack(Engine):
    """Several models of a :class:`Stack` side by side, each computed by itself.

    Raises:
        InvalidModel: the module is no plain sequential network.
    """

    joint = False
    planes: ClassVar[bool] = False
    """Whether it computes convolutions and pooling."""

    stack: Stack = field(init=False)

    def __post_init__(self) -> None:
        computation = self.work.computation
        stack = Stack.of(computation.evaluating, self.work.train, self.planes)
        plain = computation.training.functional.call is forward and not computation.own_step
        if stack is None or computation.calibrating is not None or not plain:
            raise InvalidModel(
                f"engine={ENGINES.name_of(type(self))!r} runs only nn.Sequential of Linear, elementwise functions, "
                f"Dropout and Flatten{PLANES if self.planes else ''} on one floating input, without training_step and "
                "autocast: pass engine='auto'"
            )
        object.__setattr__(self, "stack", stack)

    def measure(self, thetas: Thetas, wanted: Wanted) -> Float64[Tensor, "B Q"]:
        """:meth:`Computation.measure` of all."""
        with torch.no_grad(), without_fallback_warnings():
            return torch.cat([self.means(thetas, examples, means) for examples, means in wanted], dim=1)

    def first_layer(self) -> SharedFirstLayer:
        """Measures the models of a segment, whose first layer's products are those of its ends."""
        return SharedFirstLayer(self.stack)

    @abstractmethod
    def outputs(self, thetas: Thetas, examples: DataSet) -> Float[Tensor, "B n out"]:
        """Outputs of all."""

    def means(self, thetas: Thetas, examples: DataSet, means: Sequence[Mean]) -> Float64[Tensor, "B Q"]:
        """Means over a data set, from the outputs of its parts."""
        chunk = min(self.work.computation.block, len(examples))

        def compute(part: slice) -> Float64[Tensor, "B Q"]:
            tally = Tally(means, len(examples), thetas, amounts, axis=1)
            for piece in examples.chunks(chunk):
                tally.add(self.outputs(thetas[part], piece), piece.targets)
            return tally.values()

        return torch.cat(in_parts(len(thetas), width(chunk, self.stack.widest, CACHED_ELEMENTS), compute))
