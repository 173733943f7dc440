"""A user's module and loss as a list of operations, found by ``torch.export``."""

from __future__ import annotations

import operator
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from weightstring.errors import Unsupported
from weightstring.problem.data import Examples
from weightstring.problem.functional import Criterion, first_line

TRACED = 7
"""Examples with which a module is traced: the length of axis 0 of all that has one row an example."""


@dataclass(frozen=True)
class Ref:
    """The result of a step, or an input, by name."""

    name: str


@dataclass(frozen=True, eq=False)
class Step:
    """One operation.

    Args:
        name: of its result.
        op: of torch's ATen operators, such as ``linear.default``.
        args: with :class:`Ref` in place of tensors.
        kwargs: likewise.
        shape: of its result for :data:`TRACED` examples.
        path: of the module that calls it.
        last_used: the results that no later step needs.
    """

    name: str
    op: str
    args: tuple[Any, ...]
    kwargs: Mapping[str, Any]
    shape: tuple[int, ...]
    path: str
    last_used: tuple[str, ...]

    @property
    def where(self) -> str:
        """The step in words."""
        return f"{self.op} in {self.path or 'the loss or the outermost module'}"


@dataclass(frozen=True, eq=False)
class Program:
    """A mean over examples as operations on parameters, constants and data.

    Args:
        steps: in order.
        parameters: names of inputs and the parameters that they are.
        constants: buffers and tensors of the module, by name.
        leaves: names of the module's arguments, in order.
        targets: name of the targets; None: the module has none in it.
        result: name of what is returned.
    """

    steps: tuple[Step, ...]
    parameters: Mapping[str, str]
    constants: Mapping[str, Tensor]
    leaves: tuple[str, ...]
    targets: str
    result: str

    def users(self, name: str) -> list[Step]:
        """The steps that take a result."""
        return [step for step in self.steps if name in _names((step.args, step.kwargs))]


class _Measured(nn.Module):
    """A criterion of a module's output, as one module."""

    def __init__(self, net: nn.Module, criterion: Criterion, keys: tuple[str, ...] | None) -> None:
        super().__init__()
        self.net = net
        self.criterion = criterion
        self._keys = keys

    def forward(self, targets: Tensor, *leaves: Tensor) -> object:
        """The criterion's value."""
        output = self.net(*leaves) if self._keys is None else self.net(**dict(zip(self._keys, leaves, strict=True)))
        return self.criterion(output, targets)


def trace(net: nn.Module, criterion: Criterion, examples: Examples) -> Program:
    """Trace a module in evaluation mode and a mean over its outputs.

    Raises:
        Unsupported: the module's course depends on its numbers, or torch cannot trace it.
    """
    rows = torch.arange(TRACED, device=examples.targets.device) % len(examples)
    some = examples.take(rows)
    whole = _Measured(net, criterion, examples.keys)
    try:
        exported = torch.export.export(whole, (some.targets, *some.leaves), strict=False)
    except Exception as error:  # whatever tracing a stranger's code may raise
        raise Unsupported(
            f"{type(net).__name__} cannot be traced as a fixed course of operations ({first_line(error)}): "
            "certificates need a module whose course does not depend on its numbers"
        ) from error
    signature = exported.graph_signature
    parameters = {name: full.removeprefix("net.") for name, full in signature.inputs_to_parameters.items()}
    held = {**exported.state_dict, **exported.constants}
    constants = {name: held[full] for name, full in signature.inputs_to_buffers.items()}
    constants |= {name: held[full] for name, full in signature.inputs_to_lifted_tensor_constants.items()}
    given = [str(name) for name in signature.user_inputs]
    nodes = [node for node in exported.graph.nodes if node.op == "call_function"]
    (returned,) = next(node for node in exported.graph.nodes if node.op == "output").args[0][-1:]
    result = returned.name if isinstance(returned, torch.fx.Node) else repr(returned)
    last = _last_uses(nodes)
    steps = tuple(
        Step(
            name=node.name,
            op=getattr(node.target, "__name__", "")
            if node.target is operator.getitem
            else str(node.target).removeprefix("aten."),
            args=_refs(node.args),
            kwargs=_refs(node.kwargs),
            shape=tuple(getattr(node.meta.get("val"), "shape", ())),
            path=_path(node),
            last_used=tuple(name for name, user in last.items() if user == node.name),
        )
        for node in nodes
    )
    return Program(steps, parameters, constants, tuple(given[1:]), given[0], result)


def _path(node: torch.fx.Node) -> str:
    stack = list(node.meta.get("nn_module_stack", {}).values())
    if not stack:
        return ""
    path, kind = stack[-1]
    name = str(kind).rsplit(".", 1)[-1]
    path = path.removeprefix("net").removeprefix(".")
    return "" if name == "_Measured" else f"{path} ({name})" if path else name


def _refs(value: Any) -> Any:
    if isinstance(value, torch.fx.Node):
        return Ref(value.name)
    if isinstance(value, Mapping):
        return {key: _refs(part) for key, part in value.items()}
    if isinstance(value, tuple):
        return tuple(map(_refs, value))
    return list(map(_refs, value)) if isinstance(value, list) else value


def _names(value: Any) -> list[str]:
    if isinstance(value, Ref):
        return [value.name]
    if isinstance(value, Mapping):
        return [name for part in value.values() for name in _names(part)]
    return [name for part in value for name in _names(part)] if isinstance(value, tuple | list) else []


def _last_uses(nodes: list[torch.fx.Node]) -> dict[str, str]:
    last: dict[str, str] = {}
    for node in nodes:
        for given in node.all_input_nodes:
            last[given.name] = node.name
    return last
