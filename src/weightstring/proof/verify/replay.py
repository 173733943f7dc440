"""A module's operations, traced anew, and run on lines: an upper bound of a mean on one interval of a string."""

from __future__ import annotations

import math
import operator
import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.export import ExportedProgram
from torch.export.graph_signature import OutputKind
from torch.fx import Interpreter, Node

from weightstring.problem.capabilities import Traceable
from weightstring.problem.datasets.data import Examples
from weightstring.proof.verify import activations, arithmetic, losses, shapes  # noqa: F401 - enter their operations
from weightstring.proof.verify.elsewhere import EXCHANGES, elsewhere
from weightstring.proof.verify.lines import Array, Given, Line, Path, gamma
from weightstring.proof.verify.of_data import LATER, Made, of_data
from weightstring.proof.verify.operations import OPERATIONS, At, Loss, NotVerifiable, array

EXAMPLES, MORE = 7, 12
"""With how many a module is traced, and again."""

PAGE = "docs/extending/certificate-rule.md"

CHUNK_BYTES = 64 << 20
"""What the widest array of a chunk of examples may take."""


class _Whole(nn.Module):
    """A module and what is measured of its output."""

    def __init__(self, net: nn.Module, criterion: Callable[..., Any], keys: tuple[str, ...] | None) -> None:
        super().__init__()
        self.net, self.criterion, self.keys = net, criterion, keys

    def forward(self, targets: Tensor, *leaves: Tensor) -> Any:
        """The criterion's value."""
        if self.keys is None:
            return self.criterion(self.net(*leaves), targets)
        return self.criterion(self.net(**dict(zip(self.keys, leaves, strict=True))), targets)


