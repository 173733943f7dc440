"""A program, run on enclosures: each step by its rule, what is made of data alone as the numbers that it is."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from typing import Any

import torch
from torch import Tensor

from weightstring.problem.datasets.data import Examples
from weightstring.proof.enclose.derived import Derived, FromData
from weightstring.proof.enclose.enclosure import Enclosure
from weightstring.proof.enclose.intervals import Intervals, Weights
from weightstring.proof.enclose.products import Products
from weightstring.proof.enclose.rules import GROUPED, NORMS, RULES, Call, require_rule
from weightstring.proof.enclose.rules.batch_norm import estimated
from weightstring.proof.enclose.softmax import Probabilities
from weightstring.proof.enclose.values import Bounds, Data, Rows
from weightstring.tracing.program import RESIZING, Program
from weightstring.tracing.steps import Step, filled

CONVOLUTIONS = ("conv1d.default", "conv2d.default", "conv1d.padding", "conv2d.padding")

DEFERRED = {"cross_entropy_loss.default", "log_softmax.int", "argmax.default", "dropout.default"}
"""What may read a last layer that is not computed yet."""

LAYERS = {"linear.default", *CONVOLUTIONS}


@dataclass(frozen=True, eq=False)
class Stretch:
    """Some intervals, for one block of examples after another.

    Args:
        intervals: their segments counted among the beads in play.
        parameters: at those beads, by the name of the program's input.
        products: of the inputs with first layers there.
        kept: what is the same for all examples, by step.
        statistics: running statistics that are functions of θ, (I, 1, C), by the name of the program's input.
    """

    intervals: Intervals
    parameters: Mapping[str, Weights]
    products: Products
    kept: dict[str, Any]
    statistics: Mapping[str, Enclosure] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class Walk:
    """A program's steps on enclosures.

    Args:
        program: what is computed.
        examples: of the set that is measured.
        derived: what is made of data alone.
        degree: of the enclosures.
    """

    program: Program
    examples: Examples
    derived: FromData
    degree: int

    @cached_property
    def deferred(self) -> frozenset[str]:
        """The last layers, which the loss computes itself."""
        return frozenset(
            step.name
            for step in self.program.steps
            if step.op in ("linear.default", "transpose.int") and self._read_by_losses(step.name)
        )

    @cached_property
    def images(self) -> bool:
        """Whether BatchNorm makes errors of whole images worth a length; tokens have their own."""
        return any(step.op in NORMS for step in self.program.steps)

    @cached_property
    def unnormalised(self) -> frozenset[str]:
        """The layers whose outputs are scaled next."""
        return frozenset(
            step.name
            for step in self.program.steps
            if step.op in LAYERS and self._outputs_are_channels(step) and self._read_by_norms(step.name)
        )

    def _outputs_are_channels(self, step: Step) -> bool:
        """Whether a layer's outputs lie along the axis that BatchNorm scales, as tokens' do not."""
        return step.op in CONVOLUTIONS or len(step.shape) == 2

    def _read_by_norms(self, name: str) -> bool:
        users = self.program.users(name)
        return bool(users) and all(user.op in NORMS and user.takes[0] == name for user in users)

    def _read_by_losses(self, name: str) -> bool:
        passing, users = RESIZING | {"transpose.int"}, self.program.users(name)
        return bool(users) and all(
            u.op in DEFERRED or (u.op in passing and self._read_by_losses(u.name)) for u in users
        )

    @cached_property
    def grouped(self) -> bool:
        """Whether errors of groups of numbers have a length."""
        return any(step.op in GROUPED for step in self.program.steps if step.name not in self.program.of_data)

    def result(self, over: Stretch, rows: Rows) -> object:
        """What the program returns."""
        bounded = torch.ones(len(over.intervals), dtype=torch.bool, device=over.intervals.low.device)
        result: object = None
        for step, value in self.steps(over, rows):
            if isinstance(value, Enclosure):
                bounded &= value.size.isfinite()
            if step.name == self.program.result:
                result = value
        if not isinstance(result, Bounds):
            return result
        # Of numbers that overflowed on the way, nothing is known.
        return replace(result, each=result.each.where(bounded.unsqueeze(1), torch.inf))

    def steps(self, over: Stretch, rows: Rows) -> Iterator[tuple[Step, object]]:
        """Each step and what it makes of enclosures."""
        values = self._given(over, rows)
        for step in self.program.steps:
            yield step, self._done(self._call(step, over, rows), values)

    def estimates(self, over: Stretch, rows: Rows) -> Iterator[tuple[str, Enclosure]]:
        """Running statistics of some examples, by the name of the program's input, one for each use of them.

        Layers that have such statistics normalise by those of the examples themselves.
        """
        values, wanted = self._given(over, rows), self._estimating
        for step in self.program.steps:
            call = self._call(step, over, rows)
            if step.name not in wanted:
                self._done(call, values)
                continue
            x, weight, bias, mean, variance = step.args[:5]
            x, weight, bias = (filled(part, values) for part in (x, weight, bias))
            found = estimated(call, x, weight, bias, step.args[7 if step.op == "batch_norm.default" else 6])
            yield mean.name, found.mean
            yield variance.name, found.variance
            if step.name == wanted[-1]:
                return
            output = self._settled(found.output, step)
            self._keep(step, values, output if step.op == "batch_norm.default" else [output])

    @cached_property
    def _estimating(self) -> list[str]:
        """The steps that have running statistics which are functions of θ."""
        moving = self.program.statistics
        return [step.name for step in self.program.steps if step.op in NORMS and any(n in moving for n in step.takes)]

    def _given(self, over: Stretch, rows: Rows) -> dict[str, object]:
        """What the steps take."""
        values: dict[str, object] = {**self.program.constants, **over.parameters, **over.statistics}
        names, data = (*self.program.leaves, self.program.targets), (*self.examples.leaves, self.examples.targets)
        for name, whole in zip(names, data, strict=True):
            values[name] = Data(partial(torch.Tensor.__getitem__, whole, rows.rows), name, partial(_itself, whole))
        return values

    def _call(self, step: Step, over: Stretch, rows: Rows) -> Call:
        return Call(
            step,
            step.name in self.program.per_example,
            over.intervals,
            self.degree,
            rows,
            step.name in self.deferred,
            step.name in self.unnormalised,
            self.images,
            over.kept,
            over.products,
            self.program.dtype,
        )

    def _done(self, call: Call, values: dict[str, object]) -> object:
        """What a step makes of them, kept for those to come."""
        step = call.step
        value = self._of_data(call, values) if step.name in self.program.of_data else self._result(call, values)
        if isinstance(value, Enclosure) and _is_whole(step):
            raise call.refuse("it computes in integers, which may overflow")
        return self._keep(step, values, self._settled(value, step))

    def _keep(self, step: Step, values: dict[str, object], value: object) -> object:
        values[step.name] = value
        for name in self.program.last_used[step.name]:
            values.pop(name, None)
        return value

    def _settled(self, value: object, step: Step) -> object:
        """With the length of errors, where that is worth its price."""
        if not self.grouped:
            return value
        if isinstance(value, Probabilities):
            return Probabilities(value.enclosure.grouped())
        if isinstance(value, list):
            return [self._settled(part, step) for part in value]
        if not isinstance(value, Enclosure) or len(value.shape) <= 2:
            return value
        if self.images and step.op in CONVOLUTIONS and value.norm is None:  # of a whole image
            return value.grouped(tuple(range(-1, 2 - len(value.shape), -1)))
        return value.grouped()

    def _result(self, call: Call, values: dict[str, object]) -> object:
        """What a step makes of enclosures."""
        for name in call.step.takes:
            if isinstance(values[name], Derived):
                values[name] = self.derived.value(name, call.rows)
        return RULES[call.step.op](call, *filled(call.step.args, values), **filled(call.step.kwargs, values))

    def _of_data(self, call: Call, values: dict[str, object]) -> object:
        """The same of what does not depend on θ; what has no rule is computed when something needs it."""
        step = call.step
        if step.name in self.program.varying or any(isinstance(values[name], Derived) for name in step.takes):
            return Derived()
        try:
            require_rule(step)
            result = self._result(call, values)
            return Derived() if isinstance(result, Enclosure) and _is_whole(step) else result
        except Exception:  # whatever a rule makes of it: the numbers themselves are at hand
            return Derived()


def _is_whole(step: Step) -> bool:
    return step.dtype is not None and not step.dtype.is_floating_point


def _itself(values: Tensor) -> Tensor:
    return values
