"""What a module makes of data alone, which is constant: by torch itself, in float64, as the problem blocks it."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from itertools import accumulate
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.export import ExportedProgram
from torch.fx import Node
from torch.fx.node import map_arg

from weightstring.problem.datasets.data import Examples
from weightstring.proof.verify.operations import NotVerifiable, array

LATER = object()
"""In place of a result that is computed when something that depends on θ takes it."""


def of_data(program: ExportedProgram, moving: Collection[str] = ()) -> frozenset[str]:
    """Names of the results that no parameter enters, nor a buffer that is a function of θ."""
    buffers = program.graph_signature.inputs_to_buffers
    estimated = {name for name, full in buffers.items() if full.removeprefix("net.") in moving}
    free = {
        node.name
        for node in program.graph.nodes
        if node.op == "placeholder" and node.name not in {*program.graph_signature.inputs_to_parameters, *estimated}
    }
    calls = [node for node in program.graph.nodes if node.op == "call_function"]
    for node in calls:
        if all(used.name in free for used in node.all_input_nodes):
            free.add(node.name)
    return frozenset(free & {node.name for node in calls})


class Made:
    """The results of data alone.

    Args:
        courses: the operations by the number of examples.
        blocks: how many examples the problem takes at a time, in order.
        examples: all of them.
        along: by name, the axis along which a result has the examples one after the other, and how much each has of it.
        dtype: of the parameters, in place of which float64 is computed in.
    """

    def __init__(
        self,
        courses: Mapping[int, ExportedProgram],
        blocks: Sequence[int],
        examples: Examples,
        along: Mapping[str, tuple[int, int]],
        dtype: torch.dtype,
    ) -> None:
        self._courses, self._blocks, self._examples, self._along = courses, blocks, examples, along
        self._starts = [0, *accumulate(blocks)]
        self._dtype = dtype
        self._known: dict[tuple[str, int], NDArray[Any]] = {}

    def value(self, name: str, block: int, rows: slice) -> NDArray[Any]:
        """A result for some examples of a block, or one that is the same for all of these.

        Raises:
            NotVerifiable: it is neither.
        """
        whole = self.of_block(name, block)
        if name not in self._along:
            return whole
        axis, each = self._along[name]
        if whole.shape[axis] != each * self._blocks[block]:
            raise NotVerifiable(f"{name}, made of the data, has no row for each example and is not the same for all")
        cut: list[Any] = [slice(None)] * whole.ndim
        cut[axis] = slice(rows.start * each, rows.stop * each)
        return np.asarray(whole[tuple(cut)])

    def of_block(self, name: str, block: int) -> NDArray[Any]:
        """A result for all examples of a block."""
        if (name, block) not in self._known:
            size, start = self._blocks[block], self._starts[block]
            part = self._examples.take(slice(start, start + size))
            found = self._block(name, self._courses[size], part)
            most = 2**53 if not found.is_floating_point() else torch.finfo(torch.float64).max
            held = found.double()
            if not bool((held.abs().le(most) | held.isneginf()).all()):
                raise NotVerifiable(f"{name}, made of the data, is nan, inf or beyond what float64 holds")
            self._known[name, block] = array(found)
        return self._known[name, block]

    def _block(self, name: str, program: ExportedProgram, part: Examples) -> Tensor:
        signature = program.graph_signature
        held: Mapping[str, Any] = {**program.state_dict, **program.constants}
        inside = {
            **signature.inputs_to_parameters, **signature.inputs_to_buffers,
            **signature.inputs_to_lifted_tensor_constants,
        }  # fmt: skip
        values: dict[str, Any] = {own: _doubled(held[full]) for own, full in inside.items()}
        values |= zip(map(str, signature.user_inputs), map(_doubled, (part.targets, *part.leaves)), strict=True)
        if name in values:
            given: Tensor = values[name]
            return given
        nodes = {node.name: node for node in program.graph.nodes}
        wanted, needed = [nodes[name]], {name}
        while wanted:
            ahead = [used for used in wanted.pop().all_input_nodes if used.name not in needed]
            needed |= {used.name for used in ahead}
            wanted += ahead
        for node in program.graph.nodes:
            if node.name in needed and node.op == "call_function":
                try:
                    values[node.name] = self._called(node, values)
                except Exception as error:  # whatever torch's operators raise in another precision
                    raise NotVerifiable(f"{node.name} cannot be computed of the data in float64: {error}") from None
        result: Tensor = values[name]
        if not isinstance(result, Tensor):
            raise NotVerifiable(f"{name}, made of the data, is no tensor")
        return result

    def _called(self, node: Node, values: Mapping[str, Any]) -> Any:
        def filled(given: Any) -> Any:
            return torch.float64 if given is self._dtype else map_arg(given, lambda used: values[used.name])

        named = {key: filled(given) for key, given in node.kwargs.items()}
        return node.target(*map(filled, node.args), **named)  # type: ignore[operator]


def _doubled(tensor: Tensor) -> Tensor:
    return tensor.detach().cpu().double() if tensor.is_floating_point() else tensor.detach().cpu()
