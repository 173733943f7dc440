"""What a first layer makes of the inputs at each bead: two beads' products serve every interval between them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from math import prod

import torch
from torch import Tensor

from weightstring.proof.enclose.intervals import Weights
from weightstring.proof.enclose.linear import Apply
from weightstring.proof.enclose.rounding import FLOOR
from weightstring.proof.enclose.values import Data, Rows

CHUNK = 1 << 22
"""Numbers of the inputs in one product."""


@dataclass(eq=False)
class Kept:
    """Products of whole data sets with the weights of beads, as far as they fit into memory.

    Args:
        max_bytes: what they may take.
    """

    max_bytes: int
    _found: dict[tuple[str, str, int], Tensor] = field(default_factory=dict)
    _reached: dict[str, float] = field(default_factory=dict)

    def reach(self, data: Data) -> float:
        """The size of an enclosure of data: no less than any absolute value."""
        if data.whole is None:
            return reach(data.values)
        if data.origin not in self._reached:
            self._reached[data.origin] = reach(data.whole())
        return self._reached[data.origin]

    def of(self, step: str, data: Data, apply: Apply, weight: Tensor, bead: int) -> Tensor | None:
        """(N, ...) of all examples with one bead's weight; None if it does not fit."""
        key = (step, data.origin, bead)
        if key not in self._found:
            if data.whole is None:
                return None
            whole = data.whole()
            one = apply(whole[:1].double().unsqueeze(0), weight.unsqueeze(0))
            needed = 8 * len(whole) * prod(one.shape[2:])
            if needed > self.max_bytes:
                return None
            while self._found and needed + sum(8 * kept.numel() for kept in self._found.values()) > self.max_bytes:
                del self._found[min(self._found, key=lambda other: other[2])]  # The string is gone along in order.
            products = [apply(part.double().unsqueeze(0), weight.unsqueeze(0))[0] for part in in_chunks(whole)]
            self._found[key] = torch.cat(products)
        return self._found[key]


def in_chunks(values: Tensor) -> Sequence[Tensor]:
    """Rows few enough for a copy in float64."""
    return torch.split(values, max(1, CHUNK // max(1, prod(values.shape[1:]))))


def reach(values: Tensor) -> float:
    """No less than any absolute value, and more than 0."""
    return max((float(part.double().abs().amax()) for part in in_chunks(values) if part.numel()), default=0.0) + FLOOR


@dataclass(frozen=True, eq=False)
class Products:
    """The products that some intervals need.

    Args:
        kept: where they are.
        beads: the beads in play, by their places on the string.
    """

    kept: Kept
    beads: list[int]

    def of(self, step: str, data: Data, apply: Apply, weight: Weights, rows: Rows) -> Sequence[Tensor]:
        """K of (n, ...): of the examples at hand with the weights of every bead in play."""
        products = []
        for bead, values in zip(self.beads, weight.beads, strict=True):
            whole = self.kept.of(step, data, apply, values, bead)
            if whole is None:
                inputs = data.values.double().unsqueeze(0).expand(len(self.beads), *data.values.shape)
                return apply(inputs, weight.beads).unbind()
            products.append(whole[rows.rows])
        return products
