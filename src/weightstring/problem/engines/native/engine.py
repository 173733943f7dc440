"""The engine for plain networks whose whole gradient is one call of code that the system's compiler made."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from jaxtyping import Float, Float64, Int64
from torch import Tensor

from weightstring.arrays import Rows, Thetas
from weightstring.descent.stepping import Update
from weightstring.devices import on_cpu
from weightstring.errors import InvalidModel
from weightstring.problem.datasets.data import DataSet, Examples
from weightstring.problem.engines.base import ENGINES, Workload, brought, slopes
from weightstring.problem.engines.loop import Loop
from weightstring.problem.engines.native.calls import Program
from weightstring.problem.engines.of_stack import OfStack
from weightstring.problem.losses.means import Mean, Number
from weightstring.protocol import Gradient


@ENGINES.register("native")
@dataclass(frozen=True, eq=False)
class Native(OfStack):
    """One call for all layers and models; each model is computed by itself, samples as the lanes of vectors.

    Raises:
        InvalidModel: the module is no plain sequential network of the layers and losses that were written for it, or
            there is no compiler here.
    """

    gain, steady = 1.0, True

    program: Program = field(init=False)

    def __post_init__(self) -> None:
        super().__post_init__()
        layout, train = self.stack.layout, self.work.train
        if not on_cpu(next(self.work.computation.evaluating.module.parameters())):
            raise InvalidModel("native code runs on the CPU alone: pass engine='auto'")
        program = Program(self.stack, self.work.computation.loss_fn)
        if not program.reads(train.take(slice(1))):
            raise InvalidModel(
                f"native code knows inputs of {layout.dtype} with classes, or numbers like the outputs, as targets: "
                "pass engine='auto'"
            )
        object.__setattr__(self, "program", program)

    def __reduce__(self) -> tuple[type[Native], tuple[Workload]]:
        return Native, (self.work,)  # code does not travel; another process loads its own

    def means(self, thetas: Thetas, examples: DataSet, means: Sequence[Mean]) -> Float64[Tensor, "B Q"]:
        """Means over a data set; the loss in the same pass as the outputs."""
        same = len(means) == 1 and means[0] is self.work.computation.loss_fn
        if same and isinstance(examples, Examples) and self.program.reads(examples):
            return self.program.losses(thetas, examples)[:, None]
        return super().means(thetas, examples, means)

    def outputs(self, thetas: Thetas, examples: DataSet) -> Float[Tensor, "B n out"]:
        """Outputs of all."""
        return self.program.outputs(thetas, examples)

    def gradient(self, thetas: Thetas, rows: Rows | None) -> Gradient:
        """Losses and gradients of all; one at a time in torch where training draws at random."""
        computation, train = self.work.computation, self.work.train
        if computation.draws:
            return Loop(self.work).gradient(thetas, rows)
        examples, rows = brought(train, rows)
        if rows is None and not train.in_memory:
            return slopes(self._part, thetas, None, train, computation.chunk)
        return self.program.gradient(thetas, rows, examples.held())

    @property
    def strides(self) -> bool:
        """Whether nothing is drawn, and the examples are in memory."""
        return self.work.train.in_memory and not self.work.computation.draws

    def stride(self, thetas: Float[Tensor, "B W"], rows: Int64[Tensor, "B k n"] | None, update: Update) -> None:
        """Take k steps with each of B models, in place."""
        self.program.stride(thetas, rows, self.work.train.held(), update)

    def _part(self, thetas: Thetas, rows: Rows | None, examples: DataSet) -> tuple[Gradient, Number]:
        return self.program.gradient(thetas, rows, examples), len(examples)
