"""Convex losses of one hidden layer, read from the operations that a problem computes, never from classes.

A class promises nothing: a hook, an own ``forward`` or a subclass computes what it likes. ``torch.export``'s operations
are followed back from the loss, each by a rule of disciplined convex programming (M. Grant, S. Boyd and Y. Ye, 2006):
elements of Wx + b, affine functions of β, convex functions of β. Anything else is refused by its name.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from enum import Enum
from typing import Any

import torch
from torch import Tensor

from weightstring.errors import InvalidSetting
from weightstring.problem import Traceable
from weightstring.tracing.program import Program, program_of
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
        plain: it is the net's output itself; or, if convex, the squares of output − targets, evenly weighted.
        gap: it is ± (output − targets).
    """

    curvature: Curvature
    plain: bool = False
    gap: bool = False


@dataclass(frozen=True, eq=False)
class Convex:
    """A loss that is convex in β where the net's output is β ρ(Wx + b) + β₀.

    Args:
        inner: names of W and b among the parameters; b may be None.
        outer: names of β and β₀, likewise.
        squared: whether the loss is a positive multiple of Σ (output − target)².
        activation: the steps of ρ, from ``hidden`` to ``active``.
        loss: the steps of the loss, from ``output`` to ``result``.
        program: all operations.
        hidden: name of Wx + b.
        active: name of ρ(Wx + b).
        output: name of the output.
    """

    inner: tuple[str, str | None]
    outer: tuple[str, str | None]
    squared: bool
    activation: tuple[Step, ...]
    loss: tuple[Step, ...]
    program: Program
    hidden: str
    active: str
    output: str

    def rho(self, hidden: Tensor) -> Tensor:
        """ρ, element by element, by the traced operations."""
        return self._run(self.activation, {self.hidden: hidden}, self.active)

    def of_outputs(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """The loss of outputs (N, c), by the traced operations."""
        return self._run(self.loss, {self.output: outputs, self.program.targets: targets}, self.program.result)

    def _run(self, steps: Iterable[Step], values: dict[str, Any], result: str) -> Tensor:
        def filled(given: Any) -> Any:
            if isinstance(given, Ref):
                known = values.get(given.name)
                constant = self.program.constants.get(given.name)
                return _double(constant) if known is None and constant is not None else known
            return type(given)(map(filled, given)) if isinstance(given, list | tuple) else given

        for step in steps:
            arguments = {name: filled(value) for name, value in step.kwargs.items()}
            values[step.name] = _operation(step.op)(*map(filled, step.args), **arguments)
        found: Tensor = values[result]
        return found


def read(problem: Traceable) -> Convex:
    """A problem's loss as a convex function of the outer weights of one hidden layer.

    Raises:
        InvalidSetting: an operation that is not recognised where it stands.
        Unsupported: the problem cannot be traced.

    >>> net = torch.nn.Sequential(torch.nn.Linear(2, 3), torch.nn.ReLU(), torch.nn.Linear(3, 2, bias=False))
    >>> from weightstring.problem import ModuleProblem
    >>> found = read(ModuleProblem(net, torch.nn.L1Loss(), (torch.ones(5, 2), torch.ones(5, 2))))
    >>> found.inner, found.outer, found.squared
    (('0.weight', '0.bias'), ('2.weight', None), False)
    """
    return _Reader(problem).convex()


def _double(constant: Tensor) -> Tensor:
    found = constant.detach().cpu()
    return found.double() if found.is_floating_point() else found


def _operation(op: str) -> Callable[..., Any]:
    if op == "getitem":
        return operator.getitem
    name, overload = op.split(".")
    found: Callable[..., Any] = getattr(getattr(torch.ops.aten, name), overload)
    return found


class _Reader:
    """What each operation computes, in their order."""

    def __init__(self, problem: Traceable) -> None:
        self.program = program_of(problem, "loss")
        self.targets = problem.traceable("loss").examples.targets
        self.trained = {entry.name for entry in problem.layout.entries}
        self.alone = all(len(entry.names) == 1 for entry in problem.layout.entries)
        self.values = {name: Value(Curvature.INPUTS) for name in self.program.leaves}
        self.values[self.program.targets] = Value(Curvature.TARGETS)
        self.spread: dict[str, list[Any]] = {}
        self.linears: list[Step] = []

    def convex(self) -> Convex:
        """All of the program."""
        for step in self.program.steps:
            rule = _RULES.get(step.op)
            value = None if rule is None else rule(self, step)
            if value is None:
                raise _refusal(self, step)
            self.values[step.name] = value
        result = self.values.get(self.program.result)
        if result is None or result.curvature is not Curvature.CONVEX or len(self.linears) != 2:
            raise InvalidSetting(f"loss_fn is not known to be convex in the output of one hidden layer: {_WANTED}")
        first, second = self.linears
        inner, outer = self._names(first), self._names(second)
        found = [name for name in (*inner, *outer) if name is not None]
        if len(set(found)) != len(found) or set(found) != self.trained or not self.alone:
            odd = sorted(set(found) ^ self.trained) or sorted(found)
            raise InvalidSetting(f"parameters {', '.join(odd)} are frozen, tied or elsewhere in the net: {_WANTED}")
        steps, active = self.program.steps, second.args[0].name
        start, middle = steps.index(first), steps.index(second)
        return Convex(
            inner,
            outer,
            result.plain,
            steps[start + 1 : middle],
            steps[middle + 1 :],
            self.program,
            first.name,
            active,
            second.name,
        )

    def of(self, given: Any) -> Value | None:
        return self.values.get(given.name) if isinstance(given, Ref) else None

    def curvatures(self, *given: Any) -> list[Curvature | None]:
        found = [self.of(one) for one in given]
        return [None if value is None else value.curvature for value in found]

    def not_negative(self, given: Any) -> bool:
        """Whether a weight is absent, or a constant without a negative entry."""
        if given is None:
            return True
        constant = self.program.constants.get(given.name) if isinstance(given, Ref) else None
        fixed = constant is not None and given.name not in self.program.parameters
        return constant is not None and fixed and bool((constant >= 0).all())

    def _names(self, linear: Step) -> tuple[str, str | None]:
        weight, *bias = (
            None if given is None else self.program.parameters.get(given.name) for given in linear.args[1:]
        )
        if weight is None or (linear.args[2:] and linear.args[2] is not None and bias[0] is None):
            raise InvalidSetting(f"{linear.where} takes weights that are not parameters themselves: {_WANTED}")
        return weight, bias[0] if bias else None


_WANTED = (
    "a path by sub-networks needs what nn.Sequential(nn.Linear, activation, nn.Linear) computes, all of it trained, "
    "nothing tied, an activation of each unit by itself such as nn.ReLU(), and a convex loss such as nn.MSELoss()"
)

_Rule = Callable[[_Reader, Step], Value | None]


def _refusal(reader: _Reader, step: Step) -> InvalidSetting:
    what = "what follows the second layer is not known to be convex in the output: " if len(reader.linears) > 1 else ""
    return InvalidSetting(f"{step.where} is not recognised here: {what}{_WANTED}")


def _linear(reader: _Reader, step: Step) -> Value | None:
    (given,) = reader.curvatures(step.args[0])
    wanted = (Curvature.INPUTS, Curvature.UNITS)[len(reader.linears)] if len(reader.linears) < 2 else None
    known = all(given is None or isinstance(given, Ref) for given in step.args[1:]) and not step.kwargs
    if given is not wanted or wanted is None or not known:
        return None
    if any(given is not None and given.name not in reader.program.constants for given in step.args[1:]):
        return None
    reader.linears.append(step)
    return Value(Curvature.UNITS) if wanted is Curvature.INPUTS else Value(Curvature.AFFINE, plain=True)


def _numbers(given: Iterable[Any]) -> bool:
    return all(n is None or isinstance(n, str) or (isinstance(n, int | float) and math.isfinite(n)) for n in given)


def _element(reader: _Reader, step: Step) -> Value | None:
    """A function of each element by itself, of hidden units alone."""
    known = _numbers((*step.args[1:], *step.kwargs.values()))
    return Value(Curvature.UNITS) if known and reader.curvatures(step.args[0]) == [Curvature.UNITS] else None


def _size(reader: _Reader, step: Step) -> Value | None:
    """|z| or z²: of a unit, or of what is affine."""
    value = reader.of(step.args[0])
    if value is None or (step.op == "pow.Tensor_Scalar" and step.args[1] != 2):
        return _element(reader, step)
    if value.curvature is Curvature.AFFINE:
        return Value(Curvature.CONVEX, plain=value.gap and step.op != "abs.default")
    return _element(reader, step)


def _sum(reader: _Reader, step: Step) -> Value | None:
    one, two = (reader.of(given) for given in step.args)
    if step.kwargs or any(value is None and not _numbers([x]) for value, x in zip((one, two), step.args, strict=True)):
        return None
    kinds = {value.curvature for value in (one, two) if value is not None}
    if kinds == {Curvature.UNITS}:
        return Value(Curvature.UNITS)
    minus = step.op == "sub.Tensor"
    if kinds and kinds <= {Curvature.AFFINE, Curvature.TARGETS}:
        shapes = {_shape(reader, given) for given in step.args}
        gap = minus and len(shapes) == 1 and any(v is not None and v.plain for v in (one, two)) and len(kinds) == 2
        return Value(Curvature.AFFINE, gap=gap) if Curvature.AFFINE in kinds else Value(Curvature.TARGETS)
    taken = two is not None and two.curvature is Curvature.CONVEX and minus
    known = kinds <= {Curvature.AFFINE, Curvature.TARGETS, Curvature.CONVEX} and Curvature.CONVEX in kinds
    return Value(Curvature.CONVEX) if known and not taken else None


def _shape(reader: _Reader, given: Any) -> tuple[int, ...]:
    """Of a result but for its examples."""
    if isinstance(given, Ref) and given.name == reader.program.targets:
        return tuple(reader.targets.shape[1:])
    return next(
        (step.shape[1:] for step in reader.program.steps if isinstance(given, Ref) and step.name == given.name), ()
    )


def _product(reader: _Reader, step: Step) -> Value | None:
    one, two = step.args
    values = reader.of(one), reader.of(two)
    if step.kwargs:
        return None
    if {v.curvature for v in values if v is not None} == {Curvature.UNITS}:
        return (
            Value(Curvature.UNITS) if all(v or _numbers([x]) for v, x in zip(values, step.args, strict=True)) else None
        )
    if one == two and step.op == "mul.Tensor" and values[0] is not None and values[0].curvature is Curvature.AFFINE:
        return Value(Curvature.CONVEX, plain=values[0].gap)
    number, value = (two, values[0]) if values[0] is not None else (one, values[1])
    if value is None or not _numbers([number]) or number is None or (step.op == "div.Tensor" and value is values[1]):
        return None
    if value.curvature is Curvature.CONVEX:
        return value if number > 0 else None
    return Value(value.curvature) if value.curvature in (Curvature.AFFINE, Curvature.TARGETS) and number else None


def _kept(reader: _Reader, step: Step) -> Value | None:
    """A mean or sum over axes: of what is affine it is no longer the output."""
    value = reader.of(step.args[0])
    if value is None or value.curvature not in (Curvature.AFFINE, Curvature.CONVEX) or step.kwargs:
        return None
    return replace(value, gap=False, plain=value.plain and value.curvature is Curvature.CONVEX)


def _same(reader: _Reader, step: Step) -> Value | None:
    return None if step.op == "dropout.default" and step.args[2] is not False else reader.of(step.args[0])


def _spread(reader: _Reader, step: Step) -> Value | None:
    reader.spread[step.name] = list(step.args[0])
    return Value(Curvature.TARGETS) if all(reader.of(given) for given in step.args[0]) else None


def _picked(reader: _Reader, step: Step) -> Value | None:
    parts = reader.spread.get(step.args[0].name)
    value = None if parts is None else reader.of(parts[step.args[1]])
    one_shape = parts is not None and len({_shape(reader, part) for part in parts}) == 1
    return value if value is None or one_shape else replace(value, plain=False, gap=False)


def _distance(reader: _Reader, step: Step) -> Value | None:
    """Squared, absolute, Huber's: of an affine difference."""
    values = [reader.of(given) for given in step.args[:2]]
    kinds = [None if value is None else value.curvature for value in values]
    if None in kinds or not set(kinds) <= {Curvature.AFFINE, Curvature.TARGETS} or Curvature.AFFINE not in kinds:
        return None
    parameters = [*step.args[3:], *(v for name, v in step.kwargs.items() if name in ("delta", "beta"))]
    if any(not isinstance(n, int | float) or n < 0 for n in parameters):
        return None
    even = _shape(reader, step.args[0]) == _shape(reader, step.args[1])
    output = any(value is not None and value.plain for value in values)
    return Value(Curvature.CONVEX, plain=step.op == "mse_loss.default" and even and output and len(set(kinds)) == 2)


def _arguments(step: Step, names: Sequence[str]) -> dict[str, Any]:
    return {**dict(zip(names, step.args, strict=False)), **step.kwargs}


def _entropy(reader: _Reader, step: Step) -> Value | None:
    crossed = step.op == "cross_entropy_loss.default"
    names = (
        ("weight", "reduction", "ignore_index", "label_smoothing") if crossed else ("weight", "pos_weight", "reduction")
    )
    given = _arguments(step, ("self", "target", *names))
    if reader.curvatures(given["self"], given["target"]) != [Curvature.AFFINE, Curvature.TARGETS]:
        return None
    if given["target"].name != reader.program.targets:  # what is computed from the targets may be negative
        return None
    weighted = all(reader.not_negative(given.get(name)) for name in ("weight", "pos_weight"))
    if not weighted or not 0 <= given.get("label_smoothing", 0.0) <= 1:
        return None
    targets = reader.targets
    if targets.is_floating_point() and bool(((targets < 0) | (targets > 1)).any()):
        raise InvalidSetting(
            f"targets from {targets.min():.6g} to {targets.max():.6g} are no probabilities, so loss_fn may not "
            "be convex in the output: give targets in [0, 1]"
        )
    return Value(Curvature.CONVEX)


_ELEMENTS = (
    *("relu", "leaky_relu", "hardtanh", "elu", "celu", "selu", "gelu", "silu", "mish", "softplus", "tanh"),
    *("sigmoid", "log_sigmoid", "hardsigmoid", "hardswish", "softsign", "clamp", "clamp_min", "clamp_max"),
    *("exp", "sin", "cos", "neg"),
)

_RULES: dict[str, _Rule] = {
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
