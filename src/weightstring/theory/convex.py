"""Convex losses of one hidden layer, read from the operations that a problem computes (see ``convex_rules``)."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from torch import Tensor

from weightstring.errors import InvalidSetting
from weightstring.problem import Traceable
from weightstring.theory.convex_rules import WANTED, Curvature, Outputs
from weightstring.tracing.program import Program
from weightstring.tracing.steps import Step, filled


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

    @cached_property
    def _constants(self) -> dict[str, Tensor]:
        held = {name: constant.detach().cpu() for name, constant in self.program.constants.items()}
        return {name: value.double() if value.is_floating_point() else value for name, value in held.items()}

    def _run(self, steps: Iterable[Step], given: dict[str, Tensor], result: str) -> Tensor:
        values: dict[str, Any] = self._constants | given
        for step in steps:
            values[step.name] = step.target(*filled(step.args, values), **filled(step.kwargs, values))
        computed: Tensor = values[result]
        return computed


def read(problem: Traceable) -> Convex:
    """A problem's loss as a convex function of the outer weights of one hidden layer.

    Raises:
        InvalidSetting: an operation that is not recognised where it stands.
        Unsupported: the problem cannot be traced.

    >>> import torch
    >>> net = torch.nn.Sequential(torch.nn.Linear(2, 3), torch.nn.ReLU(), torch.nn.Linear(3, 2, bias=False))
    >>> from weightstring.problem import ModuleProblem
    >>> found = read(ModuleProblem(net, torch.nn.L1Loss(), (torch.ones(5, 2), torch.ones(5, 2))))
    >>> found.inner, found.outer, found.squared
    (('0.weight', '0.bias'), ('2.weight', None), False)
    """
    reader = Outputs(problem)
    value = reader.read()
    if value.curvature is not Curvature.CONVEX or len(reader.linears) != 2:
        raise InvalidSetting(f"loss_fn is not known to be convex in the output of one hidden layer: {WANTED}")
    program, (first, second) = reader.program, reader.linears
    inner, outer = _names(program, first), _names(program, second)
    names = [name for name in (*inner, *outer) if name is not None]
    trained = {entry.name for entry in problem.layout.entries}
    alone = all(len(entry.names) == 1 for entry in problem.layout.entries)
    if len(set(names)) != len(names) or set(names) != trained or not alone:
        odd = sorted(set(names) ^ trained) or sorted(names)
        raise InvalidSetting(f"parameters {', '.join(odd)} are frozen, tied or elsewhere in the net: {WANTED}")
    start, middle = reader.steps.index(first), reader.steps.index(second)
    return Convex(
        inner,
        outer,
        value.squares,
        tuple(reader.steps[start + 1 : middle]),
        tuple(reader.steps[middle + 1 :]),
        program,
        first.name,
        second.args[0].name,
        second.name,
    )


def _names(program: Program, linear: Step) -> tuple[str, str | None]:
    weight, *bias = (None if given is None else program.parameters.get(given.name) for given in linear.args[1:])
    if weight is None or (linear.args[2:] and linear.args[2] is not None and bias[0] is None):
        raise InvalidSetting(f"{linear.where} takes weights that are not parameters themselves: {WANTED}")
    return weight, bias[0] if bias else None
