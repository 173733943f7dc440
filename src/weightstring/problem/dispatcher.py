"""Sends each computation to the selected engine, with as many threads as it is worth."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, ExitStack, nullcontext
from functools import cached_property

import torch
from jaxtyping import Float, Float64, Int64
from torch import Tensor

from weightstring.arrays import Rows, Stretch, Thetas, aligned, together
from weightstring.descent.stepping import Update
from weightstring.devices import on_cpu, sent
from weightstring.failures import user_code
from weightstring.memory import Activations
from weightstring.problem.engines import ENGINES, Engine, Workload, on_threads
from weightstring.problem.engines.base import REFERENCE
from weightstring.problem.engines.first_layer import SharedFirstLayer
from weightstring.problem.engines.loop import Loop
from weightstring.problem.engines.of_stack import OfStack
from weightstring.problem.engines.selection import EngineSelection
from weightstring.problem.engines.threads import BACKWARD, is_large, threads_for
from weightstring.problem.inspection.coupling import couples
from weightstring.problem.losses.means import Wanted
from weightstring.protocol import Gradient

LARGE_BYTES = 1 << 20
"""Bytes of θ from which on memory is given back to the system when it is freed: getting it anew takes long."""


class Dispatcher:
    """Losses and gradients of a workload by the selected engine, small calls on one thread.

    Several workloads of one module share a selection.
    """

    def __init__(self, work: Workload, selection: EngineSelection) -> None:
        self.work = work
        self.selection = selection
        self._engines: dict[str, Engine] = {}
        self._first_layer: SharedFirstLayer | None = None

    def on(self, work: Workload) -> Dispatcher:
        """The same engine and threads for other data."""
        return Dispatcher(work, self.selection)

    @property
    def engine(self) -> Engine:
        """The selected engine, made for this workload."""
        name = self.selection.choice.name
        if self.work is self.selection.trial.work:
            return self.selection.trial.engine(name)
        if name not in self._engines:
            self._engines[name] = ENGINES[name](self.work)
        return self._engines[name]

    def measure(self, thetas: Thetas, wanted: Wanted) -> Float64[Tensor, "B Q"]:
        """Measure B models."""
        return self._beside(wanted, lambda rest: self._measure(thetas, rest), lambda: thetas)

    def _beside(
        self, wanted: Wanted, by_engine: Callable[[Wanted], Tensor], models: Callable[[], Thetas]
    ) -> Float64[Tensor, "B Q"]:
        """Measure by the engine, but by the loop what is measured model by model."""
        apart = [mean.alone for _, means in wanted for mean in means]
        if not any(apart) or not self.work.train.together:  # batches go through the loop anyway
            return by_engine(wanted)
        thetas = models()
        alone, passes = _only(wanted, alone=True), self._examples(wanted)
        with user_code(lambda: f"what {_models(thetas)} measure"), self._threads(1, passes):
            columns = Loop(self.work).measure(aligned(thetas), alone)[: len(thetas)]
        others = None if all(apart) else by_engine(_only(wanted, alone=False))
        taken = {True: iter(columns.unbind(1)), False: iter(() if others is None else others.unbind(1))}
        return torch.stack([next(taken[own]) for own in apart], dim=1)

    def _measure(self, thetas: Thetas, wanted: Wanted) -> Float64[Tensor, "B Q"]:
        first_layer, passes = self.first_layer, self._examples(wanted)
        # A module that computes with parameters alone has its own copy of them, wherever θ begins.
        thetas = thetas if isinstance(self.engine, Loop) and self.work.computation.fixed else aligned(thetas)
        with user_code(lambda: f"what {_models(thetas)} measure"), self._threads(len(thetas), passes):
            if first_layer is not None and on_cpu(thetas) and is_large(passes * self.selection.choice.flops):
                return first_layer.measure_models(thetas, wanted)
            return self.engine.measure(thetas, wanted)

    def activations(self) -> Activations:
        """What one call keeps beside its models, in as many models as the engine computes together."""
        trial, computation = self.selection.trial, self.work.computation
        # An output, its input, and what is made of it.
        forward = (
            3 * trial.activations * trial.own.layout.dtype.itemsize * min(computation.block, len(trial.evaluation))
        )
        return Activations(forward, int(trial.saved_bytes() * trial.batch_size))

    def gradient(self, thetas: Thetas, rows: Rows | None) -> Gradient:
        """Training losses and gradients of B models."""
        if rows is None and self.couples:
            rows = torch.arange(len(self.work.train), device="cpu").expand(len(thetas), -1)
        if rows is not None and not self._stay(rows):
            rows = sent(rows, thetas.device)
        examples = len(self.work.train) if rows is None else rows.shape[1]
        with user_code(lambda: f"the gradient of {_models(thetas)}"), self._threads(len(thetas), BACKWARD * examples):
            return self.engine.gradient(aligned(thetas), rows)

    @property
    def strides(self) -> bool:
        """Whether the engine takes several steps at once."""
        return self.engine.strides

    def stride(self, thetas: Float[Tensor, "B W"], rows: Int64[Tensor, "M k n"] | None, update: Update) -> None:
        """Take k steps with each of B models, in place."""
        examples = len(self.work.train) if rows is None else rows.shape[2]
        with user_code(lambda: f"the gradient of {_models(thetas)}"), self._threads(len(thetas), BACKWARD * examples):
            self.engine.stride(thetas, rows, update)

    def _stay(self, rows: Rows) -> bool:
        """Whether rows are wanted on the CPU: draws are seeded by them, and the loop takes its examples by them.

        Reading them back would wait for all that a GPU has still to compute.
        """
        return on_cpu(rows) and (self.work.computation.draws or self.selection.choice.name == REFERENCE)

    @cached_property
    def couples(self) -> bool:
        """Whether examples of different chunks interact in training, so that all must be one batch."""
        computation, train = self.work.computation, self.work.train
        return (
            train.together
            and len(train) > computation.chunk
            and couples(computation, self.selection.trial.own.theta, train)
        )

    @property
    def first_layer(self) -> SharedFirstLayer | None:
        """Measures a segment's models together; None if that gains nothing."""
        engine = self.engine
        if not isinstance(engine, OfStack):
            return None
        if self._first_layer is None:
            self._first_layer = engine.first_layer()
        return self._first_layer if self._first_layer.pays else None

    @property
    def shares_along(self) -> bool:
        """Whether the models of a segment are measured cheaper from its ends."""
        return self.first_layer is not None or self._in_place

    @property
    def _in_place(self) -> bool:
        """Whether they are written into a module one by one, and making each of them would take long."""
        layout = self.selection.trial.own.layout
        return isinstance(self.engine, Loop) and layout.size * layout.dtype.itemsize >= LARGE_BYTES

    @property
    def segments_at_once(self) -> int:
        """Of how many segments the models are measured in one call."""
        examples = max(len(self.work.train), len(self.selection.trial.evaluation))
        return 1 if self.first_layer is None else self.first_layer.at_once(examples)

    def measure_segments(self, stretches: Sequence[Stretch], wanted: Wanted) -> Float64[Tensor, "T Q"]:
        """Measure models between two, of one stretch after the other; the first layer's products serve several."""
        first_layer, engine = self.first_layer, self.engine

        def computing(rest: Wanted) -> AbstractContextManager[object]:
            count = sum(len(ts) for _, _, ts in stretches)
            where = "a segment" if len(stretches) == 1 else f"{len(stretches)} segments"
            guards = ExitStack()
            guards.enter_context(user_code(lambda: f"what models at {count} places of {where} measure"))
            guards.enter_context(self._threads(1, self._examples(rest)))
            return guards

        def models() -> Thetas:
            return together([torch.lerp(a, b, ts.to(a).unsqueeze(1)) for a, b, ts in stretches])

        if isinstance(engine, Loop):
            with computing(wanted):
                return together([engine.measure_along(*stretch, wanted) for stretch in stretches])
        if first_layer is None:
            return self.measure(models(), wanted)

        def shared(rest: Wanted) -> Float64[Tensor, "T Q"]:
            with computing(rest):
                return first_layer.measure_segments(stretches, rest)

        return self._beside(wanted, shared, models)

    def _examples(self, wanted: Wanted) -> int:
        work = self.work
        calibrating = len(work.train) if work.computation.calibrating is not None else 0
        return calibrating + sum(len(examples) for examples, _ in wanted)

    def _threads(self, models: int, passes: float) -> AbstractContextManager[None]:
        """Set the threads for so many forward passes of one example with each model.

        An engine that is not joint computes a model that fills a call by itself, and the others in calls that fit into
        the cache: there the number beside it decides nothing.
        """
        choice = self.selection.choice
        if self.selection.trial.own.on_gpu:
            return nullcontext()
        most = choice.threads or torch.get_num_threads()
        beside = models if ENGINES[choice.name].joint else 1
        return on_threads(threads_for(beside * passes * choice.flops, most))


def _only(wanted: Wanted, *, alone: bool) -> Wanted:
    """The criteria that are measured model by model, or the others."""
    kept = [(examples, [mean for mean in means if mean.alone is alone]) for examples, means in wanted]
    return [(examples, means) for examples, means in kept if means]


def _models(thetas: Thetas) -> str:
    return "a model" if len(thetas) == 1 else f"{len(thetas)} models"