class Replay:
    """A quantity of a problem, to be bounded on intervals.

    Args:
        problem: whose quantity.
        quantity: its name.

    Raises:
        NotVerifiable: an operation is not known.
    """

    def __init__(self, problem: Traceable, quantity: str) -> None:
        net, criterion, examples, block = problem.traceable(quantity)
        self._blocks = [len(part) for part in examples.chunks(block)]
        whole = _Whole(net, criterion, examples.keys)
        program = _exported(whole, examples, EXAMPLES)
        self._whole, self._layout, self._dtype = whole, problem.layout, problem.layout.dtype
        self._courses = {EXAMPLES: program}
        self._nodes = _calls(program)
        self._of_data, self._later = of_data(program), set()
        self._given = [str(name) for name in program.graph_signature.user_inputs]
        self._courses |= {size: _exported(whole, examples, size) for size in {MORE, *self._blocks} - {EXAMPLES}}
        more = _calls(self._courses[MORE])
        self._axes = dict.fromkeys(self._given, 0) | _along(self._nodes, more)
        for size in self._courses.keys() - {EXAMPLES}:
            other = self._courses[size]
            others = _calls(other)
            pairs = zip(self._nodes, others, strict=False)
            varying = {one.name for one, two in pairs if not _same(one, two, size, self._axes.get(one.name, 0))}
            self._later |= varying  # what is made of data alone need not be the same, and is then computed
            same = [one.name for one in self._nodes] == [two.name for two in others] and varying <= self._of_data
            if not same or not _same_constants(program.constants, other.constants):
                raise NotVerifiable(f"what is computed depends on the number of examples, here {EXAMPLES} and {size}")
        self._counted = {one.name for one, two in zip(self._nodes, more, strict=True) if _shape(one) != _shape(two)}
        for node in self._nodes:
            if not _is_known(node) and node.name not in self._of_data:
                raise NotVerifiable(f"{_name(node)} is not an operation that verification knows: add it ({PAGE})")
        signature = program.graph_signature
        held: Mapping[str, Any] = {**program.state_dict, **program.constants}
        self._entries = {name: entry for entry in problem.layout.entries for name in entry.names}
        inputs = signature.inputs_to_parameters
        given = {name: full.removeprefix("net.") for name, full in inputs.items() if full.startswith("net.")}
        self._parameters = {name: full for name, full in given.items() if full in self._entries}
        fixed = {
            **{name: full for name, full in signature.inputs_to_parameters.items() if name not in self._parameters},
            **signature.inputs_to_buffers,
            **signature.inputs_to_lifted_tensor_constants,
        }
        self._constants = {name: array(held[full]) for name, full in fixed.items()}
        (self._result,) = next(node for node in program.graph.nodes if node.op == "output").args[0][-1:]
        if not isinstance(self._result, Node):
            raise NotVerifiable("the loss returns a number that depends on nothing")
        self._examples = Examples(tuple(leaf.cpu() for leaf in examples.leaves), examples.targets.cpu(), examples.keys)
        counted = [math.prod(_shape(node)[1:]) for node in self._nodes if node.name in self._counted]
        along = {name: self._axes.get(name, 0) for name in self._counted}
        self._made = Made(self._courses, self._blocks, self._examples, along, self._dtype)
        self._chunk = max(1, CHUNK_BYTES // (8 * max(counted, default=1)))

    def bound(self, a: Array, b: Array, low: float, high: float) -> float:
        """No less than the mean anywhere on (1 − t) a + t b, t ∈ [low, high]."""
        return self._bounds(a, b, low, high)[0]

    def value(self, a: Array, b: Array, t: float) -> float:
        """No less than the mean at t, or what torch prints of it in float64."""
        return sum(self._bounds(a, b, t, t))

    def _bounds(self, a: Array, b: Array, low: float, high: float) -> tuple[float, float]:
        """The bound, and how far above it torch may print a value in float64."""
        middle, radius = (low + high) / 2, (high - low) / 2
        parameters = {}
        for name, full in self._parameters.items():
            entry = self._entries[full]
            first, last = (end[entry.offset : entry.offset + entry.size].reshape(entry.shape) for end in (a, b))
            parameters[name] = Path(
                first * (1 - middle) + last * middle, (last - first) * radius, np.abs(first) + np.abs(last)
            )
        starts = range(0, len(self._examples), self._chunk)
        with np.errstate(over="ignore", invalid="ignore"):  # which gives an infinite bound
            chunks = [self._run(parameters, slice(at, min(at + self._chunk, len(self._examples)))) for at in starts]
            parts, lost = np.stack([part.ends for part in chunks]), sum(part.printed for part in chunks)
            total = float((parts.sum(0) + gamma(len(parts)) * np.abs(parts).sum(0)).max())
        return total if math.isfinite(total) else math.inf, float(np.max(lost))

    def printed(self, theta: Tensor) -> tuple[float, float]:
        """The mean at θ (P,) in its own dtype: by the operations as traced, and by the module itself."""
        held = {**self._whole.state_dict(), **dict(self._whole.named_parameters()), **dict(self._whole.named_buffers())}
        held |= {f"net.{name}": value for name, value in self._layout.views(theta).items()}
        by_trace = by_itself = 0.0
        start = 0
        for size in self._blocks:
            part = self._examples.take(slice(start, start + size))
            start += size
            given = [x.to(theta.device) for x in (part.targets, *part.leaves)]
            with torch.no_grad():
                by_trace += size * float(_followed(self._courses[size], held, given))
                by_itself += size * float(
                    torch.func.functional_call(self._whole, held, tuple(given), tie_weights=False)
                )
        return by_trace / start, by_itself / start

    def _shape(self, node: Node) -> tuple[int, ...]:
        """Of a result as traced, its examples first."""
        shape = list(_shape(node))
        if along := self._axes.get(node.name):
            shape.insert(0, shape.pop(along))
        return tuple(shape)

    def _made_of(self, node: Node, at: At, args: Sequence[Any], named: Mapping[str, Any]) -> Any:
        """What an operation makes of lines, wherever the module has the examples in them."""
        moved = any(self._axes.get(part.name) for part in (node, *node.all_input_nodes))
        if moved or at.name not in OPERATIONS:
            return elsewhere(at, node, self._axes, args, named)
        return OPERATIONS[at.name](at, *args, **named)

    def _waits(self, node: Node, values: Mapping[str, Any]) -> bool:
        """Whether a result of data alone is computed only where it is needed."""
        unknown = node.name in self._later or not _is_known(node)
        return node.name in self._of_data and (
            unknown or any(values.get(used.name) is LATER for used in node.all_input_nodes)
        )

    def _run(self, parameters: Mapping[str, Path], rows: slice) -> Loss:
        part = self._examples.take(rows)
        values: dict[str, Any] = {**self._constants, **parameters}
        everything = (self._examples.targets, *self._examples.leaves)
        for name, mine, whole in zip(self._given, (part.targets, *part.leaves), everything, strict=True):
            values[name] = Given(array(mine), lambda whole=whole: array(whole))  # type: ignore[misc]
        count = len(self._examples)

        def scales(weights: Array | None) -> Array:
            if weights is None:
                return np.full(len(part), 1 / count)
            ends = np.cumsum([0, *self._blocks])
            sums = np.add.reduceat(weights, ends[:-1])
            result: Array = np.repeat(np.array(self._blocks) / count / sums, self._blocks)[rows]
            return result

        def filled(given: Any) -> Any:
            if isinstance(given, Node):
                return values[given.name]
            if isinstance(given, tuple | list):
                return [filled(one) for one in given]
            return given

        for node in self._nodes:
            counted = node.name in self._counted
            at = At(_name(node), self._shape(node), counted, len(part) / count, count, self._dtype, scales)
            if self._waits(node, values):
                values[node.name] = LATER
                continue
            for used in node.all_input_nodes:
                if values[used.name] is LATER:
                    values[used.name] = self._made.value(used.name, rows)
            named = {key: filled(value) for key, value in node.kwargs.items()}
            try:
                values[node.name] = self._made_of(node, at, [filled(one) for one in node.args], named)
            except Exception as error:
                if node.name in self._of_data:  # whatever is wrong with it: its numbers themselves are at hand
                    values[node.name] = LATER
                    continue
                if not isinstance(error, NotVerifiable):
                    raise
                raise NotVerifiable(f"{at.name}: {error}") from None
            dtype = getattr(node.meta.get("val"), "dtype", None)
            if isinstance(values[node.name], Line) and dtype is not None and not dtype.is_floating_point:
                if node.name in self._of_data:
                    values[node.name] = LATER
                    continue
                raise NotVerifiable(f"{at.name}: it computes in whole numbers, which overflow")
            for used in node.all_input_nodes:
                if all(user.name in values for user in used.users):
                    values.pop(used.name, None) if used.op == "call_function" else None
            if isinstance(values.get(node.name), Line) and not values[node.name].finite:
                return Loss(np.full(2, np.inf), np.zeros(2))
        result = values[self._result.name]
        if not isinstance(result, Loss):
            raise NotVerifiable("what the loss returns is not a mean over examples")
        return result


def _exported(whole: _Whole, examples: Examples, size: int) -> ExportedProgram:
    """The operations for ``size`` examples, whose numbers do not matter, with nothing written in place."""
    inputs = [
        torch.empty(size, *x.shape[1:], dtype=x.dtype, device=x.device) for x in (examples.targets, *examples.leaves)
    ]
    program = torch.export.export(whole, tuple(inputs), strict=False)
    schemas = (getattr(node.target, "_schema", None) for node in _calls(program))
    if any(schema is not None and schema.is_mutable for schema in schemas):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)  # which torch gives itself
            program = program.run_decompositions({})
    if any(spec.kind != OutputKind.USER_OUTPUT for spec in program.graph_signature.output_specs):
        raise NotVerifiable("the module or the loss writes to its inputs or buffers")
    return program


