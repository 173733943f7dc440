"""A user's module and loss as a list of operations, found by ``torch.export``."""

from __future__ import annotations

import operator
import warnings
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn
from torch.export import ExportedProgram
from torch.export.graph_signature import OutputKind
from torch.fx import Node

from weightstring.errors import Unsupported
from weightstring.problem.data import Examples
from weightstring.problem.digest import tensors_digest, text_digest
from weightstring.problem.functional import first_line
from weightstring.problem.means import Criterion
from weightstring.problem.module import ModuleProblem

TRACED = 7
"""Examples with which a module is traced."""

ANOTHER = 11
"""Examples with which it is traced again: what changes with their number counts them."""

OUTSIDE = "the loss or the outermost module"

RESIZING = {"view.default", "reshape.default", "_unsafe_view.default"}
"""What may be told the number of examples."""

_TRACED: WeakKeyDictionary[ModuleProblem, dict[str, Program]] = WeakKeyDictionary()
"""A problem never changes, and tracing one takes longer than many a proof."""


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
        per_example: whether axis 0 of that shape is the examples'.
        dtype: of its result; None: it is no tensor.
        path: of the module that calls it.
        last_used: the results that no later step needs.
    """

    name: str
    op: str
    args: tuple[Any, ...]
    kwargs: Mapping[str, Any]
    shape: tuple[int, ...]
    per_example: bool
    dtype: torch.dtype | None
    path: str
    last_used: tuple[str, ...]

    @property
    def where(self) -> str:
        """The step in words."""
        return f"{self.op} in {self.path or OUTSIDE}"


@dataclass(frozen=True, eq=False)
class Program:
    """A mean over examples as operations on parameters, constants and data.

    Args:
        steps: in order.
        parameters: names of inputs and the parameters that they are, frozen ones among them.
        constants: buffers, tensors and parameters of the module, by name: what is not replaced stays as it is.
        leaves: names of the module's arguments, in order.
        targets: name of the targets; None: the module has none in it.
        result: name of what is returned.
        exported: what torch gave, by the number of examples.
    """

    steps: tuple[Step, ...]
    parameters: Mapping[str, str]
    constants: Mapping[str, Tensor]
    leaves: tuple[str, ...]
    targets: str
    result: str
    exported: Mapping[int, ExportedProgram]

    @property
    def dtype(self) -> torch.dtype:
        """Of the parameters."""
        return next(self.constants[name].dtype for name in self.parameters)

    def users(self, name: str) -> list[Step]:
        """The steps that take a result."""
        return [step for step in self.steps if name in _names((step.args, step.kwargs))]

    def digest(self) -> str:
        """SHA-256 of all that is computed, whatever the parameters."""
        steps = (f"{step.name} {step.op} {step.args} {dict(step.kwargs)} {step.shape}" for step in self.steps)
        constants = {name: value for name, value in self.constants.items() if name not in self.parameters}
        return text_digest(*steps, self.result, tensors_digest(constants))


class Measured(nn.Module):
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


def traced(problem: ModuleProblem, quantity: str) -> Program:
    """A quantity's operations, as the problem does them in each of its blocks of examples.

    Raises:
        Unsupported: see :func:`trace`.
    """
    known = _TRACED.setdefault(problem, {})
    if quantity not in known:
        net, criterion, examples, block = problem.traceable(quantity)
        known[quantity] = trace(net, criterion, examples, {len(part) for part in examples.chunks(block)})
    return known[quantity]


def trace(net: nn.Module, criterion: Criterion, examples: Examples, sizes: Collection[int] = ()) -> Program:
    """Trace a module in evaluation mode and a mean over its outputs.

    Args:
        net: the module.
        criterion: of its outputs and the targets.
        examples: with which it is called.
        sizes: how many of them at a time; for each the operations must be those for any other number.

    Raises:
        Unsupported: the module's course depends on its numbers or on how many examples there are, it writes to what it
            is given, or torch cannot trace it.
    """
    whole = Measured(net, criterion, examples.keys)
    exported = _exported(whole, examples, TRACED)
    by_size = {TRACED: exported}
    nodes, constants = _calls(exported), _constants(exported)
    for size in sorted({ANOTHER, *sizes} - {TRACED}):
        other = by_size[size] = _exported(whole, examples, size)
        others = _constants(other)
        same = [node.name for node in nodes] == [node.name for node in _calls(other)] and (
            constants.keys() == others.keys() and all(torch.equal(constants[name], others[name]) for name in constants)
        )
        strange = [one for one, two in zip(nodes, _calls(other), strict=False) if not _same_call(one, two, size)]
        if strange or not same:
            where = f"{_op(strange[0])} in {_path(strange[0]) or OUTSIDE}: " if strange else ""
            raise Unsupported(
                f"{where}what {type(net).__name__} or its loss computes depends on the number of examples, here "
                f"{TRACED} and {size}: certificates need the same operations for each example, and their mean"
            )
        if size == ANOTHER:
            counted = {one.name for one, two in zip(nodes, _calls(other), strict=True) if _rows(one) != _rows(two)}
    signature = exported.graph_signature
    parameters = {
        name: full.removeprefix("net.")
        for name, full in signature.inputs_to_parameters.items()
        if full.startswith("net.")  # those of a loss are constants
    }
    given = [str(name) for name in signature.user_inputs]
    result = _returned(exported).name
    last = {name: user for name, user in _last_uses(nodes).items() if name != result}
    steps = tuple(
        Step(
            name=node.name,
            op=_op(node),
            args=_refs(node.args),
            kwargs=_refs(node.kwargs),
            shape=_shape(node),
            per_example=node.name in counted,
            dtype=getattr(node.meta.get("val"), "dtype", None),
            path=_path(node),
            last_used=tuple(name for name, user in last.items() if user == node.name),
        )
        for node in nodes
    )
    used = {size: by_size[size] for size in sizes}
    return Program(steps, parameters, constants, tuple(given[1:]), given[0], result, used)


def _exported(whole: Measured, examples: Examples, size: int) -> ExportedProgram:
    """The operations for so many examples, none of which writes to what another reads."""
    # Only shapes and dtypes enter.
    targets, *leaves = (x.new_empty((size, *x.shape[1:])) for x in (examples.targets, *examples.leaves))
    try:
        exported = torch.export.export(whole, (targets, *leaves), strict=False)
        if any(_writes(node) for node in _calls(exported)):
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", FutureWarning)  # which torch gives itself
                exported = exported.run_decompositions({})
    except Exception as error:  # whatever tracing a stranger's code may raise
        raise Unsupported(
            f"{type(whole.net).__name__} cannot be traced as a fixed course of operations ({first_line(error)}): "
            "certificates need a module whose course does not depend on its numbers"
        ) from error
    if any(spec.kind != OutputKind.USER_OUTPUT for spec in exported.graph_signature.output_specs):
        raise Unsupported(
            f"{type(whole.net).__name__} or its loss writes to its inputs or buffers, for which certificates have no "
            "rule: let it work on copies"
        )
    _returned(exported)
    return exported


def _returned(exported: ExportedProgram) -> Node:
    returned = next(node for node in exported.graph.nodes if node.op == "output").args[0][-1]
    if not isinstance(returned, Node):
        raise Unsupported("the loss returns a number that does not depend on the outputs: there is nothing to certify")
    return returned


def _calls(exported: ExportedProgram) -> list[Node]:
    return [node for node in exported.graph.nodes if node.op == "call_function"]


def _constants(exported: ExportedProgram) -> dict[str, Tensor]:
    signature = exported.graph_signature
    held = {**exported.state_dict, **exported.constants}
    named = {
        **signature.inputs_to_parameters,
        **signature.inputs_to_buffers,
        **signature.inputs_to_lifted_tensor_constants,
    }
    return {name: held[full].detach() for name, full in named.items()}


def _op(node: Node) -> str:
    return "getitem" if node.target is operator.getitem else str(node.target).removeprefix("aten.")


def _writes(node: Node) -> bool:
    schema = getattr(node.target, "_schema", None)
    return schema is not None and schema.is_mutable and _op(node) != "detach_.default"  # which changes no number


def _shape(node: Node) -> tuple[int, ...]:
    return tuple(getattr(node.meta.get("val"), "shape", ()))


def _rows(node: Node) -> int | None:
    return next(iter(_shape(node)), None)


def _same_call(one: Node, two: Node, size: int) -> bool:
    """Whether two calls, for :data:`TRACED` and ``size`` examples, differ at most in the length of axis 0."""
    first, second = _shape(one), _shape(two)
    counted = (first[:1], second[:1]) == ((TRACED,), (size,))
    # What a view is told is as it may: its result's shape says it all.
    args = [node.args[:1] if _op(node) in RESIZING else node.args for node in (one, two)]
    return (
        (_op(one), first[counted:]) == (_op(two), second[counted:])
        and _agree(args[0], args[1])
        and _agree(one.kwargs, two.kwargs)
    )


def _agree(one: Any, two: Any) -> bool:
    """Whether two arguments are the same."""
    if isinstance(one, Node) and isinstance(two, Node):
        return one.name == two.name
    if isinstance(one, Mapping) and isinstance(two, Mapping):
        return one.keys() == two.keys() and all(_agree(one[key], two[key]) for key in one)
    if isinstance(one, list | tuple) and isinstance(two, list | tuple):
        return len(one) == len(two) and all(map(_agree, one, two))
    return type(one) is type(two) and repr(one) == repr(two)


def _path(node: Node) -> str:
    stack = list(node.meta.get("nn_module_stack", {}).values())
    if not stack:
        return ""
    path, kind = stack[-1]
    name = str(kind).rsplit(".", 1)[-1]
    path = path.removeprefix("net").removeprefix(".")
    return "" if name == "Measured" else f"{path} ({name})" if path else name


def _refs(value: Any) -> Any:
    if isinstance(value, Node):
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


def _last_uses(nodes: list[Node]) -> dict[str, str]:
    last: dict[str, str] = {}
    for node in nodes:
        for given in node.all_input_nodes:
            last[given.name] = node.name
    return last
