"""Which example each number of a module belongs to: what is computed of some examples is what is computed of all.

Every number is marked with its example, or with none, and every operation must leave numbers of different examples
apart until a loss sums them.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch.fx import Node
from torch.fx.node import map_arg

from weightstring.proof.verify.marks import (
    IN_PLACE,
    LOSSES,
    NOBODY,
    RULES,
    name_of,
    of_loss,
    pointwise,
    rows_alone,
    shape_of,
    wide,
)
from weightstring.proof.verify.operations import OPERATIONS, NotVerifiable


class Apart:
    """Which example each number belongs to, of a module's operations on so many examples.

    Args:
        nodes: the operations.
        given: names of the inputs that have a row for each example.
        size: how many examples.
        of_data: results that depend on no parameter.
        grown: by name, the axis along which a result grows with the examples, and by how much for each.

    Raises:
        NotVerifiable: an operation does not leave them apart.
    """

    def __init__(
        self,
        nodes: Sequence[Node],
        given: Collection[str],
        size: int,
        of_data: Collection[str],
        grown: Mapping[str, tuple[int, int]],
    ) -> None:
        self.computed: set[str] = set()  # of data, by what has no rule here: by torch, as the problem blocks them
        self.summed: set[str] = set()  # the losses
        self.late: set[str] = set()  # what is made of losses
        self.shared: set[str] = set()  # the losses that no example enters
        self.plain: set[str] = set()  # results that have examples one after the other along the axis in which they grow
        self._size, self._grown = size, grown
        self._marks: dict[str, Any] = {}
        users = {node.name: list(node.users) for node in nodes}
        first = {used for node in nodes for used in node.all_input_nodes if used.op == "placeholder"}
        for node in first:
            rows = np.arange(size).reshape(-1, *(1,) * (len(shape_of(node)) - 1)) if node.name in given else NOBODY
            self._marks[node.name] = wide(np.asarray(rows), shape_of(node))
            self._note(node)
        for node in nodes:
            self._follow(node, of_data)
            for used in node.all_input_nodes:
                if all(user.name in self._marks or user.op == "output" for user in users.get(used.name, [])):
                    self._marks[used.name] = None if used.op == "call_function" else self._marks[used.name]

    def _follow(self, node: Node, of_data: Collection[str]) -> None:
        name = name_of(node)
        if any(used.name in self.summed | self.late for used in node.all_input_nodes):
            self.late.add(node.name)
            self._marks[node.name] = np.full((), NOBODY)
            return
        try:
            whole = name in LOSSES and not shape_of(node) and node.name in of_data
            if not node.all_input_nodes or name not in OPERATIONS or whole:
                raise NotVerifiable("it has no rule")
            marks = self._made(node, name)
        except Exception as error:
            if node.name not in of_data:
                raise NotVerifiable(f"{name}: {error}") from None
            self.computed.add(node.name)
            marks = self._by_shape(node)
        if node.name in of_data and node.name in self._grown and isinstance(marks, np.ndarray):
            # What nobody enters has a row for each example all the same, such as a table repeated: its own row only.
            marks = self._by_shape(node) if (marks == NOBODY).all() else marks
        self._marks[node.name] = marks
        self._note(node)
        if name in LOSSES and node.name not in of_data and not shape_of(node):
            self.summed.add(node.name)

    def _made(self, node: Node, name: str) -> Any:
        def filled(given: Any) -> Any:
            found = map_arg(given, lambda used: self._marks[used.name])
            return list(found) if isinstance(found, tuple | list) else found

        args = [filled(arg) for arg in node.args]
        named = {key: filled(value) for key, value in node.kwargs.items()}
        if name in LOSSES:
            marks = of_loss(node, *args, **named)
            if all((part == NOBODY).all() for part in args if isinstance(part, np.ndarray)):
                self.shared.add(node.name)
            return marks
        if name in RULES:
            return RULES[name](node, *args, **named)
        if name in IN_PLACE or torch.Tag.pointwise in getattr(node.target, "tags", ()):
            return pointwise(node, *args, **named)
        return rows_alone(node, *args, **named)

    def _by_shape(self, node: Node) -> Any:
        """What grows with the examples is taken to have them one after the other."""
        if not isinstance(node.meta.get("val"), torch.Tensor):
            return None
        shape = shape_of(node)
        if node.name not in self._grown:
            return np.full(shape, NOBODY)
        axis, each = self._grown[node.name]
        rows = np.arange(self._size).repeat(each)
        return wide(rows.reshape(-1, *(1,) * (len(shape) - axis - 1)), shape)

    def _note(self, node: Node) -> None:
        marks = self._marks[node.name]
        if isinstance(marks, np.ndarray) and node.name in self._grown and np.array_equal(marks, self._by_shape(node)):
            self.plain.add(node.name)
