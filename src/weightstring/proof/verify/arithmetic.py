"""Arithmetic between curves, and what is larger."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from weightstring.proof.verify.curves import Curve, add, gamma, maximum, multiply, scale
from weightstring.proof.verify.elementary import power_of, reciprocal
from weightstring.proof.verify.operations import OPERATIONS, At, Loss, NotVerifiable, curve_of, data_of

Hidden: TypeAlias = NDArray[np.bool_]


def masked(x: Curve, hidden: Any) -> Curve:
    """−inf, which only a softmax may take, where ``hidden``."""
    hidden = np.broadcast_to(hidden, x.shape)
    return x.moved(lambda v: np.where(hidden, 0.0, v))._replace(value=np.where(hidden, -np.inf, x.value))


def hidden_in(x: Curve) -> Hidden:
    """Where it is −inf all along; of a value that overflowed to it, the rest is not finite either."""
    _, slope, bend, error = x.parts
    known = np.isneginf(np.asarray(x.value)) & np.isfinite(slope) & np.isfinite(bend) & np.isfinite(error)
    found: Hidden = np.asarray(known)  # of a number by itself NumPy gives none
    return found


def around(combine: Callable[..., Curve], *curves: Curve) -> Curve:
    """A combination that is −inf wherever one of the curves is, which is left out of the arithmetic."""
    hidden = [hidden_in(curve) for curve in curves]
    if not any(part.any() for part in hidden):
        return combine(*curves)
    plain = (curve._replace(value=np.where(part, 0.0, curve.value)) for curve, part in zip(curves, hidden, strict=True))
    result = combine(*plain)
    return masked(result, np.logical_or.reduce([np.broadcast_to(part, result.shape) for part in hidden]))


def _number(x: Any) -> Any:
    """A constant without axes as the number that it is."""
    return float(x) if isinstance(x, np.ndarray) and not x.ndim else x


def _of_losses(at: At, x: Any, y: Any, factor: float) -> Loss:
    if not all(isinstance(part, Loss | int | float) for part in (x, y)) or (factor < 0 and isinstance(y, Loss)):
        raise NotVerifiable("it subtracts a loss, or adds something other than a loss or a number to it")
    parts = [part if isinstance(part, Loss) else Loss(np.array([float(part), 0.0, 0.0])) for part in (x, y)]
    above = parts[0].above + factor * parts[1].above
    size = parts[0].size + abs(factor) * parts[1].size
    above[0] += 3 * gamma(0) * size
    return Loss(above, parts[0].printed + abs(factor) * parts[1].printed)


@OPERATIONS.register("add.Tensor", "sub.Tensor", "add.Scalar", "sub.Scalar")
def sum_of(at: At, x: Any, y: Any, alpha: float = 1) -> Any:
    """The sum x + alpha·y."""
    factor = -alpha if at.name.startswith("sub") else alpha
    x, y = _number(x), _number(y)
    if isinstance(x, Loss) or isinstance(y, Loss):
        return _of_losses(at, x, y, factor)
    if factor < 0 and not isinstance(y, int | float) and hidden_in(curve_of(y)).any():
        raise NotVerifiable("it subtracts −inf")
    return around(lambda a, b: add(a, b, factor), curve_of(x), curve_of(y))


@OPERATIONS.register("rsub.Scalar", "rsub.Tensor")
def difference(at: At, x: Any, y: Any, alpha: float = 1) -> Any:
    """The difference y − alpha·x."""
    return sum_of(at._replace(name="sub"), y, x, alpha)


@OPERATIONS.register("mul.Tensor", "div.Tensor", "mul.Scalar", "div.Scalar")
def product(at: At, x: Any, y: Any) -> Any:
    """The product x·y, or the quotient."""
    x, y = _number(x), _number(y)
    if at.name.startswith("div"):
        y = _inverse(y)
    for one, other in ((x, y), (y, x)):
        if isinstance(one, Loss):
            if not isinstance(other, int | float) or other < 0:
                raise NotVerifiable("it multiplies a loss by a negative number, or by what is none")
            above = one.above * other
            above[0] += 3 * gamma(0) * one.size * other
            return Loss(above, one.printed * other)
        if isinstance(other, int | float):
            curve = curve_of(one)
            if other <= 0 and hidden_in(curve).any():
                raise NotVerifiable("it multiplies −inf by a number that is not positive")
            return around(lambda z, other=other: scale(z, float(other)), curve)
    return multiply(curve_of(x), curve_of(y))


def _inverse(y: Any) -> Any:
    if isinstance(y, Curve):
        return reciprocal(y)
    if not isinstance(y, int | float | np.ndarray) or not np.all(y):
        raise NotVerifiable("it divides by 0 or by a loss")
    # The rounding of a quotient of constants is that of the product, which allows for 64 operations.
    return 1 / y


@OPERATIONS.register("neg.default")
def negative(at: At, x: Any) -> Curve:
    """−x."""
    return scale(curve_of(x), -1.0)


@OPERATIONS.register("square.default")
def square(at: At, x: Any) -> Curve:
    """x²."""
    return multiply(curve_of(x), curve_of(x))


@OPERATIONS.register("pow.Tensor_Scalar")
def power(at: At, x: Any, exponent: float) -> Curve:
    """A power: small whole ones of any number, others of what is surely positive."""
    z = curve_of(x)
    if exponent not in (1, 2, 3, 4):
        if exponent == -1:
            return reciprocal(z)
        if not -64 <= exponent <= 64:
            raise NotVerifiable(f"its exponent is {exponent}")
        return power_of(z, float(exponent))
    result = z
    for _ in range(int(exponent) - 1):
        result = multiply(result, z)
    return result


@OPERATIONS.register("maximum.default", "max.other")
def larger(at: At, x: Any, y: Any) -> Curve:
    """The larger."""
    return maximum([curve_of(part).widened(at.shape) for part in (x, y)])


@OPERATIONS.register("minimum.default", "min.other")
def smaller(at: At, x: Any, y: Any) -> Curve:
    """The smaller."""
    return scale(maximum([scale(curve_of(part), -1.0).widened(at.shape) for part in (x, y)]), -1.0)


@OPERATIONS.register("where.self", "where.ScalarOther", "where.ScalarSelf", "where.Scalar")
def where(at: At, chosen: Any, x: Any, y: Any) -> Curve:
    """One or the other, as data say."""
    chosen = data_of(chosen, "what is chosen")
    one, other = (curve_of(part).widened(at.shape) for part in (x, y))
    parts = zip(one.parts, other.parts, strict=True)
    return Curve.of(np.where(chosen, first, second) for first, second in parts)


@OPERATIONS.register("masked_fill.Scalar", "masked_fill.Tensor")
def masked_fill(at: At, x: Any, chosen: Any, value: Any) -> Curve:
    """Another number where data say so."""
    return where(at, chosen, _number(value), x)


@OPERATIONS.register("cumsum.default")
def cumulated(at: At, x: Any, axis: int, dtype: Any = None) -> Curve:
    """Sums so far along an axis."""
    z = curve_of(x)
    terms = z.shape[axis]
    return z.moved(lambda v: v.cumsum(axis)).rounded(z.reach.cumsum(axis), terms)
