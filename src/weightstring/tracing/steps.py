"""What ``torch.export`` finds in a module, as steps that name what they take."""

from __future__ import annotations

import io
import logging
import operator
import warnings
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext, redirect_stderr
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import SymBool, SymFloat, SymInt, Tensor, nn
from torch.export import ExportedProgram
from torch.fx import Node
from torch.utils._pytree import tree_leaves

from weightstring.errors import Unsupported
from weightstring.text import first_line
from weightstring.tracing.attention import ExamplesFirst
from weightstring.tracing.likelihood import Unasked
from weightstring.tracing.recurrent import UNROLLED

OUTSIDE = "the loss or the outermost module"


@dataclass(frozen=True)
class Ref:
    """The result of a step, or an input, by name."""

    name: str


@dataclass(frozen=True, eq=False)
class Step:
    """One operation.

    Args:
        name: of its result.
        target: what it calls: one of torch's operators, or ``operator.getitem``.
        args: with :class:`Ref` in place of tensors.
        kwargs: likewise.
        result: what it returns for the traced inputs, tensors without numbers.
        path: of the module that calls it.
    """

    name: str
    target: Callable[..., Any]
    args: tuple[Any, ...]
    kwargs: Mapping[str, Any]
    result: Any
    path: str

    @property
    def op(self) -> str:
        """The operator, such as ``linear.default``; of other libraries than ATen with theirs in front."""
        return "getitem" if self.target is operator.getitem else str(self.target).removeprefix("aten.")

    @property
    def shape(self) -> tuple[int, ...]:
        """Of its result; () where that is no tensor."""
        return tuple(getattr(self.result, "shape", ()))

    @property
    def dtype(self) -> torch.dtype | None:
        """Of its result; None: it is no tensor."""
        return getattr(self.result, "dtype", None)

    @property
    def settled(self) -> bool:
        """Whether its result is known without what numbers say, and its shape too."""
        found = (number for part in tree_leaves(self.result) for number in (part, *getattr(part, "shape", ())))
        return not any(isinstance(number, SymInt | SymBool | SymFloat) for number in found)

    @property
    def schema(self) -> Any:
        """The operator's signature; None: it has none."""
        return getattr(self.target, "_schema", None)

    @property
    def writes(self) -> bool:
        """Whether it writes to what it is given; ``detach_`` changes no number."""
        return self.schema is not None and self.schema.is_mutable and self.op != "detach_.default"

    @property
    def written(self) -> list[str]:
        """Names of the arguments that it writes to."""
        return list(names_in(self._aliased(lambda info: info.is_write))) if self.writes else []

    @property
    def shares(self) -> list[str]:
        """Names of the arguments whose memory its result may share."""
        if self.target is operator.getitem:
            return self.takes
        returns = self.schema.returns if self.schema is not None else ()
        return list(names_in(self._aliased(bool))) if any(each.alias_info for each in returns) else []

    def _aliased(self, chosen: Callable[[Any], bool]) -> list[Any]:
        """The arguments of which the operator's signature says that memory is shared."""
        given = dict(zip((each.name for each in self.schema.arguments), self.args, strict=False)) | dict(self.kwargs)
        wanted = (each for each in self.schema.arguments if each.alias_info and chosen(each.alias_info))
        return [given.get(each.name) for each in wanted]

    @property
    def takes(self) -> list[str]:
        """Names of its arguments, with repetitions."""
        return list(names_in((self.args, self.kwargs)))

    @property
    def where(self) -> str:
        """The operator and the module that calls it, in words."""
        return f"{self.op} in {self.path or OUTSIDE}"


@dataclass(frozen=True, eq=False)
class Trace:
    """A module's course of operations.

    Args:
        steps: in order.
        inputs: names of all that it takes, in order.
        parameters: the parameters among them, with their names in the module.
        buffers: likewise.
        held: parameters, buffers and constants by the input's name, the very tensors of the module that was traced:
            it may give up their memory for a while.
        given: the module's arguments, by the input's name: tensors without numbers.
        returned: names of what it returns.
        exported: what torch gave.
    """

    steps: tuple[Step, ...]
    inputs: tuple[str, ...]
    parameters: Mapping[str, str]
    buffers: Mapping[str, str]
    held: Mapping[str, Tensor]
    given: Mapping[str, Any]
    returned: tuple[str, ...]
    exported: ExportedProgram

    @classmethod
    def of(cls, exported: ExportedProgram) -> Trace:
        """Read what torch gave."""
        signature = exported.graph_signature
        parameters, buffers = signature.inputs_to_parameters, signature.inputs_to_buffers
        names = {**parameters, **buffers, **signature.inputs_to_lifted_tensor_constants}
        held = {**exported.state_dict, **exported.constants}
        nodes = exported.graph.nodes
        arguments = {node.name: node.meta.get("val") for node in nodes if node.op == "placeholder"}
        return cls(
            tuple(_step(node) for node in nodes if node.op == "call_function"),
            tuple(arguments),
            parameters,
            buffers,
            {name: held[full] for name, full in names.items()},
            {name: arguments[name] for name in map(str, signature.user_inputs)},
            tuple(name for node in nodes if node.op == "output" for name in names_in(_refs(node.args))),
            exported,
        )

    def arguments(self, tensors: Mapping[str, Tensor], leaves: Sequence[Tensor]) -> list[Tensor]:
        """All that the graph takes, in order; copies, if it writes to anything.

        Args:
            tensors: parameters and buffers by their names in the module; those that are missing are as traced.
            leaves: the module's positional arguments.
        """
        names = {**self.parameters, **self.buffers}
        held = {name: tensors.get(names.get(name, ""), value) for name, value in self.held.items()}
        held |= zip(self.given, leaves, strict=True)
        writes = any(step.writes for step in self.steps)
        return [held[name].detach().clone() if writes else held[name].detach() for name in self.inputs]

    @property
    def values(self) -> dict[str, Tensor]:
        """The numbers of what it holds, apart from autograd."""
        return {name: tensor.detach() for name, tensor in self.held.items()}

    def apart_from(self, moving: Collection[str]) -> dict[str, bool]:
        """The inputs and results that do not depend on some inputs, and whether nothing writes to them.

        What shares memory with another is written to with it.
        """
        memory = {name: name for name in self.inputs}
        for step in self.steps:
            memory[step.name] = next((memory[name] for name in step.shares), step.name)
        written = {memory[name] for step in self.steps for name in step.written}
        moved, before = {memory[name] for name in moving}, 0
        while len(moved) > before:
            before = len(moved)
            for step in self.steps:
                if any(memory[name] in moved for name in step.takes):
                    moved |= {memory[name] for name in (step.name, *step.written)}
        return {name: own not in written for name, own in memory.items() if own not in moved}

    @cached_property
    def users(self) -> Mapping[str, tuple[Step, ...]]:
        """The steps that take a result or an input, by its name."""
        users: dict[str, dict[str, Step]] = {}
        for step in self.steps:
            for name in step.takes:
                users.setdefault(name, {})[step.name] = step
        return {name: tuple(steps.values()) for name, steps in users.items()}

    def needs(self, name: str) -> bool:
        """Whether a step takes a result or an input, or it is returned."""
        return name in self.users or name in self.returned


