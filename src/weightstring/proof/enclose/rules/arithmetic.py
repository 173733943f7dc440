"""Arithmetic between values."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor

from weightstring.proof.enclose.enclosure import Enclosure
from weightstring.proof.enclose.ranged import power as any_power
from weightstring.proof.enclose.ranged import reciprocal
from weightstring.proof.enclose.rounding import ELEMENTWISE, FLOOR
from weightstring.proof.enclose.rules.attention import hides, under
from weightstring.proof.enclose.rules.call import Call, rule
from weightstring.proof.enclose.values import Bounds, Data


@rule("rsub.Scalar", "rsub.Tensor")
def subtract_from(call: Call, x: object, y: object, alpha: float = 1) -> Enclosure:
    """The difference y − alpha · x."""
    other = _number(y)
    negative = call.enclosed(x).scaled(-float(alpha))
    return negative.shifted(float(other)) if isinstance(other, int | float) else negative + call.operand(other)


@rule("add.Tensor", "sub.Tensor", "add.Scalar", "sub.Scalar")
def add(call: Call, x: object, y: object, alpha: float = 1) -> object:
    """The sum x + alpha · y."""
    if call.step.op.startswith("sub"):
        alpha = -alpha
    x, y = _number(x), _number(y)
    if isinstance(x, Bounds) or isinstance(y, Bounds):
        return _add_bounds(call, x, y, alpha)
    if isinstance(y, int | float):
        return call.enclosed(x).shifted(alpha * y)
    if isinstance(x, int | float):
        return call.enclosed(y).scaled(alpha).shifted(x)
    for one, other in ((x, y), (y, x)):
        if alpha == 1 and hides(one):
            return under(call, call.operand(other), one)
    left, right = call.operands(x, y)
    return left + (right if alpha == 1 else right.scaled(alpha))


def _number(value: object) -> object:
    """A constant tensor without axes as the number that it is."""
    return float(value) if isinstance(value, Tensor) and not value.ndim else value


def _add_bounds(call: Call, x: object, y: object, alpha: float) -> Bounds:
    total: Bounds | None = None
    constant = 0.0
    for part, factor in ((x, 1), (y, alpha)):
        if not isinstance(part, Bounds | int | float) or (part is y and isinstance(y, Bounds) and alpha < 0):
            raise call.refuse("it subtracts a loss, or adds something other than a loss or a number to it")
        if not isinstance(part, Bounds):
            constant = part * factor / len(call.rows.population.targets)  # it belongs to the mean over all examples
        elif total is None:
            total = _times(part, factor)
        else:
            total = _plus(total, _times(part, factor))
    assert total is not None
    each = total.each + constant
    return replace(total, each=each + ELEMENTWISE * (total.each.abs() + abs(constant)))


def _plus(one: Bounds, other: Bounds) -> Bounds:
    if len(one.each) != len(other.each):  # a line is a parabola, too
        one, other = (part.curved() for part in (one, other))
    each = one.each + other.each + ELEMENTWISE * (one.each.abs() + other.each.abs())
    terms, spare = max(one.terms, other.terms), one.spare + other.spare
    return Bounds(each, terms, spare, one.slack + other.slack, one.loose + other.loose)


def _times(one: Bounds, factor: float) -> Bounds:
    each = one.each * factor
    return Bounds(
        each + ELEMENTWISE * each.abs(), one.terms, one.spare * factor + FLOOR, one.slack * factor, one.loose * factor
    )


@rule("mul.Tensor", "div.Tensor", "mul.Scalar", "div.Scalar")
def multiply(call: Call, x: object, y: object) -> object:
    """The product x · y, or the quotient x / y of what is nowhere 0."""
    x, y = _number(x), _number(y)
    if call.step.op.startswith("div"):
        if not isinstance(y, int | float | Tensor):
            inverse = reciprocal(call.operand(y))
            return inverse.scaled(float(x)) if isinstance(x, int | float) else call.operand(x) * inverse
        divisor = torch.as_tensor(y, dtype=torch.float64)
        if not bool(divisor.all()):
            raise call.refuse("it divides by 0")
        y = _number(1 / divisor)
    for one, other in ((x, y), (y, x)):
        if isinstance(other, int | float):
            if isinstance(one, Bounds):
                if other < 0:
                    raise call.refuse("it multiplies a loss by a negative number")
                return _times(one, other)
            return call.enclosed(one).scaled(float(other))
    left, right = call.operands(x, y)
    return left * right


@rule("neg.default")
def negative(call: Call, x: object) -> Enclosure:
    """−x."""
    return call.enclosed(x).scaled(-1.0)


@rule("square.default")
def square(call: Call, x: object) -> Enclosure:
    """x²."""
    z = call.enclosed(x)
    return z * z


@rule("pow.Tensor_Scalar")
def power(call: Call, x: object, exponent: float) -> Enclosure:
    """A small whole power of x, or any of what is positive."""
    product = base = call.enclosed(x)
    if exponent not in (1, 2, 3, 4):
        return any_power(float(exponent))(base)
    for _ in range(int(exponent) - 1):
        product = product * base
    return product


@rule("broadcast_tensors.default")
def broadcast(call: Call, parts: Sequence[object]) -> list[object]:
    """Tensors of one shape as they are."""
    shapes = {
        tuple(part.values.shape[1:] if isinstance(part, Data) else call.enclosed(part).shape[2:]) for part in parts
    }
    if len(shapes) > 1:
        raise call.refuse(f"the shapes of outputs and targets differ ({sorted(shapes)}, examples left out)")
    return list(parts)


@rule("getitem")
def item(call: Call, parts: Sequence[object], which: int) -> object:
    """One of several results."""
    return parts[which]
