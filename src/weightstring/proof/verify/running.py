"""A module's operations, run on curves."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.export import ExportedProgram
from torch.fx import Node

from weightstring.problem.datasets.data import Examples
from weightstring.proof.verify.apart import Apart
from weightstring.proof.verify.curves import Curve
from weightstring.proof.verify.marks import name_of, shape_of
from weightstring.proof.verify.of_data import LATER, Made
from weightstring.proof.verify.operations import OPERATIONS, At, Loss, NotVerifiable, array
from weightstring.proof.verify.tracing import calls_of
from weightstring.proof.verify.zonotopes import TAKEN_BY, Zonotope


@dataclass(frozen=True)
class Course:
    """What is run.

    Args:
        programs: the operations by the number of examples.
        examples: all of them.
        blocks: how many of them the problem takes at a time.
        given: names of targets and arguments.
        constants: numbers by name.
        of_data: names of the results that no parameter enters.
        later: of these, those that torch computes.
        unplaced: of these, those that grow with the examples, but have no row for each.
        made: what computes them.
        apart: which examples enter what.
        result: name of what is returned.
        dtype: of the parameters.
    """

    programs: Mapping[int, ExportedProgram]
    examples: Examples
    blocks: Sequence[int]
    given: Sequence[str]
    constants: Mapping[str, NDArray[Any]]
    of_data: Collection[str]
    later: Collection[str]
    unplaced: Collection[str]
    made: Made
    apart: Apart
    result: str
    dtype: torch.dtype


class Run:
    """A module's operations on some examples of a block, one after the other.

    Args:
        course: what is run.
        parameters: on the interval.
        block: its number.
        rows: of the block.
        generators: how many each of them may have.
    """

    def __init__(
        self, course: Course, parameters: Mapping[str, Curve], block: int, rows: slice, generators: int = 0
    ) -> None:
        self._of, self._block, self._rows = course, block, rows
        self._generators = generators * (rows.stop - rows.start)
        self._share = (rows.stop - rows.start) / course.blocks[block]
        start = sum(course.blocks[:block])
        part = course.examples.take(slice(start + rows.start, start + rows.stop))
        self._values: dict[str, Any] = {**course.constants, **parameters}
        for name, mine in zip(course.given, (part.targets, *part.leaves), strict=True):
            self._values[name] = array(mine)
        self._nodes = calls_of(course.programs[rows.stop - rows.start])

    def losses(self) -> dict[str, Loss] | None:
        """Those of these examples, by name; None: they are infinite."""
        losses: dict[str, Loss] = {}
        for node in self._nodes:
            if node.name in self._of.apart.late:
                continue
            value = self._values[node.name] = self._value(node)
            if isinstance(value, Loss):
                losses[node.name] = value
            self._forget(node)
            if isinstance(value, Curve | Zonotope) and not _bounded(value):
                return None
        return losses

    def _forget(self, node: Node) -> None:
        """What no operation takes any more."""
        for used in node.all_input_nodes:
            if all(user.name in self._values or user.name in self._of.apart.late for user in used.users):
                self._values.pop(used.name, None) if used.op == "call_function" else None

    def result(self, sums: Mapping[str, Loss]) -> Loss:
        """What is made of the losses of the whole block."""
        self._values |= sums
        for node in self._nodes:
            if self._of.result in self._values:
                break
            if node.name in self._of.apart.late:
                self._values[node.name] = self._value(node)
        found = self._values.get(self._of.result)
        if not isinstance(found, Loss):
            raise NotVerifiable("what the loss returns is not a mean over examples")
        return found

    def _value(self, node: Node) -> Any:
        of, name = self._of, name_of(node)
        if node.name in of.later:
            return LATER
        for used in node.all_input_nodes:
            if self._values.get(used.name, LATER) is LATER and node.name not in of.of_data:
                self._values[used.name] = self._computed(used.name)
        if any(self._values.get(used.name, LATER) is LATER for used in node.all_input_nodes):
            return LATER
        at = At(
            name, shape_of(node), self._share, self._share if node.name in of.apart.shared else 1.0,
            len(of.examples), of.dtype, lambda place: self._entire(node.args[place]), node.target, self._generators,
        )  # fmt: skip
        for used in node.all_input_nodes:
            held = self._values[used.name]
            if isinstance(held, Zonotope) and name not in TAKEN_BY:
                self._values[used.name] = held.curve()
        named = {key: self._filled(value) for key, value in node.kwargs.items()}
        try:
            value = OPERATIONS[name](at, *map(self._filled, node.args), **named)
        except Exception as error:
            if node.name in of.of_data:  # whatever is wrong with it: its numbers themselves are at hand
                return LATER
            if not isinstance(error, NotVerifiable):
                raise
            raise NotVerifiable(f"{name}: {error}") from None
        dtype = getattr(node.meta.get("val"), "dtype", None)
        if isinstance(value, Curve) and dtype is not None and not dtype.is_floating_point:
            if node.name in of.of_data:
                return LATER
            raise NotVerifiable(f"{name}: it computes in whole numbers, which overflow")
        return value

    def _filled(self, given: Any) -> Any:
        if isinstance(given, Node):
            return self._values[given.name]
        if isinstance(given, tuple | list):
            return [self._filled(one) for one in given]
        return given

    def _computed(self, name: str) -> NDArray[Any]:
        if name in self._of.unplaced:
            raise NotVerifiable(f"{name}, made of the data, has no row for each example and is not the same for all")
        return self._of.made.value(name, self._block, self._rows)

    def _entire(self, given: Any) -> Any:
        return self._of.made.of_block(given.name, self._block)


def _bounded(curve: Curve | Zonotope) -> bool:
    """Whether it is finite, or −inf where a softmax leaves it out."""
    if curve.finite or isinstance(curve, Zonotope):
        return curve.finite
    hidden = np.isneginf(curve.value)
    return curve._replace(value=np.where(hidden, 0.0, curve.value)).finite