def export(
    module: nn.Module, leaves: Sequence[Tensor], subject: str, remedy: str, *, functional: bool = False
) -> ExportedProgram:
    """Trace a module.

    Args:
        module: the module.
        leaves: its positional arguments.
        subject: the first words of a refusal.
        remedy: its last.
        functional: decompose operations that write in place, so that no step changes what another reads, unroll
            recurrent layers, keep the examples first in attention, and take a Gaussian likelihood by its formula.

    Raises:
        Unsupported: torch cannot trace it.
    """
    try:
        with _quietly(), ExamplesFirst() if functional else nullcontext(), Unasked() if functional else nullcontext():
            exported = torch.export.export(module, tuple(leaves), strict=False)
            steps = Trace.of(exported).steps if functional else ()
            if functional and any(step.writes or step.target in UNROLLED for step in steps):
                exported = exported.run_decompositions(dict(UNROLLED))
            if functional:
                exported.graph.eliminate_dead_code(_has_effect)
    except Exception as error:  # whatever tracing a stranger's code may raise
        raise Unsupported(
            f"{subject}{name_of(module)} cannot be traced as a fixed course of operations ({first_line(error)}): "
            f"{remedy}"
        ) from error
    return exported


def _has_effect(node: Node) -> bool:
    """Whether it does more than give a result; without a reader that is another quantity, or torch's own check."""
    schema = getattr(node.target, "_schema", None)
    return node.op != "call_function" or (schema is not None and schema.is_mutable)


@contextmanager
def _quietly() -> Iterator[None]:
    """Without torch's remarks: on lists of weights in recurrent layers, and half a graph where tracing fails."""
    log = logging.getLogger("torch.fx.experimental.symbolic_shapes")
    with warnings.catch_warnings(), redirect_stderr(io.StringIO()):
        warnings.simplefilter("ignore")
        level = log.level
        log.setLevel(logging.CRITICAL)
        try:
            yield
        finally:
            log.setLevel(level)


def name_of(module: nn.Module) -> str:
    """The class of a module, or of what it wraps as ``net``."""
    return type(getattr(module, "net", module)).__name__


def names_in(value: Any) -> Iterator[str]:
    """The names that arguments refer to."""
    return (part.name for part in tree_leaves(value) if isinstance(part, Ref))


def filled(value: Any, values: Mapping[str, Any]) -> Any:
    """Arguments with values in place of the names that they refer to."""
    if isinstance(value, Ref):
        return values[value.name]
    if isinstance(value, Mapping):
        return {key: filled(part, values) for key, part in value.items()}
    if isinstance(value, tuple):
        return tuple(filled(part, values) for part in value)
    return [filled(part, values) for part in value] if isinstance(value, list) else value


def _step(node: Node) -> Step:
    assert callable(node.target)
    return Step(node.name, node.target, _refs(node.args), _refs(dict(node.kwargs)), node.meta.get("val"), _path(node))


def _refs(value: Any) -> Any:
    if isinstance(value, Node):
        return Ref(value.name)
    if isinstance(value, Mapping):
        return {key: _refs(part) for key, part in value.items()}
    if isinstance(value, tuple):
        return tuple(map(_refs, value))
    return list(map(_refs, value)) if isinstance(value, list) else value


def _path(node: Node) -> str:
    """The module that calls an operation, with its class; nothing for a wrapper of ``net``."""
    stack = list(node.meta.get("nn_module_stack", {}).values())
    full, kind = stack[-1] if stack else ("", "")
    path, kind = full.removeprefix("net").removeprefix("."), str(kind).rsplit(".", 1)[-1]
    return f"{path} ({kind})" if path else kind if full else ""
