"""A mean over examples as steps: a user's module and what is measured of its output."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from functools import cached_property

import torch
from torch import Tensor, nn
from torch.export.graph_signature import OutputKind

from weightstring.errors import Unsupported
from weightstring.problem.capabilities import Traceable, certified_inputs
from weightstring.problem.datasets.data import Examples
from weightstring.problem.digests.digest import tensors_digest, text_digest
from weightstring.problem.losses.means import Criterion
from weightstring.problem.once import once
from weightstring.tracing.batch_first import Course, axis_of, batch_first
from weightstring.tracing.steps import Step, Trace, export, name_of

TRACED = 7
"""Examples with which a module is traced."""

ANOTHER = 11
"""Examples with which it is traced again: what changes with their number counts them."""

RESIZING = {"view.default", "reshape.default", "_unsafe_view.default", "expand.default"}
"""What may be told the number of examples."""


@dataclass(frozen=True, eq=False)
class Program:
    """A mean over examples as operations on parameters, constants and data.

    Args:
        steps: in order, of :data:`TRACED` examples.
        per_example: names of the results whose axis 0 is the examples'.
        axes: where the traces' results have the examples, of those that have them elsewhere than along axis 0.
        parameters: names of inputs and the parameters that they are, frozen ones among them.
        constants: buffers, tensors and parameters of the module, by name: what is not replaced stays as it is.
        leaves: names of the module's arguments, in order.
        targets: name of the targets.
        result: name of what is returned.
        traces: by the number of examples.
        of_data: names of the results that depend on no parameter.
        varying: of these, those whose operations depend on how many examples there are.
        statistics: names of inputs and the running statistics that they are, where these are functions of θ.
        exponential: whether the quantity is e to what the steps return, as perplexity is; of all examples at once then.
    """

    steps: tuple[Step, ...]
    per_example: frozenset[str]
    parameters: Mapping[str, str]
    constants: Mapping[str, Tensor]
    leaves: tuple[str, ...]
    targets: str
    result: str
    traces: Mapping[int, Trace]
    axes: Mapping[str, int] = field(default_factory=dict)
    of_data: frozenset[str] = frozenset()
    varying: frozenset[str] = frozenset()
    statistics: Mapping[str, str] = field(default_factory=dict)
    exponential: bool = False

    @property
    def dtype(self) -> torch.dtype:
        """The dtype of the parameters."""
        return next(self.constants[name].dtype for name in self.parameters)

    @cached_property
    def last_used(self) -> Mapping[str, tuple[str, ...]]:
        """The results that no later step needs, by the step's name."""
        last = {name: step.name for step in self.steps for name in step.takes if name != self.result}
        return {step.name: tuple(name for name, user in last.items() if user == step.name) for step in self.steps}

    def users(self, name: str) -> list[Step]:
        """The steps that take a result."""
        return [step for step in self.steps if name in step.takes]

    def tensor(self, name: str, parameters: Mapping[str, Tensor]) -> Tensor:
        """A parameter by the input's name, or a constant, on the CPU.

        Args:
            name: the input's.
            parameters: by their own names; those that are missing are frozen.
        """
        full = self.parameters.get(name)
        return (parameters[full] if full is not None and full in parameters else self.constants[name]).detach().cpu()

    def digest(self) -> str:
        """SHA-256 of all that is computed, whatever the parameters."""
        steps = (f"{step.name} {step.op} {step.args} {dict(step.kwargs)} {step.shape}" for step in self.steps)
        moving = {*self.parameters, *self.statistics}
        constants = {name: value for name, value in self.constants.items() if name not in moving}
        return text_digest(*steps, self.result, tensors_digest(constants), *("exponential",) * self.exponential)


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


@once
def program_of(problem: Traceable, quantity: str) -> Program:
    """A quantity's operations, as the problem does them in each of its blocks of examples.

    Raises:
        Unsupported: see :func:`trace_mean`.
    """
    (net, criterion, examples, block), estimated = certified_inputs(problem, quantity)
    sizes = {len(part) for part in examples.chunks(block)}
    if estimated is None:
        return trace_mean(net, criterion, examples, sizes)
    sizes |= {len(part) for part in estimated.examples.chunks(estimated.chunk)}
    return trace_mean(net, criterion, examples, sizes, estimated.names)


