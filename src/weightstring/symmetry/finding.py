"""The symmetries of an unmodified module, found by tracing it once."""

from __future__ import annotations

import operator
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn
from torch.export import ExportedProgram
from torch.fx import Node

from weightstring.errors import Unsupported
from weightstring.problem import ModuleProblem
from weightstring.problem.data import Examples, sample
from weightstring.problem.functional import first_line
from weightstring.symmetry.axes import Label
from weightstring.symmetry.outputs import Read, what_is_read
from weightstring.symmetry.resolution import Mixed, resolve
from weightstring.symmetry.rules import RULES, Call, Labels, Rule
from weightstring.symmetry.rules.base import REMEDY, is_fixed, labels_in, node_name
from weightstring.symmetry.rules.pointwise import pointwise
from weightstring.symmetry.spec import Spec, Symmetry, Term
from weightstring.symmetry.ties import Ties
from weightstring.tracing import check_faithful

OBSERVED = 256
"""Examples on which units are observed, at even distances in the evaluation set."""


@dataclass(frozen=True, eq=False)
class Traced:
    """A module's operations and its symmetry.

    Args:
        program: the operations, for so many examples.
        examples: with which it was traced.
        symmetry: what was found.
        activations: the axes of what each layer with weights takes and returns, by the operation's name.
    """

    program: ExportedProgram
    examples: Examples
    symmetry: Symmetry
    activations: Mapping[str, tuple[Term, ...]]


_TRACED: WeakKeyDictionary[ModuleProblem, Traced] = WeakKeyDictionary()
"""A problem never changes."""


def find(problem: ModuleProblem) -> Symmetry:
    """The permutations and rescalings of units that leave a problem's module the same function.

    Each axis of each tensor gets a label, and each operation ties the axes that can only move together (see
    :mod:`weightstring.symmetry.axes`). Inputs and outputs stay as they are.

    Raises:
        Unsupported: torch cannot trace the module, or an operation has no rule; names the module.

    >>> net = torch.nn.Sequential(torch.nn.Linear(2, 3), torch.nn.ReLU(), torch.nn.Linear(3, 1))
    >>> data = torch.ones(4, 2), torch.ones(4, 1)
    >>> symmetry = find(ModuleProblem(net, torch.nn.functional.mse_loss, data))
    >>> symmetry.permutations.axes["2.weight"], symmetry.scales.axes["2.weight"]
    ((None, '0'), (None, '1/0'))
    """
    return traced(problem).symmetry


def traced(problem: ModuleProblem) -> Traced:
    """A problem's module, traced once.

    Raises:
        Unsupported: see :func:`find`.
    """
    if problem not in _TRACED:
        examples = sample(problem.observed(), OBSERVED)
        program = _exported(problem, examples)
        permutations, activations = _labelled(problem, program, Ties())
        scales, _ = _labelled(problem, program, Ties(rescaling=True))
        symmetry = Symmetry(problem.layout, permutations, scales)
        _TRACED[problem] = Traced(program, examples, symmetry, activations)
    return _TRACED[problem]


class _Reading(nn.Module):
    """A module that returns what a loss reads of another's output."""

    def __init__(self, net: nn.Module, read: Read, keys: tuple[str, ...] | None) -> None:
        super().__init__()
        self.net = net
        self._read = read
        self._keys = keys

    def forward(self, *leaves: Tensor) -> list[Tensor]:
        """The tensors that are read."""
        output = self.net(*leaves) if self._keys is None else self.net(**dict(zip(self._keys, leaves, strict=True)))
        return self._read(output)


def _exported(problem: ModuleProblem, examples: Examples) -> ExportedProgram:
    net, read = problem.evaluating.module, what_is_read(problem)
    if read.elsewhere:
        raise Unsupported(
            f"symmetry: the loss reads numbers that are no part of what {type(net).__name__} returns, such as those of "
            f"a hook: return them, or {REMEDY}"
        )
    reading = _Reading(net, read, examples.keys)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # recurrent layers keep lists of their weights, which tracing remarks on
            program = torch.export.export(reading, examples.leaves, strict=False)
    except Exception as error:  # whatever tracing a stranger's code may raise
        raise Unsupported(
            f"symmetry: {type(net).__name__} cannot be traced as a fixed course of operations ({first_line(error)}): "
            f"{REMEDY}"
        ) from error
    check_faithful(program, reading, examples.leaves, "symmetry")
    program.graph.eliminate_dead_code()
    return program


