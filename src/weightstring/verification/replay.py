"""A module's operations, traced anew, and run on lines: an upper bound of a mean on one interval of a string."""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from weightstring.problem.data import Examples
from weightstring.problem.module import ModuleProblem
from weightstring.verification import losses  # noqa: F401 - enters its operations
from weightstring.verification.lines import Array, Given, Path
from weightstring.verification.operations import EXAMPLES, OPERATIONS, At, Loss, NotVerifiable

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

    def __init__(self, problem: ModuleProblem, quantity: str) -> None:
        net, criterion, examples, block = problem.traceable(quantity)
        rows = torch.arange(EXAMPLES, device=examples.targets.device) % len(examples)
        few = examples.take(rows)
        program = torch.export.export(_Whole(net, criterion, examples.keys), (few.targets, *few.leaves), strict=False)
        signature = program.graph_signature
        held: Mapping[str, Any] = {**program.state_dict, **program.constants}
        self._parameters = {name: full.removeprefix("net.") for name, full in signature.inputs_to_parameters.items()}
        buffers = {**signature.inputs_to_buffers, **signature.inputs_to_lifted_tensor_constants}
        self._constants = {name: held[full].detach().cpu().numpy() for name, full in buffers.items()}
        self._given = [str(name) for name in signature.user_inputs]
        self._nodes = [node for node in program.graph.nodes if node.op == "call_function"]
        (self._result,) = next(node for node in program.graph.nodes if node.op == "output").args[0][-1:]
        for node in self._nodes:
            if _name(node) not in OPERATIONS:
                raise NotVerifiable(f"{_name(node)} is not an operation that verification knows")
        self._entries = {name: entry for entry in problem.layout.entries for name in entry.names}
        self._examples = Examples(tuple(leaf.cpu() for leaf in examples.leaves), examples.targets.cpu(), examples.keys)
        self._blocks = [len(part) for part in examples.chunks(block)]
        widest = max(
            (int(np.prod(_shape(node)[1:])) for node in self._nodes if _shape(node)[:1] == (EXAMPLES,)), default=1
        )
        self._chunk = max(1, CHUNK_BYTES // (8 * widest))

    def bound(self, a: Array, b: Array, low: float, high: float) -> float:
        """No less than the mean anywhere on (1 − t) a + t b, t ∈ [low, high]."""
        middle, radius = (low + high) / 2, (high - low) / 2
        parameters = {}
        for name, full in self._parameters.items():
            entry = self._entries[full]
            first, last = (end[entry.offset : entry.offset + entry.size].reshape(entry.shape) for end in (a, b))
            parameters[name] = Path(
                first * (1 - middle) + last * middle, (last - first) * radius, np.abs(first) + np.abs(last)
            )
        total = np.zeros(2)
        for at in range(0, len(self._examples), self._chunk):
            total += self._run(parameters, slice(at, min(at + self._chunk, len(self._examples))))
        return float(total.max())

    def value(self, a: Array, b: Array, t: float) -> float:
        """The mean at t, in float64, at most as far above as rounding takes it."""
        return self.bound(a, b, t, t)

    def _run(self, parameters: Mapping[str, Path], rows: slice) -> Array:
        part = self._examples.take(rows)
        values: dict[str, Any] = {**self._constants, **parameters}
        values |= dict(zip(self._given, (Given(x.numpy()) for x in (part.targets, *part.leaves)), strict=True))
        count = len(self._examples)

        def scales(weigh: Callable[[Array], Array] | None) -> Array:
            if weigh is None:
                return np.full(len(part), 1 / count)
            weights = weigh(self._examples.targets.numpy())
            ends = np.cumsum([0, *self._blocks])
            sums = np.add.reduceat(weights, ends[:-1])
            found: Array = np.repeat(np.array(self._blocks) / count / sums, self._blocks)[rows]
            return found

        def filled(given: Any) -> Any:
            if isinstance(given, torch.fx.Node):
                return values[given.name]
            if isinstance(given, tuple | list):
                return [filled(one) for one in given]
            return given

        for node in self._nodes:
            at = At(_name(node), _shape(node), len(part) / count, scales)
            named = {key: filled(value) for key, value in node.kwargs.items()}
            try:
                values[node.name] = OPERATIONS[at.name](at, *map(filled, node.args), **named)
            except NotVerifiable as error:
                raise NotVerifiable(f"{at.name}: {error}") from None
            for used in node.all_input_nodes:
                if all(user.name in values for user in used.users):
                    values.pop(used.name, None) if used.op == "call_function" else None
        found = values[self._result.name]
        if not isinstance(found, Loss):
            raise NotVerifiable("what the loss returns is not a mean over examples")
        return found.ends


def _name(node: torch.fx.Node) -> str:
    return "getitem" if node.target is operator.getitem else str(node.target).removeprefix("aten.")


def _shape(node: torch.fx.Node) -> tuple[int, ...]:
    return tuple(getattr(node.meta.get("val"), "shape", ()))
