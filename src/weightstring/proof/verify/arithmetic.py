"""Arithmetic between lines, and what is larger."""

from __future__ import annotations

from typing import Any

import numpy as np

from weightstring.proof.verify.lines import LEAST, Line, Path, add, gamma, maximum, multiply, scale
from weightstring.proof.verify.operations import OPERATIONS, At, Loss, NotVerifiable, line_of, path_of, shift


def _paired(at: At, x: Any, y: Any) -> tuple[Line, Line]:
    lines = []
    for part in (x, y):
        rank = len(at.shape)
        if isinstance(part, np.ndarray | Path):
            values = path_of(part)
            if values.middle.ndim == rank and len(values.middle) == 1:
                values = Path(*(v[0] for v in values))
            missing = rank - 1 - values.middle.ndim
            if missing < 0:
                raise NotVerifiable("it takes a parameter with a number for each example")
            line = values.line().moved(lambda v, missing=missing: v.reshape(1, *(1,) * missing, *v.shape[1:]))
        else:
            line = line_of(part)
            if line.value.ndim != rank:
                raise NotVerifiable("it combines examples")
        lines.append(line)
    return lines[0], lines[1]


def _number(x: Any) -> Any:
    """A constant without axes as the number that it is."""
    return float(x) if isinstance(x, np.ndarray) and not x.ndim else x


@OPERATIONS.register("add.Tensor", "sub.Tensor")
def sum_of(at: At, x: Any, y: Any, alpha: float = 1) -> Any:
    """The sum x + alpha·y."""
    factor = -alpha if at.name.startswith("sub") else alpha
    x, y = _number(x), _number(y)
    if isinstance(x, Loss) or isinstance(y, Loss):
        if not all(isinstance(part, Loss | int | float) for part in (x, y)) or (factor < 0 and isinstance(y, Loss)):
            raise NotVerifiable("it subtracts a loss, or adds something other than a loss or a number to it")
        # A constant belongs to the mean over all examples.
        first, second = (part.ends if isinstance(part, Loss) else np.full(2, part * at.share) for part in (x, y))
        lost = [part.printed if isinstance(part, Loss) else np.zeros(2) for part in (x, y)]
        sizes = np.abs(first) + np.abs(factor * second) + LEAST
        return Loss(first + factor * second + gamma(0) * sizes, lost[0] + abs(factor) * lost[1])
    if isinstance(y, int | float):
        return shift(line_of(x), factor * y)
    if isinstance(x, int | float):
        return shift(scale(line_of(y), factor), x)
    return add(*_paired(at, x, y), factor)


@OPERATIONS.register("mul.Tensor", "div.Tensor", "mul.Scalar", "div.Scalar")
def product(at: At, x: Any, y: Any) -> Any:
    """The product x·y, or x/y for a constant y."""
    x, y = _number(x), _number(y)
    if at.name.startswith("div"):
        if not isinstance(y, int | float | np.ndarray) or not np.all(y):
            raise NotVerifiable("it divides by 0 or by what depends on θ")
        y = 1 / y
    for one, other in ((x, y), (y, x)):
        if isinstance(one, Loss):
            if not isinstance(other, int | float) or other < 0:
                raise NotVerifiable("it multiplies a loss by a negative number, or by what is none")
            ends = one.ends * other
            return Loss(ends + gamma(0) * (np.abs(ends) + LEAST), one.printed * other)
        if isinstance(other, int | float):
            return scale(line_of(one), float(other))
    return multiply(*_paired(at, x, y))


@OPERATIONS.register("neg.default")
def negative(at: At, x: Any) -> Line:
    """−x."""
    return scale(line_of(x), -1.0)


@OPERATIONS.register("square.default")
def square(at: At, x: Any) -> Line:
    """x²."""
    return multiply(line_of(x), line_of(x))


@OPERATIONS.register("pow.Tensor_Scalar")
def power(at: At, x: Any, exponent: float) -> Line:
    """A small whole power."""
    if exponent not in (1, 2, 3, 4):
        raise NotVerifiable(f"its exponent is {exponent}")
    product = line_of(x)
    for _ in range(int(exponent) - 1):
        product = multiply(product, line_of(x))
    return product


@OPERATIONS.register("maximum.default")
def larger(at: At, x: Any, y: Any) -> Line:
    """The larger."""
    return maximum(
        list(
            map(Line._make, zip(*(np.broadcast_arrays(*p) for p in zip(*_paired(at, x, y), strict=True)), strict=True))
        )
    )
