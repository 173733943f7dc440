"""What is convex in the outer weights of one hidden layer, operation by operation.

Each is given a curvature by a rule of disciplined convex programming (M. Grant, S. Boyd and Y. Ye, 2006): elements of
Wx + b, affine functions of β, convex functions of β.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import Enum
from typing import Any

from weightstring.errors import InvalidSetting
from weightstring.problem import Traceable
from weightstring.theory.reader import Reader
from weightstring.tracing.steps import Ref, Step


class Curvature(Enum):
    """What a value is as a function of the parameters."""

    INPUTS = "the inputs"
    TARGETS = "the targets"
    UNITS = "a function of each hidden unit by itself"
    AFFINE = "affine in the outer weights"
    CONVEX = "convex in the outer weights"


@dataclass(frozen=True)
class Value:
    """A result.

    Args:
        curvature: of it.
        output: it is the net's output itself.
        squares: it is the squares of output − targets, evenly weighted.
        gap: it is ± (output − targets).
    """

    curvature: Curvature
    output: bool = False
    squares: bool = False
    gap: bool = False


WANTED = (
    "a path by sub-networks needs a module that computes nn.Sequential(nn.Linear, activation, nn.Linear) with every "
    "parameter trained and none tied, an elementwise activation such as nn.ReLU(), and a convex loss such as "
    "nn.MSELoss()"
)


class Outputs(Reader[Value]):
    """The curvature of each operation's result."""

    def __init__(self, problem: Traceable) -> None:
        super().__init__(problem, RULES, Value(Curvature.INPUTS), Value(Curvature.TARGETS))
        self.spread: dict[str, list[Any]] = {}
        self.linears: list[Step] = []

    def refusal(self, step: Step) -> InvalidSetting:
        """What is raised where a step is not recognised."""
        behind = len(self.linears) > 1
        what = "what follows the second layer is not known to be convex in the output: " if behind else ""
        return InvalidSetting(f"{step.where} is not recognised here: {what}{WANTED}")


def _curvatures(reader: Outputs, *given: Any) -> list[Curvature | None]:
    meanings = map(reader.meaning, given)
    return [None if value is None else value.curvature for value in meanings]


def _not_negative(reader: Outputs, given: Any) -> bool:
    """Whether a weight is absent, or a constant without negative entries."""
    name = reader.constant(given)
    if name is None or name in reader.program.parameters:
        return given is None
    return bool((reader.program.constants[name] >= 0).all())


def _linear(reader: Outputs, step: Step) -> Value | None:
    (given,) = _curvatures(reader, step.args[0])
    wanted = (Curvature.INPUTS, Curvature.UNITS)[len(reader.linears)] if len(reader.linears) < 2 else None
    known = all(weights is None or reader.constant(weights) for weights in step.args[1:]) and not step.kwargs
    if given is not wanted or wanted is None or not known:
        return None
    reader.linears.append(step)
    return Value(Curvature.UNITS) if wanted is Curvature.INPUTS else Value(Curvature.AFFINE, output=True)


def _numbers(given: Iterable[Any]) -> bool:
    return all(n is None or isinstance(n, str) or (isinstance(n, int | float) and math.isfinite(n)) for n in given)


def _element(reader: Outputs, step: Step) -> Value | None:
    """A function of each element by itself, of hidden units alone."""
    known = _numbers((*step.args[1:], *step.kwargs.values()))
    return Value(Curvature.UNITS) if known and _curvatures(reader, step.args[0]) == [Curvature.UNITS] else None


def _size(reader: Outputs, step: Step) -> Value | None:
    """|z| or z²: of a unit, or of what is affine."""
    value = reader.meaning(step.args[0])
    if value is None or (step.op == "pow.Tensor_Scalar" and step.args[1] != 2):
        return _element(reader, step)
    if value.curvature is Curvature.AFFINE:
        return Value(Curvature.CONVEX, squares=value.gap and step.op != "abs.default")
    return _element(reader, step)


def _sum(reader: Outputs, step: Step) -> Value | None:
    one, two = (reader.meaning(given) for given in step.args)
    if step.kwargs or any(value is None and not _numbers([x]) for value, x in zip((one, two), step.args, strict=True)):
        return None
    kinds = {value.curvature for value in (one, two) if value is not None}
    if kinds == {Curvature.UNITS}:
        return Value(Curvature.UNITS)
    minus = step.op == "sub.Tensor"
    if kinds and kinds <= {Curvature.AFFINE, Curvature.TARGETS}:
        shapes = {_shape(reader, given) for given in step.args}
        gap = minus and len(shapes) == 1 and any(v is not None and v.output for v in (one, two)) and len(kinds) == 2
        return Value(Curvature.AFFINE, gap=gap) if Curvature.AFFINE in kinds else Value(Curvature.TARGETS)
    taken = two is not None and two.curvature is Curvature.CONVEX and minus
    known = kinds <= {Curvature.AFFINE, Curvature.TARGETS, Curvature.CONVEX} and Curvature.CONVEX in kinds
    return Value(Curvature.CONVEX) if known and not taken else None


def _shape(reader: Outputs, given: Any) -> tuple[int, ...]:
    """The shape of a result without the examples' axis."""
    if isinstance(given, Ref) and given.name == reader.program.targets:
        return tuple(reader.examples.targets.shape[1:])
    return next(
        (step.shape[1:] for step in reader.program.steps if isinstance(given, Ref) and step.name == given.name), ()
    )


