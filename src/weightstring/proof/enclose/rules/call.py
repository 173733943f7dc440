"""What a rule knows, and the table that rules are entered in."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeAlias, TypeVar

import torch
from torch import Tensor

from weightstring.errors import Unsupported
from weightstring.proof.enclose.enclosure import Enclosure
from weightstring.proof.enclose.intervals import Intervals, Weights
from weightstring.proof.enclose.linear import LinearMap, Unnormalised
from weightstring.proof.enclose.products import Products
from weightstring.proof.enclose.softmax import Probabilities, log_softmax
from weightstring.proof.enclose.values import Data, Logits, LogProbabilities, Rows
from weightstring.registry import Registry
from weightstring.tracing.steps import Step


@dataclass(frozen=True, eq=False)
class Call:
    """What a rule knows besides its arguments.

    Args:
        step: the operation.
        per_example: whether axis 0 of its result is the examples'.
        intervals: where θ lies.
        degree: of the enclosures.
        rows: the examples at hand.
        deferred: whether only a loss reads the result, which then does the operation itself.
        unnormalised: whether only BatchNorm reads the result.
        images: whether errors of whole images have a length.
        kept: what is the same for all examples, by step.
        products: what layers make of the inputs at the beads in play.
        dtype: of the parameters.
    """

    step: Step
    per_example: bool
    intervals: Intervals
    degree: int
    rows: Rows
    deferred: bool
    unnormalised: bool
    images: bool
    kept: dict[str, Any]
    products: Products
    dtype: torch.dtype

    def prepared(self, build: Callable[[], LinearMap]) -> LinearMap:
        """The step's map for these intervals, built once for all examples."""
        if self.step.name not in self.kept:
            self.kept[self.step.name] = build()
        prepared: LinearMap = self.kept[self.step.name]
        return prepared

    def refuse(self, why: str) -> Unsupported:
        """An error that names the operation."""
        return Unsupported(f"{self.step.where}: {why}, for which certificates have no rule")

    def enclosed(self, value: object) -> Enclosure:
        """A value as an enclosure of all samples at hand."""
        if isinstance(value, Enclosure):
            return value
        if isinstance(value, Logits | Unnormalised):
            return value.settled()
        if isinstance(value, Probabilities):
            return value.enclosure
        if isinstance(value, LogProbabilities):
            return log_softmax(self.enclosed(value.logits))
        if isinstance(value, Data):
            if (reached := self.products.kept.reach(value)) == math.inf:
                raise self.refuse("it takes −inf other than as a mask")
            numbers = value.values.double().unsqueeze(0).expand(len(self.intervals), *value.values.shape)
            size = torch.full((len(self.intervals),), reached, dtype=torch.float64, device=numbers.device)
            return Enclosure((numbers,) * (self.degree + 1), torch.zeros_like(numbers), size)
        raise self.refuse(f"it takes a {type(value).__name__}")

    def outputs(self, value: object) -> Logits | Enclosure:
        """A last layer that is not computed yet, where its outputs are (examples, classes), or a value enclosed."""
        if isinstance(value, Logits) and len(value.hidden.shape) == 3:
            return value
        return self.enclosed(value)

    def weights(self, value: object) -> Weights:
        """A parameter, or a constant tensor as one that stays where it is."""
        if isinstance(value, Weights):
            return value
        if isinstance(value, Tensor):
            return Weights(value.double().expand(len(self.products.beads), *value.shape))
        raise self.refuse(f"it takes a {type(value).__name__} as a weight")

    def operand(self, value: object) -> Enclosure:
        """A value that broadcasts with samples: what is the same for all of them as an enclosure of one."""
        rank = len(self.step.shape)
        if not isinstance(value, Weights | Tensor):
            enclosure = self.enclosed(value)
            if len(enclosure.shape) - 1 != rank:
                raise self.refuse("it combines different examples")
            return enclosure
        beads = self.weights(value).beads
        if beads.ndim - 1 == rank and beads.shape[1] == 1:
            beads = beads.squeeze(1)
        if beads.ndim - 1 >= rank:
            raise self.refuse("it combines a parameter that has a number for each example with the examples")
        shape = (*(1,) * (rank - beads.ndim), *beads.shape[1:])
        return Weights(beads.reshape(len(beads), *shape)).enclosed(self.intervals, self.degree)

    def operands(self, x: object, y: object) -> tuple[Enclosure, Enclosure]:
        """Two values of which at least one has a row for each sample."""
        if not any(isinstance(part, Enclosure | Logits | Probabilities | Data) for part in (x, y)):
            raise self.refuse("it combines parameters among themselves")
        return self.operand(x), self.operand(y)


Rule: TypeAlias = Callable[..., Any]

Function = TypeVar("Function", bound=Rule)

RULES: Registry[Rule] = Registry("certificate rule", group="weightstring.certificate_rules")
"""Rules by the name of torch's operator, such as ``linear.default``."""

SMOOTH: set[str] = set()
"""Operators that make enclosures of degree 2 worth their price."""


GROUPED: set[str] = set()
"""Operators that make the length of errors worth its price."""


def rule(*names: str, smooth: bool = False, grouped: bool = False) -> Callable[[Function], Function]:
    """Decorate a rule: what an operator makes of enclosures.

    It is called with a :class:`Call` and the operator's own arguments, with enclosures, weights, data and constants in
    place of tensors.

    Args:
        names: the operators', such as ``linear.default`` or ``library.operator.default``.
        smooth: whether it is curved, so that enclosures of degree 2 are worth their price.
        grouped: whether it mixes a group's numbers, so that the length of their errors is worth its price.
    """

    def enter(function: Function) -> Function:
        SMOOTH.update(names if smooth else ())
        GROUPED.update(names if grouped else ())
        return RULES.register(*names)(function)

    return enter