@dataclass(frozen=True)
class Tensors:
    """What a graph's inputs are.

    Args:
        trainable: the first name of the parameter in θ, by the input's name.
        statistics: the buffer's name, likewise: running statistics, which are functions of θ.
        constants: values of other parameters and buffers.
    """

    trainable: Mapping[str, str]
    statistics: Mapping[str, str]
    constants: Mapping[str, Tensor]


def tensors_of(problem: ModuleProblem, program: ExportedProgram) -> Tensors:
    """What a graph's inputs are."""
    signature = program.graph_signature
    held = {**program.state_dict, **program.constants}
    state = {**signature.inputs_to_parameters, **signature.inputs_to_buffers}
    names = {given: name.removeprefix("net.") for given, name in state.items()}
    lifted = signature.inputs_to_lifted_tensor_constants
    first = {name: entry.name for entry in problem.layout.entries for name in entry.names}
    estimated = problem.statistics_names
    return Tensors(
        {given: first[name] for given, name in names.items() if name in first},
        {given: name for given, name in names.items() if name in estimated},
        {given: held[name] for given, name in lifted.items()}
        | {given: held[state[given]] for given, name in names.items() if name not in first and name not in estimated},
    )


def module_path(node: Node) -> str:
    """The module that calls an operation, in words."""
    stack = list(node.meta.get("nn_module_stack", {}).values())
    path, kind = stack[-1] if stack else ("", "the outermost module")
    path, kind = path.removeprefix("net").removeprefix("."), str(kind).rsplit(".", 1)[-1]
    return f"{path} ({kind})" if path else kind


def _labelled(problem: ModuleProblem, program: ExportedProgram, ties: Ties) -> tuple[Spec, dict[str, tuple[Term, ...]]]:
    """Label every tensor of a graph: the specification, and the axes of what layers with weights take and return."""
    inputs = tensors_of(problem, program)
    known: dict[str, Labels] = {}
    parameters = {entry.name: ties.parameter(entry.shape) for entry in problem.layout.entries}
    mixed: list[Mixed] = []
    virtual: list[Label] = []
    for node in program.graph.nodes:
        if node.op == "placeholder":
            known[node.name] = _given(node, inputs, parameters, ties)
        elif node.op == "call_function":
            known[node.name] = _called(node, known, ties, mixed, virtual)
        elif node.op == "output":
            for returned in labels_in([known[own.name] for own in node.all_input_nodes]):
                for axis in returned.axes:
                    ties.freeze(axis)
        else:
            raise Unsupported(f"symmetry: {module_path(node)} holds a {node.op}, for which there is no rule: {REMEDY}")
    used = {inputs.trainable[n.name] for n in program.graph.nodes if n.name in inputs.trainable and n.users}
    for name, unused in parameters.items():
        if name not in used:  # nothing says what its axes have to do with each other
            for axis in unused.axes:
                ties.freeze(axis)
    tensors = [label for value in known.values() for label in labels_in(value)]
    weighted = {
        node.name: label
        for node in program.graph.nodes
        if node.op == "call_function"
        and (_has_weights(node, inputs) or any(_has_weights(user, inputs) for user in node.users))
        if isinstance(label := known[node.name], Label)
    }
    return resolve(ties, parameters, [*parameters.values(), *tensors, *virtual], mixed, weighted)


def _has_weights(node: Node, inputs: Tensors) -> bool:
    """Whether an operation takes parameters, or picks what one that does returns first."""
    if node.target is operator.getitem:
        return bool(node.args[1] == 0) and _has_weights(node.all_input_nodes[0], inputs)
    return any(own.name in inputs.trainable for own in node.all_input_nodes)