def _product(reader: Outputs, step: Step) -> Value | None:
    one, two = step.args
    values = reader.meaning(one), reader.meaning(two)
    if step.kwargs:
        return None
    if {v.curvature for v in values if v is not None} == {Curvature.UNITS}:
        return (
            Value(Curvature.UNITS) if all(v or _numbers([x]) for v, x in zip(values, step.args, strict=True)) else None
        )
    if one == two and step.op == "mul.Tensor" and values[0] is not None and values[0].curvature is Curvature.AFFINE:
        return Value(Curvature.CONVEX, squares=values[0].gap)
    number, value = (two, values[0]) if values[0] is not None else (one, values[1])
    if value is None or not _numbers([number]) or number is None or (step.op == "div.Tensor" and value is values[1]):
        return None
    if value.curvature is Curvature.CONVEX:
        return value if number > 0 else None
    return Value(value.curvature) if value.curvature in (Curvature.AFFINE, Curvature.TARGETS) and number else None


def _kept(reader: Outputs, step: Step) -> Value | None:
    """A mean or sum over axes; of an affine value it is no longer the output itself."""
    value = reader.meaning(step.args[0])
    if value is None or value.curvature not in (Curvature.AFFINE, Curvature.CONVEX) or step.kwargs:
        return None
    return replace(value, gap=False, output=False)


def _same(reader: Outputs, step: Step) -> Value | None:
    return None if step.op == "dropout.default" and step.args[2] is not False else reader.meaning(step.args[0])


def _spread(reader: Outputs, step: Step) -> Value | None:
    reader.spread[step.name] = list(step.args[0])
    return Value(Curvature.TARGETS) if all(reader.meaning(given) for given in step.args[0]) else None


def _picked(reader: Outputs, step: Step) -> Value | None:
    parts = reader.spread.get(step.args[0].name)
    value = None if parts is None else reader.meaning(parts[step.args[1]])
    one_shape = parts is not None and len({_shape(reader, part) for part in parts}) == 1
    return value if value is None or one_shape else replace(value, output=False, squares=False, gap=False)


def _distance(reader: Outputs, step: Step) -> Value | None:
    """Squared, absolute, Huber's: of an affine difference."""
    values = [reader.meaning(given) for given in step.args[:2]]
    kinds = [None if value is None else value.curvature for value in values]
    if None in kinds or not set(kinds) <= {Curvature.AFFINE, Curvature.TARGETS} or Curvature.AFFINE not in kinds:
        return None
    parameters = [*step.args[3:], *(v for name, v in step.kwargs.items() if name in ("delta", "beta"))]
    if any(not isinstance(n, int | float) or n < 0 for n in parameters):
        return None
    even = _shape(reader, step.args[0]) == _shape(reader, step.args[1])
    output = any(value is not None and value.output for value in values)
    return Value(Curvature.CONVEX, squares=step.op == "mse_loss.default" and even and output and len(set(kinds)) == 2)


def _arguments(step: Step, names: Sequence[str]) -> dict[str, Any]:
    return {**dict(zip(names, step.args, strict=False)), **step.kwargs}


def _entropy(reader: Outputs, step: Step) -> Value | None:
    crossed = step.op == "cross_entropy_loss.default"
    names = (
        ("weight", "reduction", "ignore_index", "label_smoothing") if crossed else ("weight", "pos_weight", "reduction")
    )
    given = _arguments(step, ("self", "target", *names))
    if _curvatures(reader, given["self"], given["target"]) != [Curvature.AFFINE, Curvature.TARGETS]:
        return None
    if given["target"].name != reader.program.targets:  # what is computed from the targets may be negative
        return None
    weighted = all(_not_negative(reader, given.get(name)) for name in ("weight", "pos_weight"))
    if not weighted or not 0 <= given.get("label_smoothing", 0.0) <= 1:
        return None
    targets = reader.examples.targets
    if targets.is_floating_point() and bool(((targets < 0) | (targets > 1)).any()):
        raise InvalidSetting(
            f"targets from {targets.min():.6g} to {targets.max():.6g} are not probabilities, so loss_fn may not "
            "be convex in the output: give targets in [0, 1]"
        )
    return Value(Curvature.CONVEX)


_ELEMENTS = (
    *("relu", "leaky_relu", "hardtanh", "elu", "celu", "selu", "gelu", "silu", "mish", "softplus", "tanh"),
    *("sigmoid", "log_sigmoid", "hardsigmoid", "hardswish", "softsign", "clamp", "clamp_min", "clamp_max"),
    *("exp", "sin", "cos", "neg"),
)

RULES: Mapping[str, Callable[[Outputs, Step], Value | None]] = {
    "linear.default": _linear,
    **{f"{name}.default": _element for name in _ELEMENTS},
    **dict.fromkeys(("abs.default", "square.default", "pow.Tensor_Scalar"), _size),
    **dict.fromkeys(("add.Tensor", "sub.Tensor"), _sum),
    **dict.fromkeys(("mul.Tensor", "div.Tensor"), _product),
    **dict.fromkeys(("mean.default", "mean.dim", "sum.default", "sum.dim_IntList"), _kept),
    **dict.fromkeys(("dropout.default", "alias.default"), _same),
    "broadcast_tensors.default": _spread,
    "getitem": _picked,
    **{f"{name}.default": _distance for name in ("mse_loss", "l1_loss", "huber_loss", "smooth_l1_loss")},
    **dict.fromkeys(("cross_entropy_loss.default", "binary_cross_entropy_with_logits.default"), _entropy),
}
"""What each operation makes of what it is given."""
