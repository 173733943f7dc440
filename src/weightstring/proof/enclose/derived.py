"""What a program makes of data alone: computed once, on whole blocks as the problem makes them, in float64.

Where an operation on data has no rule, or its rule refuses how it is called, there is nothing to bound: what torch
gives is a constant, and is data from there on. It may mix or move examples, as long as what depends on θ is given a row
for each example, or the same for all blocks.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_map

from weightstring.errors import Unsupported
from weightstring.problem.datasets.data import Examples
from weightstring.proof.enclose.values import Data, Rows
from weightstring.tracing.program import Program
from weightstring.tracing.steps import Trace, filled

EXACT = 2**53
"""Whole numbers up to which float64 holds all."""


@dataclass(frozen=True)
class Derived:
    """The result of a step that is computed when something that depends on θ takes it."""


@dataclass(frozen=True, eq=False)
class FromData:
    """The results of a program that do not depend on θ.

    Args:
        program: what is computed.
        examples: of the set that is measured.
        blocks: the bounds of the parts in which the problem takes its mean.
    """

    program: Program
    examples: Examples
    blocks: Sequence[int]

    @cached_property
    def _found(self) -> dict[str, Tensor]:
        return {}

    def value(self, name: str, rows: Rows) -> Data | Tensor:
        """A result for the examples at hand, or one that is the same for all.

        Raises:
            Unsupported: it is neither, or no tensor.
        """
        if name not in self._found:
            self._found[name] = self._joined(name, list(self._of_blocks(name)))
        whole = self._found[name]
        return Data(lambda: whole[rows.rows], f"/{name}", lambda: whole) if name in self.program.per_example else whole

    def _joined(self, name: str, parts: Sequence[object]) -> Tensor:
        where = next(step.where for step in self.program.steps if step.name == name)
        sizes = [high - low for low, high in zip(self.blocks, self.blocks[1:], strict=False)]
        axis = self.program.axes.get(name, 0)
        tensors = [part.movedim(axis, 0) if axis else part for part in parts if isinstance(part, Tensor)]
        each = len(tensors) == len(parts) and name in self.program.per_example
        if each and [len(part) for part in tensors] == sizes:
            return _numbers(torch.cat(tensors), where)
        if not each and len(tensors) == len(parts) and all(torch.equal(tensors[0], part) for part in tensors):
            return _numbers(tensors[0], where)
        raise Unsupported(
            f"{where}: what it makes of the data has no row for each example and is not the same for all, for which "
            "certificates have no rule"
        )

    def _of_blocks(self, name: str) -> Iterator[object]:
        """A result, block by block."""
        for low, high in zip(self.blocks, self.blocks[1:], strict=False):
            part = self.examples.take(slice(low, high))
            trace = self.program.traces[high - low]
            given = dict(zip((self.program.targets, *self.program.leaves), (part.targets, *part.leaves), strict=True))
            yield self._run(trace, name, {**self.program.constants, **given})

    def _run(self, trace: Trace, wanted: str, tensors: Mapping[str, Tensor]) -> object:
        values: dict[str, Any] = {name: _precise(tensor) for name, tensor in tensors.items()}
        needed = {wanted}
        for step in reversed(trace.steps):
            needed |= set(step.takes) if step.name in needed else set()
        try:
            for step in trace.steps:
                if step.name in needed:
                    args, kwargs = tree_map(self._in_float64, (step.args, dict(step.kwargs)))
                    values[step.name] = step.target(*filled(args, values), **filled(kwargs, values))
        except Exception as error:  # whatever torch's operators raise in another precision
            raise Unsupported(f"{step.where}: it cannot be computed of the data in float64 ({error})") from error
        return values[wanted]

    def _in_float64(self, setting: object) -> object:
        return torch.float64 if setting is self.program.dtype else setting


def _precise(tensor: Tensor) -> Tensor:
    return tensor.double() if tensor.is_floating_point() else tensor


def _numbers(tensor: Tensor, where: str) -> Tensor:
    """Refuse what is no real number in float64, in which all is enclosed; −∞ may yet be a mask's."""
    fits = tensor.isfinite() | tensor.isneginf() if tensor.is_floating_point() else tensor.double().abs() <= EXACT
    if not bool(fits.all()):
        raise Unsupported(
            f"{where}: of the data it makes nan, inf or integers beyond 2^53, about which nothing is proved"
        )
    return tensor