def _given(node: Node, inputs: Tensors, parameters: Mapping[str, Label], ties: Ties) -> Labels:
    if node.name in inputs.trainable:
        return parameters[inputs.trainable[node.name]]
    value = node.meta.get("val")
    if not isinstance(value, Tensor):
        return None
    if node.name in inputs.statistics:
        # Computed from θ, in whatever order its units are; but scaled with none of them.
        return Label(tuple(map(ties.fixed if ties.rescaling else ties.fresh, value.shape)))
    axes = [ties.fixed(size) for size in value.shape]
    if node.name in inputs.constants:
        held = inputs.constants[node.name]
        for dim, size in enumerate(held.shape if held.numel() else ()):
            # Equal numbers may be exchanged, and only 0 is its own multiple.
            alike = held == 0 if ties.rescaling else held == held.narrow(dim, 0, 1)
            axes[dim] = ties.fresh(size) if bool(alike.all()) else axes[dim]
    return Label(tuple(axes))


def _called(node: Node, known: Mapping[str, Labels], ties: Ties, mixed: list[Mixed], virtual: list[Label]) -> Labels:
    if node.target is operator.getitem:
        (source,), index = node.all_input_nodes, node.args[1]
        found = known[source.name]
        if not isinstance(found, tuple) or not isinstance(index, int):
            raise Unsupported(f"symmetry: {node_name(source)} in {module_path(source)} returns several: {REMEDY}")
        return found[index]
    op, where = node_name(node), f"{node_name(node)} in {module_path(node)}"
    used = frozenset(user.args[1] for user in node.users if user.target is operator.getitem and user.users)
    call = Call(op, _bound(node, known), node.meta.get("val"), where, ties, mixed, virtual, used)
    labels = call.tensors()
    rule = RULES.get(op)
    if rule is None and labels and torch.Tag.pointwise in getattr(node.target, "tags", ()):
        rule = pointwise
    if rule is not None and (labels or op in ("zeros", "ones", "full")):
        return _applied(rule, call, node)
    if all(map(is_fixed, labels)):  # it moves nothing that moves
        values = call.result if isinstance(call.result, tuple | list) else [call.result]
        each = tuple(call.fixed(tuple(v.shape)) if isinstance(v, Tensor) else None for v in values)
        return each if isinstance(call.result, tuple | list) else each[0]
    raise Unsupported(f"symmetry: there is no rule for {where}: {REMEDY}")


def _applied(rule: Rule, call: Call, node: Node) -> Labels:
    """The labels of what an operation returns by its rule."""
    try:
        found = rule(call)
    except (AssertionError, AttributeError, IndexError, KeyError, TypeError, ValueError) as error:
        raise Unsupported(
            f"symmetry: the rule for {call.where} does not cover this use of it ({first_line(error)}): {REMEDY}"
        ) from error
    values = call.result if isinstance(call.result, tuple | list) else [call.result]
    for index, (value, label) in enumerate(zip(values, found if isinstance(found, tuple) else [found], strict=False)):
        counts = isinstance(value, Tensor) and not (value.is_floating_point() or value.is_complex())
        if counts and isinstance(label, Label) and (len(values) == 1 or index in call.used):
            call.plain(*label.axes)  # integers do not scale
    schema = getattr(node.target, "_schema", None)
    if schema is not None and schema.is_mutable and call.op != "detach_" and isinstance(found, Label):
        # Views of what was written to still have the label that it had.
        written = next(iter(call.tensors()), found)
        for one, other in zip(written.axes, found.axes, strict=len(written) == len(found)):
            call.ties.same(one, other)
    return found


def _bound(node: Node, known: Mapping[str, Labels]) -> dict[str, Any]:
    """An operation's arguments by name, defaults among them, labels in place of tensors."""
    schema = getattr(node.target, "_schema", None)
    if schema is None:
        raise Unsupported(f"symmetry: {module_path(node)} calls {node.target}, for which there is no rule: {REMEDY}")
    given = {argument.name: argument.default_value for argument in schema.arguments if argument.has_default_value()}
    given |= {argument.name: value for argument, value in zip(schema.arguments, node.args, strict=False)}
    given |= node.kwargs
    return {name: _labels(value, known) for name, value in given.items()}


def _labels(value: Any, known: Mapping[str, Labels]) -> Any:
    if isinstance(value, Node):
        return known[value.name]
    if isinstance(value, tuple | list):
        return type(value)(_labels(part, known) for part in value)
    return value
