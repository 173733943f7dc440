"""One hidden layer and a squared loss: c · Σ (k β ρ(Wx + b) − y)² over examples and outputs, read from the trace."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from fractions import Fraction
from typing import NamedTuple

import torch
from jaxtyping import Float64
from torch import Tensor

from weightstring.arrays import Theta, Thetas, Values
from weightstring.errors import InvalidSetting, Unsupported
from weightstring.problem import Traceable
from weightstring.problem.flat import Layout
from weightstring.problem.once import once
from weightstring.theory.reader import Unrecognised
from weightstring.theory.squared_loss import DTYPES, Active, Rho, squared_loss
from weightstring.tracing.program import Program


@dataclass(frozen=True, eq=False)
class SquaredSum(ABC):
    """A problem whose loss is c · Σ (k f(x) − y)², for every θ.

    Args:
        layout: of θ.
        program: the operations.
        factor: k.
        scale: c > 0.
        inputs: x, as stored.
        targets: y, as stored.
    """

    layout: Layout
    program: Program
    factor: Fraction
    scale: Fraction
    inputs: Tensor
    targets: Tensor

    @abstractmethod
    def outputs(self, theta: Theta) -> tuple[Float64[Tensor, "N c"], Float64[Tensor, "N c"], int]:
        """Rounded k f(x), no less than the sums of absolute values behind it, and how many terms a sum has."""

    def loss(self, thetas: Thetas) -> tuple[Values, Values]:
        """The formula's values (B,) and roughly how much rounding in θ's dtype may change them."""
        values, errors = [], []
        unit, goals = torch.finfo(thetas.dtype).eps, self.targets.double()
        for theta in thetas:
            outputs, sizes, terms = self.outputs(theta)
            gaps, share = outputs - goals, (terms + 8) * unit
            sizes = sizes + goals.abs()
            values.append(float(self.scale) * gaps.square().sum())
            errors.append(float(self.scale) * (2 * gaps.abs() * share * sizes + (share * sizes).square()).sum())
        return torch.stack(values), torch.stack(errors) + len(goals) * unit * torch.stack(values)

    def agrees(self, thetas: Thetas, measured: Values) -> bool:
        """Whether measured losses (B,) are those of the formula: what was traced is what is computed."""
        values, errors = self.loss(thetas)
        tiny = len(self.targets) * torch.finfo(thetas.dtype).tiny
        return bool(((measured - values).abs() <= 4 * errors + tiny).all())


class Layers(NamedTuple):
    """W, b and β of one model, or of several with an axis more in front."""

    inner: Tensor
    bias: Tensor | None
    outer: Tensor


@dataclass(frozen=True, eq=False)
class Squares(SquaredSum):
    """A problem whose loss is c · Σ (k β ρ(Wx + b) − y)², for every θ.

    Args:
        names: of W, b (None: there is none) and β among the operations' inputs.
        rho: ρ.
    """

    names: tuple[str, str | None, str]
    rho: Rho

    @property
    def units(self) -> int:
        """The number m of hidden units."""
        return len(self.program.constants[self.names[0]])

    def layers(self, theta: Theta) -> Layers:
        """W (m, d), b (1, m) and β (c, m) of a model (P,), frozen ones among them, as stored."""
        views = self.layout.views(theta)
        inner, bias, outer = self.names
        row = None if bias is None else self.program.tensor(bias, views).unsqueeze(0)
        return Layers(self.program.tensor(inner, views), row, self.program.tensor(outer, views))

    def features(self, theta: Theta) -> Float64[Tensor, "m N"]:
        """ρ(Wx + b) of all examples, rounded."""
        inner, bias, _ = self.layers(theta)
        hidden = inner.double() @ self.inputs.double().T
        return self.rho.numbers(hidden if bias is None else hidden + bias.double().T)

    def outputs(self, theta: Theta) -> tuple[Float64[Tensor, "N c"], Float64[Tensor, "N c"], int]:
        """See :class:`SquaredSum`."""
        inner, bias, outer = self.layers(theta)
        hidden, weights = self.features(theta), float(self.factor) * outer.double()
        spread = inner.double().abs() @ self.inputs.double().abs().T
        spread = spread + hidden.abs() + (0 if bias is None else bias.double().abs().T)
        return (weights @ hidden).T, (weights.abs() @ spread).T, inner.shape[1] + inner.shape[0]


@once
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
    try:
        return _read(problem)
    except (Unrecognised, Unsupported, InvalidSetting):
        return None


def _read(problem: Traceable) -> Squares:
    reader, loss = squared_loss(problem)
    output, program, leaves, targets = loss.output, reader.program, reader.examples.leaves, reader.examples.targets
    if not isinstance(output.active, Active):  # more layers
        raise Unrecognised
    hidden = output.active.hidden
    inner, outer = (program.constants[name] for name in (hidden.inner, output.outer))
    bias = None if hidden.bias is None else program.constants[hidden.bias]
    # Nothing may be spread over another axis.
    fits = (
        len(leaves) == 1
        and leaves[0].ndim == targets.ndim == inner.ndim == outer.ndim == 2
        and (inner.shape[1], outer.shape[1], outer.shape[0]) == (leaves[0].shape[1], len(inner), targets.shape[1])
        and (bias is None or bias.shape == inner.shape[:1])
        and all(x.dtype in DTYPES for x in (*leaves, targets, inner, outer))
    )
    if not fits:
        raise Unrecognised
    return Squares(
        problem.layout,
        program,
        output.factor,
        loss.scale,
        leaves[0].cpu(),
        targets.cpu(),
        names=(hidden.inner, hidden.bias, output.outer),
        rho=output.active.rho,
    )
