"""The engine for plain networks whose whole gradient is one call of code that the system's compiler made."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Literal

import torch
from jaxtyping import Float, Float64, Int64
from torch import Tensor

from weightstring.arrays import Positions, Rows, Stretch, Theta, Thetas
from weightstring.descent.stepping import Update
from weightstring.devices import on_cpu
from weightstring.errors import InvalidModel
from weightstring.problem.datasets.data import DataSet, Examples
from weightstring.problem.engines.base import ENGINES, Workload, brought, weighed_slopes, without_fallback_warnings
from weightstring.problem.engines.criteria import amounts, misclassified, of_each
from weightstring.problem.engines.first_layer import KEPT_BYTES, SharedFirstLayer
from weightstring.problem.engines.loop import Loop
from weightstring.problem.engines.native.calls import Between, Program
from weightstring.problem.engines.of_stack import OfStack
from weightstring.problem.engines.parts import in_parts, width
from weightstring.problem.losses.means import Mean, Number, Wanted
from weightstring.problem.losses.tally import Tally
from weightstring.problem.rearranging import channels_last
from weightstring.protocol import Gradient


@ENGINES.register("native")
@dataclass(frozen=True, eq=False)
class Native(OfStack):
    """One call for all layers and models; each model is computed by itself, samples as the lanes of vectors.

    Raises:
        InvalidModel: the module is no plain sequential network of the layers and losses that were written for it, or
            there is no compiler here.
    """

    gain, steady, planes = 1.0, True, True
    without = "searches of small networks take up to five times as long; install g++ or clang++"  # BENCHMARKS.md

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

    def measure(self, thetas: Thetas, wanted: Wanted) -> Float64[Tensor, "B Q"]:
        """What is wanted of all; the loss and the error rate in the pass that makes the outputs."""
        if all(self.reads(examples) for examples, _ in wanted):
            return beside([self._own(thetas, examples, means) for examples, means in wanted])
        return super().measure(thetas, wanted)

    def means(self, thetas: Thetas, examples: DataSet, means: Sequence[Mean]) -> Float64[Tensor, "B Q"]:
        """Means over one data set."""
        if not self.stack.takes(examples):  # images of another size
            return Loop(self.work).measure(thetas, [(examples, means)])
        return self._own(thetas, examples, means) if self.reads(examples) else super().means(thetas, examples, means)

    def _own(self, thetas: Thetas, examples: DataSet, means: Sequence[Mean]) -> Float64[Tensor, "B Q"]:
        return self.columns(len(thetas), lambda part, _: thetas[part], examples, means)

    def reads(self, examples: DataSet) -> bool:
        """Whether the loss of examples was written for them."""
        some = examples if examples.in_memory else examples.take(slice(1)).held()
        return isinstance(some, Examples) and self.program.reads(some)

    def columns(
        self,
        count: int,
        models: Callable[[slice, DataSet], Thetas | Sequence[Between]],
        examples: DataSet,
        means: Sequence[Mean],
    ) -> Float64[Tensor, "B Q"]:
        """Means over examples of ``models``: the loss by the code, others from outputs; see :meth:`Program.measure`.

        What is stored elsewhere comes in parts of whole blocks, and gives the same bits as in memory.
        """
        block = self.program.block * max(1, self.work.computation.block // self.program.block)
        kinds = [self._kind(mean) for mean in means]
        others = [mean for mean, kind in zip(means, kinds, strict=True) if kind is None]

        def compute(part: slice) -> Float64[Tensor, "B Q"]:
            size = part.stop - part.start
            own = {kind: torch.zeros(size, dtype=torch.float64) for kind in kinds if kind is not None}
            tally = Tally(others, len(examples), torch.empty(0), amounts, axis=1) if others else None
            parts = [examples] if examples.in_memory else (examples.take(rows).held() for rows in blocks(len(examples)))
            for piece in parts:
                outputs = self.program.measure(
                    models(part, piece), piece, **own, total=len(examples), outputs=bool(others)
                )
                if outputs is not None and tally is not None:
                    for rows in blocks(len(piece)):
                        tally.add(outputs[:, rows], piece.targets[rows])
            if "wrong" in own:
                own["wrong"] /= len(examples)
            if tally is None and len(kinds) == 1:
                return next(iter(own.values()))[:, None]
            rest = iter(() if tally is None else tally.values().unbind(1))
            return torch.stack([next(rest) if kind is None else own[kind] for kind in kinds], dim=1)

        def blocks(count: int) -> list[slice]:
            return [slice(first, min(first + block, count)) for first in range(0, count, block)]

        once = len(examples) if examples.in_memory else min(block, len(examples))
        with torch.no_grad(), without_fallback_warnings() if others else nullcontext():
            return torch.cat(in_parts(count, width(once, self.program.width), compute))

    def _kind(self, mean: Mean) -> Literal["losses", "wrong"] | None:
        """What of the program's sums a mean is; None: it is taken from outputs."""
        if mean is self.work.computation.loss_fn:
            return "losses"
        return "wrong" if self.program.has_classes and of_each(mean) is misclassified else None

    def outputs(self, thetas: Thetas, examples: DataSet) -> Float[Tensor, "B n out"]:
        """Outputs of all."""
        outputs = self.program.measure(thetas, examples, outputs=True)
        assert outputs is not None
        return outputs

    def first_layer(self) -> SharedFirstLayer:
        """Measures the models of a segment, whose first layer's products are those of its ends."""
        return NativeFirstLayer(self)

    def gradient(self, thetas: Thetas, rows: Rows | None) -> Gradient:
        """Losses and gradients of all; one at a time in torch where training draws at random."""
        computation, train = self.work.computation, self.work.train
        if computation.draws:
            work = self.work if self.stack.shape is None else replace(self.work, computation=channels_last(computation))
            return Loop(work).gradient(thetas, rows)
        if rows is None:
            return weighed_slopes(self._part, thetas, None, train, computation.chunk)[0]
        examples, rows = brought(train, rows)
        return self.program.gradient(thetas, rows, examples.held())

    @property
    def strides(self) -> bool:
        """Whether nothing is drawn."""
        return not self.work.computation.draws

    @property
    def ties(self) -> bool:
        """Yes."""
        return True

    def stride(self, thetas: Float[Tensor, "B W"], rows: Int64[Tensor, "M k n"] | None, update: Update) -> None:
        """Take k steps with each of B models, in place."""
        examples, places = brought(self.work.train, None if rows is None else rows.flatten(1))
        rows = None if places is None or rows is None else places.view_as(rows)
        self.program.stride(thetas, rows, examples.held(), update)

    def _part(self, thetas: Thetas, rows: Rows | None, examples: DataSet) -> tuple[Gradient, Number]:
        return self.program.gradient(thetas, rows, examples), len(examples)


