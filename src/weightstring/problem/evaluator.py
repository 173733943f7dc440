"""What a problem measures of its models."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property

import torch
from torch import Tensor

from weightstring.ambient import as_made
from weightstring.arrays import Positions, Stretch, Theta, Thetas, Values
from weightstring.errors import InvalidSetting
from weightstring.memory import Activations
from weightstring.problem.averaging.averaged import averaged
from weightstring.problem.averaging.predictions import Averaged, Predict
from weightstring.problem.batchwise.calls import OneCall, ReadCall
from weightstring.problem.batchwise.per_batch import PerBatch
from weightstring.problem.batchwise.stackable import as_examples
from weightstring.problem.capabilities import Recalibration
from weightstring.problem.datasets.batches import Batches
from weightstring.problem.datasets.data import DataSet, Examples, stacked
from weightstring.problem.datasets.stored import Stored
from weightstring.problem.each import Shares, measure_each
from weightstring.problem.losses.means import Criterion
from weightstring.problem.parts import Parts
from weightstring.problem.trace_inputs import TraceInputs
from weightstring.problem.untraceable import require_batch_norms, require_fixed, require_traceable


class Evaluator:
    """The part of a :class:`ModuleProblem` that measures."""

    _parts: Parts

    @property
    def quantities(self) -> tuple[str, ...]:
        """``loss`` and the metrics on the evaluation set, then on the others with a prefix."""
        return self._parts.quantities.names

    @property
    def units(self) -> str:
        """What data are counted in: ``"examples"``, or whole ``"batches"``."""
        return self._parts.train.units

    @property
    def criteria(self) -> tuple[str, ...]:
        """``loss`` and the names of the metrics."""
        return tuple(self._parts.criteria)

    @property
    def rising(self) -> frozenset[str]:
        """The quantities that are better the higher they are, as their metrics say: no upper bound holds a model."""
        call, criteria = self._parts.computation.evaluating.functional.call, self._parts.criteria
        own = {**criteria, **call.metrics} if isinstance(call, PerBatch) else criteria
        risen = {name for name, given in own.items() if getattr(given, "higher_is_better", False)}
        risen |= set(getattr(call.loss, "rising", ())) if isinstance(call, PerBatch) else set()
        sets = self._parts.quantities.sets
        return frozenset(prefix + name for prefix in sets for name in risen)

    @property
    def curve_quantities(self) -> tuple[str, ...]:
        """The quantities measured along a finished string besides the one the threshold binds."""
        return self._parts.curve_quantities

    @property
    def spared(self) -> tuple[str, ...]:
        """Those of them that are left out where measuring them would take longer than the search did."""
        return self._parts.spared

    @property
    def evaluation(self) -> str:
        """What the evaluation set is: ``"evaluate"``, or ``"train"`` where none was given."""
        return "evaluate" if "evaluate" in self._parts.data else "train"

    def observed(self) -> Examples:
        """The evaluation set; of one on disk a fixed part, of batches how the loss of the first calls the module.

        Raises:
            Unsupported: it does not call it once.
        """
        data = self._parts.evaluation
        data = data.part() if isinstance(data, Stored) else data
        return data if isinstance(data, Examples) else self._seen

    @cached_property
    def _seen(self) -> OneCall:
        return self._call_read().examples("loss")

    def _call_read(self) -> ReadCall:
        function, batches = self._parts.computation.evaluating.functional, self._parts.evaluation
        return ReadCall(function, lambda: batches.take(slice(1)).inputs[0])

    def fitted(self) -> tuple[DataSet, Criterion]:
        """The training set and the loss."""
        return self._train, self._parts.quantities.means["loss"].scalar

    @property
    def _train(self) -> DataSet:
        return self._parts.train

    def measured(self, quantity: str) -> tuple[DataSet, Criterion]:
        """The examples on which a quantity is measured, and what is measured on them; of batches: :meth:`observed`.

        Raises:
            InvalidSetting: an unknown quantity.
            Unsupported: of batches, what does not call the module as the loss does.
        """
        data, mean = self._parts.quantities.single(quantity)
        if isinstance(data, Examples | Stored):
            return data, mean.scalar
        name = next(name for name, own in self._parts.quantities.means.items() if own is mean)
        return self._seen, self._call_read().criterion(name, self._seen)

    def beside(self, quantities: Sequence[str]) -> tuple[str, ...]:
        """These quantities and all others of the same sets, which the same passes over them tell.

        What sees inputs is measured in passes of its own.

        Raises:
            InvalidSetting: an unknown quantity.
        """
        return self._parts.quantities.beside(quantities)

    def examples(self, quantity: str) -> int:
        """On how many examples a quantity is measured.

        Raises:
            InvalidSetting: an unknown quantity.
        """
        return len(self._parts.quantities.single(quantity)[0])

    @property
    def digests(self) -> Mapping[str, str]:
        """SHA-256 of the module without its parameters' numbers, and of each data set, by name."""
        return self._parts.digests

    @as_made
    def activations(self) -> Activations:
        """Bytes that one call keeps beside its models; of a gradient as two examples of the training set show it."""
        return self._parts.dispatcher.activations()

    @as_made
    def measure(self, thetas: Thetas, quantities: Sequence[str] = ("loss",)) -> dict[str, Values]:
        """Measure B models (B, P): float64 values (B,) on the CPU, by name.

        A pure function of θ, up to rounding that may depend on the engine.

        Raises:
            InvalidSetting: an unknown quantity.
            InvalidCheckpoint: models of another size or dtype.
        """
        self._parts.check(thetas, 2)
        names, wanted = self._parts.quantities.select(quantities)
        if not names or not len(thetas):
            return {name: torch.empty(len(thetas), dtype=torch.float64) for name in quantities}
        return _columns(quantities, names, self._parts.dispatcher.measure(thetas, wanted))

    @as_made
    def measure_each(self, theta: Theta, quantity: str = "loss") -> Values:
        """The quantity of one model (P,) on each of its N examples by itself: float64 (N,) on the CPU.

        The mean of these is the quantity. Where it is weighted, an example counts by its weight: N s_i / Σ w for
        s_i its share of the sum, so that an ignored one has 0.

        Raises:
            InvalidSetting: an unknown quantity.
            InvalidCheckpoint: θ has another size or dtype.
            Unsupported: the quantity is no mean over examples, nor a ratio of two sums over them.
        """
        return self.shares(theta, quantity).each

    @as_made
    def shares(self, theta: Theta, quantity: str = "loss") -> Shares:
        """What each of N examples adds to a quantity of one model (P,): sums and weights, whose totals' ratio it is.

        Raises:
            InvalidSetting, InvalidCheckpoint, Unsupported: as :meth:`measure_each`.
        """
        self._parts.check(theta, 1)
        examples, mean = self._parts.quantities.single(quantity)
        return measure_each(self._parts.computation, theta, self._train, examples, mean)

    def adds(self, quantity: str) -> bool:
        """Whether a quantity adds up over examples; otherwise it is measured on all outputs at once.

        Raises:
            InvalidSetting: an unknown quantity.
        """
        return self._parts.quantities.single(quantity)[1].adds

    @property
    def shares_along(self) -> bool:
        """Whether it is cheaper to measure the models of one segment together: see :meth:`measure_along`."""
        return self._parts.dispatcher.shares_along

    @as_made
    def measure_along(
        self, a: Theta, b: Theta, ts: Positions, quantities: Sequence[str] = ("loss",)
    ) -> dict[str, Values]:
        """Measure the models (1 − t) a + t b at positions ``ts`` (T,): float64 values (T,) on the CPU, by name.

        Where a wide linear layer comes first, its two products at the ends serve every t; a large module that computes
        one model at a time makes each in its own parameters. What is found at one t does not depend on the others.

        Raises:
            InvalidSetting: an unknown quantity.
            InvalidCheckpoint: ends of another size or dtype.
        """
        return self._measured_between([(a, b, ts)], quantities)

    @property
    def segments_at_once(self) -> int:
        """Of how many segments the models are measured in one call."""
        return self._parts.dispatcher.segments_at_once

    @as_made
    def measure_segments(
        self, stretches: Sequence[Stretch], quantities: Sequence[str] = ("loss",)
    ) -> dict[str, Values]:
        """Measure models of several segments: what :meth:`measure_along` gives of each (a, b, ts), one after the other.

        Raises:
            InvalidSetting: an unknown quantity.
            InvalidCheckpoint: ends of another size or dtype.
        """
        return self._measured_between(stretches, quantities)

    def _measured_between(self, stretches: Sequence[Stretch], quantities: Sequence[str]) -> dict[str, Values]:
        for a, b, _ in stretches:
            self._parts.check(a, 1)
            self._parts.check(b, 1)
        names, wanted = self._parts.quantities.select(quantities)
        count = sum(len(ts) for _, _, ts in stretches)
        if not names or not count:
            return {name: torch.empty(count, dtype=torch.float64) for name in quantities}
        return _columns(quantities, names, self._parts.dispatcher.measure_segments(stretches, wanted))

    @as_made
    def measure_average(
        self,
        thetas: Thetas | Sequence[Theta],
        quantities: Sequence[str] = ("loss",),
        average: str | None = None,
        predict: Predict | None = None,
    ) -> Averaged:
        """Measure the average of K models' (K, P) predictions as if it were one model.

        Args:
            thetas: the models, side by side or one by one: a sequence that makes each when it is asked for holds one at
                a time.
            quantities: what to measure; where no output is put together from several, there is a loss only.
            average: what of the predictions; None: as the loss reads them.
            predict: where they are in an output; None: the tensor that the loss reads.

        Raises:
            InvalidSetting: no models, an unknown quantity or average, or a ``predict`` that returns no tensor.
            InvalidModel: outputs that cannot be averaged, or nothing tells what of them.
            InvalidCheckpoint: models of another size or dtype.
        """
        if isinstance(thetas, Tensor):
            self._parts.check(thetas, 2)
        for theta in thetas if isinstance(thetas, list | tuple) else ():  # what makes models makes them like its first
            self._parts.check(theta, 1)
        names, _ = self._parts.quantities.select(quantities)
        if not len(thetas) or not names:
            raise InvalidSetting(f"{len(thetas)} models and quantities={list(quantities)}: give at least one of each")
        return averaged(self._parts, thetas, names, average, predict)

    def traceable(self, quantity: str) -> TraceInputs:
        """What a quantity is computed from: evaluating module, criterion, examples, and the most of these in one pass.

        Raises:
            InvalidSetting: an unknown quantity.
            Unsupported: batches show no single examples, parameters are in half precision, running statistics or
                spectral norm's vectors are functions of θ, or the quantity is a ratio of sums that only the caller
                knows.
        """
        require_fixed(self._parts)
        return self._trace_inputs(quantity)

    def recalibration(self, quantity: str) -> Recalibration | None:
        """How running statistics come from θ, for a certificate of a quantity; None: they are frozen.

        Raises:
            InvalidSetting: an unknown quantity.
            Unsupported: see :meth:`traceable`; or they are those of layers other than torch's BatchNorm.
        """
        computation = self._parts.computation
        if computation.calibrating is None:
            return None
        module = computation.calibrating.module
        require_batch_norms(module)
        examples = stacked(self._parts.train, "what re-estimates running statistics for certificates")
        names = frozenset(computation.statistics)
        return Recalibration(self._trace_inputs(quantity), module, examples, computation.chunk, names)

    def _trace_inputs(self, quantity: str) -> TraceInputs:
        data, mean = self._parts.quantities.single(quantity)
        require_traceable(self._parts, quantity)
        if isinstance(data, Batches):
            return self._stacked(quantity)
        module = self._parts.computation.evaluating.module
        examples = stacked(data, "what traces a loss, for certificates and theorems,")
        # What is no plain mean over examples is that of all of them, whatever blocks it is computed in.
        block = self._parts.computation.block if mean.kind == "mean" else len(examples)
        return TraceInputs(module, mean.scalar, examples, block)

    def _stacked(self, quantity: str) -> TraceInputs:
        """Batches as examples, put together once for each quantity."""
        known: dict[str, TraceInputs] = self.__dict__.setdefault("_known_stacks", {})
        if quantity not in known:
            data, mean = self._parts.quantities.single(quantity)
            assert isinstance(data, Batches)
            name = next(name for name, own in self._parts.quantities.means.items() if own is mean)
            known[quantity] = as_examples(self._parts.computation.evaluating.functional, data, name)
        return known[quantity]


def _columns(quantities: Sequence[str], names: Sequence[str], values: Tensor) -> dict[str, Values]:
    """Measured values (B, Q) by name, in the order asked for."""
    on_cpu = values.cpu()
    return {name: on_cpu[:, names.index(name)].clone() for name in quantities}
