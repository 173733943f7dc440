"""A net's outputs on a probe, as a whole and in parts: whether they depend on who is beside whom."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TypeAlias

import torch
from torch import Tensor

from weightstring.arrays import Theta, blocks, dot, is_finite
from weightstring.problem.datasets.data import DataSet
from weightstring.problem.outputs import form_of, gathered, leaves_of
from weightstring.randomness import generator

PROBE = 64
"""DataSet on which a check runs."""

PASSES = 1e-3
"""How far, relatively, a net's output for an example may depend on how many are beside it, as rounding goes."""

FAR = 3.0
"""Noise of so many times a model's own size."""

LEAST = 0.1
"""Noise of a model that is next to 0."""


@dataclass(frozen=True, eq=False)
class Seen:
    """The net's output on a probe as a whole and in two parts.

    Args:
        probe: sorted by target.
        output: of all of it.
        parts: its two parts and their outputs.
        rows: how many rows each tensor of an output has for one example; 0: it does not grow with their number.
        elsewhere: the same at a θ far from there, where outputs have parts that are not those of single examples.
    """

    probe: DataSet
    output: object
    parts: tuple[tuple[DataSet, object], ...]
    rows: tuple[int, ...]
    elsewhere: Seen | None = None

    @cached_property
    def mixes(self) -> bool:
        """Whether the output for an example depends on those beside it."""
        return not self._same_form or any(
            not _agree(*pair) for pair, count in zip(self._pairs(), self.rows, strict=True) if count
        )

    @property
    def separate(self) -> bool:
        """Whether outputs of parts, put together, are the output of the whole, at every θ that was tried."""
        splits = not self.mixes and all(self._constant(i) for i, count in enumerate(self.rows) if not count)
        return splits and (self.elsewhere is None or self.elsewhere.separate)

    @property
    def shares(self) -> bool:
        """Whether some numbers of an output belong to no single example."""
        leaves = zip(leaves_of(self.output), self.rows, strict=True)
        return any(isinstance(leaf, Tensor) and leaf.is_floating_point() and not count for leaf, count in leaves)

    def _constant(self, place: int) -> bool:
        """Whether a leaf that has no rows for examples is the same in every pass."""
        first, *others = (
            leaves_of(output)[place] for output in (self.output, *(output_of_part for _, output_of_part in self.parts))
        )
        return all(_identical(first, other) for other in others)

    @property
    def _same_form(self) -> bool:
        return all(form_of(output) == form_of(self.output) for _, output in self.parts)

    def _pairs(self) -> list[tuple[object, object]]:
        together = gathered([output for _, output in self.parts], self.rows)
        return list(zip(leaves_of(self.output), leaves_of(together), strict=True))


Net: TypeAlias = Callable[[DataSet], object]
"""A module in evaluation mode at some θ."""


def look(net: Net, probe: DataSet, output: object, elsewhere: Net | None = None) -> Seen:
    """Pass two unequal parts of a probe through the net too.

    Args:
        net: the module.
        probe: examples that spread over a set's targets.
        output: the module's for all of the probe.
        elsewhere: the same module at a θ far away; tried only if an output has parts, such as a loss computed inside,
            that are no single example's, so that a net's passes alone tell what they mean.
    """
    cut = max(1, len(probe) // 3)
    pieces = [probe.take(slice(cut)), probe.take(slice(cut, None))] if len(probe) > 1 else [probe]
    outputs = [output, *(net(piece) for piece in pieces)]
    leaves = [leaves_of(output) for output in outputs]
    sizes = [len(piece) for piece in (probe, *pieces)]
    alike = len({len(leaves_of_pass) for leaves_of_pass in leaves}) == 1
    rows = tuple(_rows(column, sizes) for column in zip(*leaves, strict=True)) if alike else (0,) * len(leaves[0])
    seen = Seen(probe, outputs[0], tuple(zip(pieces, outputs[1:], strict=True)), rows)
    if elsewhere is None or seen.mixes or not seen.shares:
        return seen
    return replace(seen, elsewhere=look(elsewhere, probe, elsewhere(probe)))


def _rows(column: Sequence[object], sizes: Sequence[int]) -> int:
    counts = {
        len(leaf) / size if isinstance(leaf, Tensor) and leaf.ndim else 0.0
        for leaf, size in zip(column, sizes, strict=True)
    }
    return int(min(counts)) if len(counts) == 1 and float(min(counts)).is_integer() else 0


def far_from(theta: Theta) -> Theta:
    """A model far from θ, whose outputs all differ."""
    far, draw = theta.clone(), generator(0, "a model far away")
    size = max(FAR * math.sqrt(dot(theta, theta) / len(theta)), LEAST)
    for part in blocks(len(theta)):
        far[part] += torch.randn(far[part].shape, generator=draw, dtype=torch.float64).mul_(size).to(theta)
    return far


def _identical(first: object, second: object) -> bool:
    if isinstance(first, Tensor) and isinstance(second, Tensor):
        return torch.equal(first, second)
    return first is second or (isinstance(first, int | float | str | bool | None) and first == second)


def _agree(first: object, second: object) -> bool:
    """Whether two leaves agree up to the rounding between passes of different sizes."""
    if not isinstance(first, Tensor) or not isinstance(second, Tensor):
        return _identical(first, second)
    if first.shape != second.shape:
        return False
    if not first.is_floating_point() and not first.is_complex():
        return torch.equal(first, second)
    if torch.equal(first, second):
        return True
    finite = first[first.isfinite()] if first.is_complex() or not is_finite(first) else first
    scale = float(finite.abs().max()) if finite.numel() else 0.0
    tolerance = max(PASSES, 10 * torch.finfo(first.dtype).eps) * scale
    return bool(torch.isclose(first, second, rtol=0, atol=tolerance, equal_nan=True).all())