class NativeFirstLayer(SharedFirstLayer):
    """The same in one call for all models of a segment: their first layer's activations are made block by block."""

    def __init__(self, engine: Native) -> None:
        super().__init__(engine.stack)
        self._engine = engine

    def measure(self, a: Theta, b: Theta, ts: Positions, wanted: Wanted) -> Float64[Tensor, "T Q"]:
        """Means over whole data sets of the models at positions ``ts``, in the order wanted."""
        return self.measure_segments([(a, b, ts)], wanted)

    def measure_segments(self, stretches: Sequence[Stretch], wanted: Wanted) -> Float64[Tensor, "T Q"]:
        """The same of several segments in one call."""
        if not all(self._engine.reads(examples) for examples, _ in wanted):
            return torch.cat([super(NativeFirstLayer, self).measure(*stretch, wanted) for stretch in stretches])
        stretches = [(a.contiguous(), b.contiguous(), ts) for a, b, ts in stretches]
        places = [(i, t) for i, (_, _, ts) in enumerate(stretches) for t in ts.tolist()]

        def between(part: slice, examples: DataSet, kept: bool) -> list[Between]:
            products, of_ends = self.products if kept else self.made, dict[int, tuple[Tensor, Tensor]]()
            models = list[Between]()
            for i, t in places[part]:
                a, b, _ = stretches[i]
                if i not in of_ends:
                    of_ends[i] = products(a, examples), products(b, examples)
                models.append(Between(a, b, *of_ends[i], t))
            return models

        columns = (
            self._engine.columns(len(places), partial(between, kept=examples.in_memory), examples, means)
            for examples, means in wanted
        )
        return beside(list(columns))

    def at_once(self, examples: int) -> int:
        """As many as have their ends' products kept."""
        first = self._stack.affine[0].outputs * examples * self._stack.layout.dtype.itemsize
        return max(1, KEPT_BYTES // (2 * first))

    def made(self, theta: Theta, examples: DataSet) -> Float[Tensor, "h n"]:
        """The first layer's products, (h, n)."""
        return self._engine.program.first_layer(theta, examples)


def beside(columns: Sequence[Float64[Tensor, "B _"]]) -> Float64[Tensor, "B Q"]:
    """Columns of several data sets."""
    return columns[0] if len(columns) == 1 else torch.cat(list(columns), dim=1)