def trace_mean(
    net: nn.Module,
    criterion: Criterion,
    examples: Examples,
    sizes: Collection[int] = (),
    statistics: Collection[str] = (),
) -> Program:
    """Trace a module in evaluation mode and a mean over its outputs.

    Args:
        net: the module.
        criterion: of its outputs and the targets.
        examples: with which it is called.
        sizes: how many of them at a time; for each the operations must be those for any other number.
        statistics: names of the module's buffers that are functions of θ.

    Raises:
        Unsupported: the module's course depends on its numbers or on how many examples there are, it writes to what it
            is given, or torch cannot trace it.
    """
    whole = Measured(net, criterion, examples.keys)
    traces = {size: _traced(whole, examples, size) for size in sorted({TRACED, ANOTHER, *sizes})}
    trace = traces[TRACED]
    buffers = {name: full.removeprefix("net.") for name, full in trace.buffers.items()}
    running = {name: full for name, full in buffers.items() if full in statistics}
    of_data = trace.apart_from({*trace.parameters, *running}).keys()
    axes = _axes(trace, traces[ANOTHER])
    courses = {size: batch_first(each, axes) for size, each in traces.items()}
    course = courses.pop(TRACED)
    varying: set[str] = set()
    for size, other in courses.items():
        varying |= _require_same(course, other, size, net, of_data)
    targets, *leaves = trace.given
    steps, result = course.steps, trace.returned[-1]
    if exponential := bool(steps) and _is_exponential(steps[-1], result):
        steps, result = steps[:-1], steps[-1].takes[0]
    return Program(
        steps,
        frozenset(axes).difference(trace.given),
        {
            name: full.removeprefix("net.")
            for name, full in trace.parameters.items()
            if full.startswith("net.")  # those of a loss are constants
        },
        trace.values,
        tuple(leaves),
        targets,
        result,
        {size: traces[size] for size in sizes},
        {name: axis for name, axis in axes.items() if axis},
        frozenset(of_data),
        frozenset(varying),
        running,
        exponential,
    )


def _is_exponential(last: Step, result: str) -> bool:
    """Whether e to a number is what is returned."""
    return last.name == result and last.op == "exp.default" and not last.shape and len(last.takes) == 1


def moving_steps(net: nn.Module, criterion: Criterion, examples: Examples) -> list[Step]:
    """The operations of a mean on what depends on parameters, whether or not it is a mean that can be bounded.

    Raises:
        Unsupported: torch cannot trace it.
    """
    trace = _traced(Measured(net, criterion, examples.keys), examples, TRACED)
    apart = trace.apart_from(trace.parameters)
    return [step for step in trace.steps if step.name not in apart]


def _traced(whole: Measured, examples: Examples, size: int) -> Trace:
    """The operations on a number of examples, none of which writes to what another reads."""
    # Only shapes and dtypes enter.
    leaves = [x.new_empty((size, *x.shape[1:])) for x in (examples.targets, *examples.leaves)]
    remedy = "certificates need a module whose course does not depend on its numbers"
    exported = export(whole, leaves, "", remedy, functional=True)
    if any(spec.kind != OutputKind.USER_OUTPUT for spec in exported.graph_signature.output_specs):
        raise Unsupported(
            f"{name_of(whole)} or its loss writes to its inputs or buffers, for which certificates have no rule: "
            "make it work on copies"
        )
    trace = Trace.of(exported)
    if not trace.returned:
        raise Unsupported("the loss returns a number that does not depend on the outputs: there is nothing to bound")
    return trace


def _axes(few: Trace, more: Trace) -> dict[str, int]:
    """Along which axis each argument and result has the examples, if it has."""
    pairs = zip(few.steps, more.steps, strict=False)
    found = {one.name: axis_of(one.shape, other.shape) for one, other in pairs}
    return dict.fromkeys(few.given, 0) | {name: axis for name, axis in found.items() if axis is not None}


def _require_same(one: Course, two: Course, size: int, net: nn.Module, of_data: Collection[str]) -> set[str]:
    """Refuse a course of operations that depends on how many examples there are.

    Returns:
        The names of results of data alone that do: of these nothing needs to be enclosed.
    """
    pairs = list(zip(one.steps, two.steps, strict=False))
    stuck = one.stuck | two.stuck
    different = [step for step, other in pairs if step.name in stuck or not _same_call(step, other, size)]
    strange = next((step for step in different if step.name not in of_data), None)
    named = [step.name for step in one.steps] == [step.name for step in two.steps]
    mine, others = one.trace.values, two.trace.values
    held = mine.keys() == others.keys() and all(torch.equal(value, others[name]) for name, value in mine.items())
    if strange and strange.name in stuck:
        raise Unsupported(
            f"{strange.where}: it has the examples along another axis than the first, or mixes them, for which "
            "certificates have no rule: keep them along axis 0"
        )
    if strange or not named or not held:
        raise Unsupported(
            f"{f'{strange.where}: ' if strange else ''}what {type(net).__name__} or its loss computes depends on the "
            f"number of examples, here {TRACED} and {size}: certificates need a mean of the same operations on each "
            "example"
        )
    return {step.name for step in different}


def _same_call(one: Step, two: Step, size: int) -> bool:
    """Whether two calls, for :data:`TRACED` and ``size`` examples, differ at most in the length of axis 0."""
    # Tokens of all examples side by side are as many for each.
    lengths = [*one.shape[:1], *two.shape[:1]]
    counted = len(lengths) == 2 and lengths[0] % TRACED == 0 and lengths[0] // TRACED * size == lengths[1]
    # What a view is told is as it may: its result's shape says it all. Written out, 1 is not 1.0, nor True.
    args = [step.args[:1] if step.op in RESIZING else step.args for step in (one, two)]
    first, second = (
        (step.op, step.shape[counted:], repr(given), repr(step.kwargs))
        for step, given in zip((one, two), args, strict=True)
    )
    return first == second
