"""One hidden layer and a squared loss, read from the operations that a problem computes, never from classes.

A class promises nothing: a hook, an own ``forward`` or a subclass computes what it likes. What is recognised is

    c · Σ (k β ρ(Wx + b) − y)² over all examples and outputs,

by following ``torch.export``'s operations back from the loss. Anything else is not recognised.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, NamedTuple, Protocol, runtime_checkable
from weakref import WeakKeyDictionary

import torch
from jaxtyping import Float64
from torch import Tensor

from weightstring.arrays import Theta, Thetas, Values
from weightstring.errors import InvalidSetting, Unsupported
from weightstring.problem import Traceable
from weightstring.problem.flat import Layout
from weightstring.theory.singular_features import Activation, clamped, hard_sigmoid, sigmoid
from weightstring.tracing.program import Program, program_of
from weightstring.tracing.steps import Ref, Step

DTYPES = (torch.float32, torch.float64)
"""In half precision the rounding of a loss is no small part of it."""

LONGEST = 40
"""Operations, of which a hidden layer and a squared loss need no more than a dozen."""

Numbers = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class Rho:
    """The activation.

    Args:
        numbers: ρ, element by element, in floating arithmetic.
        exact: ρ of exact numbers, if it is continuous and never negative.
        homogeneous: whether ρ(az) = aρ(z) for all a ≥ 0.
    """

    numbers: Numbers
    exact: Activation | None = None
    homogeneous: bool = False


RELU = Rho(torch.relu, clamped(0.0, math.inf), homogeneous=True)

IDENTITY = Rho(torch.Tensor.clone, homogeneous=True)


class Layers(NamedTuple):
    """W, b and β of one model, or of several with an axis more in front."""

    inner: Tensor
    bias: Tensor | None
    outer: Tensor


@dataclass(frozen=True, eq=False)
class Squares:
    """A problem whose loss is c · Σ (k β ρ(Wx + b) − y)², for every θ.

    Args:
        layout: of θ.
        program: the operations.
        names: of W, b (None: there is none) and β among the operations' inputs.
        rho: ρ.
        factor: k.
        scale: c > 0.
        inputs: x, as stored.
        targets: y, as stored.
    """

    layout: Layout
    program: Program
    names: tuple[str, str | None, str]
    rho: Rho
    factor: Fraction
    scale: Fraction
    inputs: Tensor
    targets: Tensor

    @property
    def units(self) -> int:
        """M."""
        return len(self.program.constants[self.names[0]])

    def layers(self, theta: Theta) -> Layers:
        """W (m, d), b (1, m) and β (c, m) of a model (P,), frozen ones among them, as stored."""
        views = self.layout.views(theta)

        def tensor(name: str) -> Tensor:
            own = self.program.parameters.get(name)
            return (views[own] if own in views else self.program.constants[name]).detach().cpu()

        inner, bias, outer = self.names
        return Layers(tensor(inner), None if bias is None else tensor(bias).unsqueeze(0), tensor(outer))

    def features(self, theta: Theta) -> Float64[Tensor, "m N"]:
        """ρ(Wx + b) of all examples, rounded."""
        inner, bias, _ = self.layers(theta)
        hidden = inner.double() @ self.inputs.double().T
        return self.rho.numbers(hidden if bias is None else hidden + bias.double().T)

    def loss(self, thetas: Thetas) -> tuple[Values, Values]:
        """The formula's values (B,) and by how much rounding in θ's dtype may change them, roughly."""
        values, errors = [], []
        unit = torch.finfo(thetas.dtype).eps
        for theta in thetas:
            inner, bias, outer = self.layers(theta)
            hidden, weights = self.features(theta), float(self.factor) * outer.double()
            goals = self.targets.double().T
            gaps = weights @ hidden - goals
            spread = inner.double().abs() @ self.inputs.double().abs().T
            spread = spread + hidden.abs() + (0 if bias is None else bias.double().abs().T)
            sizes = weights.abs() @ spread + goals.abs()
            share = (inner.shape[1] + inner.shape[0] + 8) * unit
            values.append(float(self.scale) * gaps.square().sum())
            errors.append(float(self.scale) * (2 * gaps.abs() * share * sizes + (share * sizes).square()).sum())
        return torch.stack(values), torch.stack(errors) + len(self.targets) * unit * torch.stack(values)


@runtime_checkable
class Read(Protocol):
    """What the operations of a problem were recognised as."""

    @property
    def inputs(self) -> Tensor:
        """The examples, as stored."""

    @property
    def targets(self) -> Tensor:
        """What is wanted of them, as stored."""

    @property
    def scale(self) -> Fraction:
        """By what the sum of squares is multiplied."""

    def loss(self, thetas: Thetas) -> tuple[Values, Values]:
        """The formula's values (B,) and by how much rounding in θ's dtype may change them, roughly."""


def agrees(found: Read, thetas: Thetas, measured: Values) -> bool:
    """Whether measured losses (B,) are what the formula says: what was traced is what is computed."""
    values, errors = found.loss(thetas)
    tiny = len(found.targets) * torch.finfo(thetas.dtype).tiny
    return bool(((measured - values).abs() <= 4 * errors + tiny).all())


_READ: WeakKeyDictionary[Traceable, Squares | None] = WeakKeyDictionary()
"""A problem never changes."""


def read(problem: Traceable) -> Squares | None:
    """A problem's loss as c · Σ (k β ρ(Wx + b) − y)²; None: it is not recognised as one.

    >>> net = torch.nn.Sequential(torch.nn.Linear(2, 3), torch.nn.ReLU(), torch.nn.Linear(3, 2, bias=False))
    >>> data = torch.ones(5, 2), torch.ones(5, 2)
    >>> from weightstring.problem import ModuleProblem
    >>> read(ModuleProblem(net, torch.nn.MSELoss(), data)).scale
    Fraction(1, 10)
    >>> read(ModuleProblem(net, torch.nn.L1Loss(), data)) is None
    True
    """
    if problem not in _READ:
        try:
            _READ[problem] = _Reader(problem).squares()
        except (Strange, Unsupported, InvalidSetting):
            _READ[problem] = None
    return _READ[problem]


class Chain(NamedTuple):
    """Linear layers without biases under a squared loss: c · Σ (k W_K ⋯ W_1 x − y)².

    Args:
        program: the operations.
        names: of W_1 … W_K among the operations' inputs.
        factor: k.
        scale: c > 0.
        inputs: x, as stored.
        targets: y, as stored.
    """

    program: Program
    names: tuple[str, ...]
    factor: Fraction
    scale: Fraction
    inputs: Tensor
    targets: Tensor


def chain_of_layers(problem: Traceable) -> Chain:
    """A problem's loss as that of a chain of linear layers, two or more.

    Raises:
        Strange: an operation that is not recognised where it stands.
        Unsupported: the problem cannot be traced.
    """
    reader = _Reader(problem)
    found = reader.sum()
    output: _Output | _Active = found.output
    names, factor = [], Fraction(1)
    while isinstance(output, _Output):
        names.append(output.outer)
        factor *= output.factor
        output = output.active
    if output.rho is not IDENTITY or output.hidden.bias is not None or len(reader.examples.leaves) != 1:
        raise Strange
    names.append(output.hidden.inner)
    leaf = reader.examples.leaves[0]
    return Chain(reader.program, tuple(reversed(names)), factor, found.scale, leaf, reader.examples.targets)


class Strange(Exception):
    """An operation that is not recognised where it stands."""


@dataclass(frozen=True)
class _Hidden:
    """Wx + b."""

    inner: str
    bias: str | None


@dataclass(frozen=True)
class _Active:
    """ρ(Wx + b)."""

    hidden: _Hidden
    rho: Rho


@dataclass(frozen=True)
class _Output:
    """K β ρ(Wx + b); or β times such an output, where linear layers follow each other."""

    active: _Active | _Output
    outer: str
    factor: Fraction = Fraction(1)


@dataclass(frozen=True)
class _Gap:
    """The output less the targets, or the other way round (−1)."""

    output: _Output
    sign: int


@dataclass(frozen=True)
class _Sum:
    """C · the squares of the gap: ``left`` are the axes (examples, outputs) that are there still."""

    output: _Output
    left: tuple[str, ...]
    scale: Fraction = Fraction(1)


_INPUTS, _TARGETS = "inputs", "targets"

_Value = str | _Hidden | _Active | _Output | _Gap | _Sum


class _Reader:
    """What each operation computes, found from the loss backwards."""

    def __init__(self, problem: Traceable) -> None:
        self.problem = problem
        self.program = program_of(problem, "loss")
        self.examples = problem.traceable("loss").examples
        self.steps = {step.name: step for step in self.program.steps}
        if self.examples.targets.ndim != 2 or len(self.steps) > LONGEST:
            raise Strange
        if any(step.dtype not in (*DTYPES, None) for step in self.program.steps):
            raise Strange

    def sum(self) -> _Sum:
        """The loss."""
        found = self.value(Ref(self.program.result))
        if not isinstance(found, _Sum) or found.left or not found.scale > 0:
            raise Strange
        return found

    def squares(self) -> Squares:
        found = self.sum()
        output, leaves, targets = found.output, self.examples.leaves, self.examples.targets
        if not isinstance(output.active, _Active):  # more layers
            raise Strange
        hidden = output.active.hidden
        inner, outer = (self.program.constants[name] for name in (hidden.inner, output.outer))
        bias = None if hidden.bias is None else self.program.constants[hidden.bias]
        # Nothing may be spread over another axis.
        fits = (
            len(leaves) == 1
            and leaves[0].ndim == targets.ndim == inner.ndim == outer.ndim == 2
            and (inner.shape[1], outer.shape[1], outer.shape[0]) == (leaves[0].shape[1], len(inner), targets.shape[1])
            and (bias is None or bias.shape == inner.shape[:1])
            and all(x.dtype in DTYPES for x in (*leaves, targets, inner, outer))
        )
        if not fits:
            raise Strange
        names = hidden.inner, hidden.bias, output.outer
        return Squares(
            self.problem.layout,
            self.program,
            names,
            output.active.rho,
            output.factor,
            found.scale,
            leaves[0].cpu(),
            targets.cpu(),
        )

    def value(self, given: Any) -> _Value:
        """What an argument is."""
        if not isinstance(given, Ref):
            raise Strange
        if given.name in self.program.leaves:
            return _INPUTS
        if given.name == self.program.targets:
            return _TARGETS
        step = self.steps.get(given.name)
        rule = None if step is None else _RULES.get(step.op)
        if step is None or rule is None:
            raise Strange
        return rule(self, step)

    def weights(self, given: Any) -> str:
        """The name of a parameter or constant."""
        if not isinstance(given, Ref) or given.name not in self.program.constants:
            raise Strange
        return given.name


def _linear(reader: _Reader, step: Step) -> _Value:
    given, weights, *bias = step.args
    source = reader.value(given)
    name = reader.weights(weights)
    if source == _INPUTS:
        return _Hidden(name, reader.weights(bias[0]) if bias and bias[0] is not None else None)
    source = _Active(source, IDENTITY) if isinstance(source, _Hidden) else source
    if not isinstance(source, _Active | _Output) or (bias and bias[0] is not None) or step.kwargs:
        raise Strange
    return _Output(source, name)


def _activated(rho: Callable[..., Rho]) -> Callable[[_Reader, Step], _Value]:
    def rule(reader: _Reader, step: Step) -> _Value:
        source = reader.value(step.args[0])
        numbers = step.args[1:]
        plain = all(isinstance(n, int | float) and math.isfinite(n) for n in numbers)
        if not isinstance(source, _Hidden) or not plain or step.kwargs:
            raise Strange
        return _Active(source, rho(*numbers))

    return rule


def _clamp(low: float, high: float = math.inf) -> Rho:
    if not 0 <= low <= high:
        raise Strange
    if low == 0 and high == math.inf:
        return RELU
    return Rho(lambda z: z.clamp(low, high), clamped(float(low), float(high)))


def _leaky(slope: float = 0.01) -> Rho:
    return Rho(lambda z: torch.where(z > 0, z, slope * z), homogeneous=True)


def _same(reader: _Reader, step: Step) -> _Value:
    if step.op == "dropout.default" and step.args[2] is not False:
        raise Strange
    return reader.value(step.args[0])


def _picked(reader: _Reader, step: Step) -> _Value:
    """One of tensors that were spread to a common shape: here all have it (see ``squares``)."""
    spread = reader.steps.get(step.args[0].name)
    if spread is None or spread.op != "broadcast_tensors.default":
        raise Strange
    return reader.value(spread.args[0][step.args[1]])


def _gap(reader: _Reader, one: Any, two: Any) -> _Gap:
    values = reader.value(one), reader.value(two)
    outputs = [value for value in values if isinstance(value, _Output)]
    if len(outputs) != 1 or _TARGETS not in values:
        raise Strange
    return _Gap(outputs[0], 1 if outputs[0] is values[0] else -1)


def _difference(reader: _Reader, step: Step) -> _Value:
    if len(step.args) != 2 or step.kwargs:
        raise Strange
    return _gap(reader, *step.args)


def _squared(reader: _Reader, step: Step) -> _Value:
    source = reader.value(step.args[0])
    if not isinstance(source, _Gap) or (step.op == "pow.Tensor_Scalar" and step.args[1] != 2):
        raise Strange
    return _Sum(source.output, ("examples", "outputs"))


def _mse(reader: _Reader, step: Step) -> _Value:
    one, two, *reduction = step.args
    whole = _Sum(_gap(reader, one, two).output, ("examples", "outputs"))
    kind = step.kwargs.get("reduction", reduction[0] if reduction else 1)
    if kind not in (0, 1):
        raise Strange
    return whole if kind == 0 else _averaged(reader, whole)


def _averaged(reader: _Reader, squares: _Sum) -> _Sum:
    sizes = dict(zip(("examples", "outputs"), reader.examples.targets.shape, strict=True))
    count = math.prod(sizes[axis] for axis in squares.left)
    return _Sum(squares.output, (), squares.scale / count)


def _mean(reader: _Reader, step: Step) -> _Value:
    source = reader.value(step.args[0])
    if not isinstance(source, _Sum) or len(step.args) != 1 or step.kwargs:
        raise Strange
    return _averaged(reader, source)


def _row_sums(reader: _Reader, step: Step) -> _Value:
    source = reader.value(step.args[0])
    whole = isinstance(source, _Sum) and source.left == ("examples", "outputs")
    if not isinstance(source, _Sum) or not whole or step.args[1] not in ([1], [-1]) or step.kwargs:
        raise Strange
    return _Sum(source.output, ("examples",), source.scale)


def _scaled(reader: _Reader, step: Step) -> _Value:
    one, two = step.args
    if isinstance(one, Ref) and isinstance(two, Ref):  # a gap by itself
        gap = reader.value(one)
        if step.op != "mul.Tensor" or not isinstance(gap, _Gap) or reader.value(two) != gap:
            raise Strange
        return _Sum(gap.output, ("examples", "outputs"))
    number, given = (one, two) if isinstance(two, Ref) else (two, one)
    if not isinstance(number, int | float) or not math.isfinite(number) or step.kwargs:
        raise Strange
    if step.op == "div.Tensor" and (given is not one or not number):
        raise Strange
    by = 1 / Fraction(number) if step.op == "div.Tensor" else Fraction(number)
    source = reader.value(given)
    if isinstance(source, _Output):
        return _Output(source.active, source.outer, source.factor * by)
    if isinstance(source, _Sum):
        return _Sum(source.output, source.left, source.scale * by)
    raise Strange


_RULES: dict[str, Callable[[_Reader, Step], _Value]] = {
    "linear.default": _linear,
    "relu.default": _activated(lambda: RELU),
    "clamp_min.default": _activated(_clamp),
    "clamp.default": _activated(_clamp),
    "hardtanh.default": _activated(_clamp),
    "leaky_relu.default": _activated(_leaky),
    "sigmoid.default": _activated(lambda: Rho(torch.sigmoid, sigmoid)),
    "hardsigmoid.default": _activated(lambda: Rho(torch.nn.functional.hardsigmoid, hard_sigmoid)),
    "dropout.default": _same,
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
