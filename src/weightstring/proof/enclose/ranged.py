r"""Functions whose derivatives grow without bound: exp, log, roots, powers, as smooth ones on the range at hand.

Their derivatives are monotone where they are defined, so that the ends of an interval's values bound them. Where these
leave the domain the bound is infinite, and bisection goes on.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from weightstring.proof.enclose.enclosure import Enclosure, measured
from weightstring.proof.enclose.groups import length
from weightstring.proof.enclose.rounding import ELEMENTWISE, FLOOR
from weightstring.proof.enclose.smooth import remainder_of


@dataclass(frozen=True)
class Ranged:
    """A function of one variable and what its derivatives reach between two values.

    Args:
        value: φ.
        steepest: of the smallest and the largest argument no less than |φ'|, |φ''| and |φ'''| between them.
        positive: whether it is defined for positive arguments alone.
    """

    value: Callable[[Tensor], Tensor]
    steepest: Callable[[Tensor, Tensor], tuple[Tensor, Tensor, Tensor]]
    positive: bool = True

    def __call__(self, x: Enclosure) -> Enclosure:
        """φ of an enclosure."""
        low, high = x.range()
        if self.positive:
            low = low.where(low > 0, math.nan)
        first, second, third = (part * (1 + ELEMENTWISE) for part in self.steepest(low, high))
        rate = x.slope.abs() + 2 * x.top.abs() if x.degree == 2 else x.slope.abs()
        remainder = remainder_of(x, rate, second, third)
        norm = None if x.norm is None else first.amax(x.axes, keepdim=True) * x.norm + length(remainder, x.axes)
        nodes = tuple(map(self.value, x.nodes))
        radius = remainder + first * x.radius
        # Small numbers beside large ones, each by itself.
        lost = ELEMENTWISE * (torch.stack(nodes).abs().amax(0) + radius + FLOOR)
        return measured(nodes, radius + lost, norm=None if norm is None else norm + length(lost, x.axes))


def power(exponent: float) -> Ranged:
    """x^a of positive x."""
    factors = [abs(math.prod(exponent - k for k in range(order))) for order in (1, 2, 3)]

    def steepest(low: Tensor, high: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        one, two, three = (
            factor * torch.maximum(low ** (exponent - order), high ** (exponent - order))
            for order, factor in zip((1, 2, 3), factors, strict=True)
        )
        return one, two, three

    return Ranged(lambda z: z**exponent, steepest)


def _of_exp(low: Tensor, high: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    return (high.exp(),) * 3


def _of_log(low: Tensor, high: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    return 1 / low, low**-2, 2 * low**-3


EXP = Ranged(torch.exp, _of_exp, positive=False)
LOG = Ranged(torch.log, _of_log)
SQRT = power(0.5)
RECIPROCAL = power(-1.0)
RSQRT = power(-0.5)


def reciprocal(x: Enclosure) -> Enclosure:
    """1 / x, where no value is 0 or both signs occur in one number's interval."""
    sign = x.nodes[1 if x.degree == 2 else 0].sign()
    turned = Enclosure(tuple(node * sign for node in x.nodes), x.radius, x.size, x.norm)
    found = RECIPROCAL(turned)
    return Enclosure(tuple(node * sign for node in found.nodes), found.radius, found.size, found.norm)