def _followed(program: ExportedProgram, held: Mapping[str, Tensor], given: list[Tensor]) -> Tensor:
    """What the traced operations return in torch's own arithmetic."""
    signature, data = program.graph_signature, iter(given)
    values = []
    for node in program.graph.nodes:
        if node.op == "placeholder":
            full = {**signature.inputs_to_parameters, **signature.inputs_to_buffers}.get(node.name)
            lifted = signature.inputs_to_lifted_tensor_constants.get(node.name)
            values.append(program.constants[lifted] if lifted else next(data) if full is None else held[full])
    value: Tensor = Interpreter(program.graph_module).run(*values)[-1]
    return value


def _calls(program: ExportedProgram) -> list[Node]:
    return [node for node in program.graph.nodes if node.op == "call_function"]


def _along(few: list[Node], more: list[Node]) -> dict[str, int]:
    """The axis along which a result grows with the number of examples, of those that grow along one, or the first."""
    found = {}
    for one, two in zip(few, more, strict=False):
        grown = [axis for axis, (n, m) in enumerate(zip(_shape(one), _shape(two), strict=False)) if n != m]
        if len(grown) == 1 or 0 in grown:
            found[one.name] = grown[0]
    return found


def _same(one: Node, two: Node, size: int, axis: int) -> bool:
    """Whether two calls are the same but for an axis of their results, :data:`EXAMPLES` and ``size`` long."""
    first, second = list(_shape(one)), list(_shape(two))
    if (first[axis : axis + 1], second[axis : axis + 1]) == ([EXAMPLES], [size]):
        del first[axis], second[axis]
    return _text(one) == _text(two) and first == second


def _same_constants(one: Mapping[str, Any], two: Mapping[str, Any]) -> bool:
    return one.keys() == two.keys() and all(np.array_equal(array(one[name]), array(two[name])) for name in one)


def _text(node: Node) -> str:
    """A call in words; what a view is told is left out, as its result's shape says it all."""
    args = [node.args[0]] if _name(node) in ("view.default", "reshape.default", "_unsafe_view.default") else node.args
    return f"{node.name} {_name(node)} {list(args)} {node.kwargs}"


def _is_known(node: Node) -> bool:
    return _name(node) in OPERATIONS or _name(node) in EXCHANGES


def _name(node: Node) -> str:
    return "getitem" if node.target is operator.getitem else str(node.target).removeprefix("aten.")


def _shape(node: Node) -> tuple[int, ...]:
    return tuple(getattr(node.meta.get("val"), "shape", ()))
