"""What a loss must compute to be c · Σ (k f(x) − y)², f one hidden layer or a chain of linear layers.

Each operation is read by :mod:`weightstring.theory.reader`; nothing here asks for shapes, which ``reading`` and
``linear_layers`` do.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Any, TypeAlias

import torch
from torch import Tensor

from weightstring.problem import Traceable
from weightstring.theory.reader import Reader, Unrecognised
from weightstring.theory.singular_features import Activation, clamped, hard_sigmoid, sigmoid
from weightstring.tracing.steps import Step

DTYPES = (torch.float32, torch.float64)
"""In half precision the rounding of a loss is no small part of it."""

LONGEST = 40
"""Operations, of which a hidden layer and a squared loss need no more than a dozen."""

AXES = ("examples", "outputs")


@dataclass(frozen=True)
class Rho:
    """The activation.

    Args:
        numbers: ρ, element by element, in floating arithmetic.
        exact: ρ of exact numbers, if it is continuous and never negative.
        homogeneous: whether ρ(az) = aρ(z) for all a ≥ 0.
    """

    numbers: Callable[[Tensor], Tensor]
    exact: Activation | None = None
    homogeneous: bool = False


RELU = Rho(torch.relu, clamped(0.0, math.inf), homogeneous=True)

IDENTITY = Rho(torch.Tensor.clone, homogeneous=True)


@dataclass(frozen=True)
class Data:
    """The inputs, or the targets."""

    targets: bool


@dataclass(frozen=True)
class Hidden:
    """Wx + b, by the names of W and b."""

    inner: str
    bias: str | None


@dataclass(frozen=True)
class Active:
    """ρ(Wx + b)."""

    hidden: Hidden
    rho: Rho


@dataclass(frozen=True)
class Output:
    """The output k β ρ(Wx + b), or β times such an output where linear layers follow each other."""

    active: Active | Output
    outer: str
    factor: Fraction = Fraction(1)


@dataclass(frozen=True)
class Gap:
    """The output less the targets, or the other way round (−1)."""

    output: Output
    sign: int


@dataclass(frozen=True)
class Sum:
    """The squares of the gap times c, summed; ``left`` are the axes that remain."""

    output: Output
    left: tuple[str, ...] = AXES
    scale: Fraction = Fraction(1)


Meaning: TypeAlias = "Data | Hidden | Active | Output | Gap | Sum | tuple[Meaning, ...]"


def squared_loss(problem: Traceable) -> tuple[Reader[Meaning], Sum]:
    """A problem's loss as c · Σ (k f(x) − y)², and the reader of its operations.

    Raises:
        Unrecognised: an operation that is not recognised where it stands.
        Unsupported: the problem cannot be traced.
    """
    reader: Reader[Meaning] = Reader(problem, _RULES, Data(targets=False), Data(targets=True))
    steps = reader.program.steps
    if reader.examples.targets.ndim != 2 or len(steps) > LONGEST:
        raise Unrecognised
    if any(step.dtype not in (*DTYPES, None) for step in steps):
        raise Unrecognised
    loss = reader.read()
    if not isinstance(loss, Sum) or loss.left or not loss.scale > 0:
        raise Unrecognised
    return reader, loss


_Reader: TypeAlias = Reader[Meaning]

_Rule: TypeAlias = "Callable[[_Reader, Step], Meaning | None]"


def _linear(reader: _Reader, step: Step) -> Meaning | None:
    given, weights, *bias = step.args
    source, outer = reader.meaning(given), reader.constant(weights)
    shift = bias[0] if bias else None
    if outer is None or (shift is not None and reader.constant(shift) is None):
        return None
    if source == Data(targets=False):
        return Hidden(outer, reader.constant(shift))
    source = Active(source, IDENTITY) if isinstance(source, Hidden) else source
    if not isinstance(source, Active | Output) or shift is not None or step.kwargs:
        return None
    return Output(source, outer)


def _activated(rho: Callable[..., Rho]) -> _Rule:
    def rule(reader: _Reader, step: Step) -> Meaning | None:
        source, numbers = reader.meaning(step.args[0]), step.args[1:]
        finite = all(isinstance(n, int | float) and math.isfinite(n) for n in numbers)
        return Active(source, rho(*numbers)) if isinstance(source, Hidden) and finite and not step.kwargs else None

    return rule


def _clamp(low: float, high: float = math.inf) -> Rho:
    if not 0 <= low <= high:
        raise Unrecognised
    if low == 0 and high == math.inf:
        return RELU
    return Rho(lambda z: z.clamp(low, high), clamped(float(low), float(high)))


def _leaky(slope: float = 0.01) -> Rho:
    return Rho(lambda z: torch.where(z > 0, z, slope * z), homogeneous=True)


def _same(reader: _Reader, step: Step) -> Meaning | None:
    return None if step.op == "dropout.default" and step.args[2] is not False else reader.meaning(step.args[0])


def _spread(reader: _Reader, step: Step) -> Meaning | None:
    """Tensors spread to a common shape; which all have already, as ``reading`` looks at shapes."""
    parts = tuple(part for given in step.args[0] if (part := reader.meaning(given)) is not None)
    return parts if len(parts) == len(step.args[0]) else None


def _picked(reader: _Reader, step: Step) -> Meaning | None:
    parts = reader.meaning(step.args[0])
    return parts[step.args[1]] if isinstance(parts, tuple) else None


def _gap(reader: _Reader, one: Any, two: Any) -> Gap | None:
    meanings = reader.meaning(one), reader.meaning(two)
    outputs = [meaning for meaning in meanings if isinstance(meaning, Output)]
    if len(outputs) != 1 or Data(targets=True) not in meanings:
        return None
    return Gap(outputs[0], 1 if outputs[0] is meanings[0] else -1)


def _difference(reader: _Reader, step: Step) -> Meaning | None:
    return None if len(step.args) != 2 or step.kwargs else _gap(reader, *step.args)


def _squared(reader: _Reader, step: Step) -> Meaning | None:
    source = reader.meaning(step.args[0])
    other_power = step.op == "pow.Tensor_Scalar" and step.args[1] != 2
    return Sum(source.output) if isinstance(source, Gap) and not other_power else None


def _mse(reader: _Reader, step: Step) -> Meaning | None:
    one, two, *reduction = step.args
    gap = _gap(reader, one, two)
    kind = step.kwargs.get("reduction", reduction[0] if reduction else 1)
    if gap is None or kind not in (0, 1):
        return None
    return Sum(gap.output) if kind == 0 else _averaged(reader, Sum(gap.output))


def _averaged(reader: _Reader, squares: Sum) -> Sum:
    sizes = dict(zip(AXES, reader.examples.targets.shape, strict=True))
    return Sum(squares.output, (), squares.scale / math.prod(sizes[axis] for axis in squares.left))


def _mean(reader: _Reader, step: Step) -> Meaning | None:
    source = reader.meaning(step.args[0])
    return _averaged(reader, source) if isinstance(source, Sum) and len(step.args) == 1 and not step.kwargs else None


def _row_sums(reader: _Reader, step: Step) -> Meaning | None:
    source = reader.meaning(step.args[0])
    if not isinstance(source, Sum) or source.left != AXES or step.args[1] not in ([1], [-1]) or step.kwargs:
        return None
    return replace(source, left=("examples",))


def _scaled(reader: _Reader, step: Step) -> Meaning | None:
    one, two = step.args
    meanings = reader.meaning(one), reader.meaning(two)
    if isinstance(meanings[0], Gap):  # a gap by itself
        return Sum(meanings[0].output) if step.op == "mul.Tensor" and meanings[0] == meanings[1] else None
    source, number = (meanings[0], two) if meanings[0] is not None else (meanings[1], one)
    if not isinstance(number, int | float) or not math.isfinite(number) or step.kwargs:
        return None
    if step.op == "div.Tensor" and (source is not meanings[0] or not number):
        return None
    by = 1 / Fraction(number) if step.op == "div.Tensor" else Fraction(number)
    if isinstance(source, Output):
        return replace(source, factor=source.factor * by)
    return replace(source, scale=source.scale * by) if isinstance(source, Sum) else None


_RULES: Mapping[str, _Rule] = {
    "linear.default": _linear,
    "relu.default": _activated(lambda: RELU),
    "clamp_min.default": _activated(_clamp),
    "clamp.default": _activated(_clamp),
    "hardtanh.default": _activated(_clamp),
    "leaky_relu.default": _activated(_leaky),
    "sigmoid.default": _activated(lambda: Rho(torch.sigmoid, sigmoid)),
    "hardsigmoid.default": _activated(lambda: Rho(torch.nn.functional.hardsigmoid, hard_sigmoid)),
    "dropout.default": _same,
    "broadcast_tensors.default": _spread,
    "getitem": _picked,
    "sub.Tensor": _difference,
    "pow.Tensor_Scalar": _squared,
    "square.default": _squared,
    "mse_loss.default": _mse,
    "mean.default": _mean,
    "sum.dim_IntList": _row_sums,
    "mul.Tensor": _scaled,
    "div.Tensor": _scaled,
}
"""What each operation makes of what it is given. Softplus is not among them: torch's jumps at its threshold."""
