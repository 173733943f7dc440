r"""The arithmetic of certificates: every activation as a polynomial of one variable, with an error radius.

On an interval of a segment the models are θ(t), t = mid + r·σ with σ ∈ [−1, 1]. An activation of a sample is then
a function of σ alone, and an enclosure holds a polynomial p(σ) of degree 1 or 2 and a radius E with

    |activation(σ) − p(σ)| ≤ E    for all σ ∈ [−1, 1].

p is given by its values at the nodes, (−1, 1) for degree 1 and (−1, 0, 1) for degree 2. So an exact linear map acts on
each node alone, and what a product adds is its highest coefficient times the polynomial that vanishes at the nodes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float64
from torch import Tensor

from weightstring.proof.enclose.rounding import ELEMENTWISE, FLOOR

NODES = {1: (-1.0, 1.0), 2: (-1.0, 0.0, 1.0)}
"""σ of the nodes, by degree."""

CUBIC = 0.3850
"""No less than max |σ³ − σ| = 2/√27 on [−1, 1]."""


@dataclass(frozen=True, eq=False)
class Enclosure:
    """Enclosures of one array of activations, for I intervals and n samples at once.

    Args:
        nodes: the polynomials' values at each node, each (I, n, ...).
        radius: E ≥ 0, of the same shape.
        size: (I,), no less than any |p(σ)| + E of the interval, and at least FLOOR: what rounding is relative to.
    """

    nodes: tuple[Tensor, ...]
    radius: Tensor
    size: Float64[Tensor, " I"]

    @property
    def degree(self) -> int:
        """Of the polynomials."""
        return len(self.nodes) - 1

    @property
    def shape(self) -> torch.Size:
        """(I, n, ...)."""
        return self.radius.shape

    @property
    def top(self) -> Tensor:
        """The coefficient of σ^degree."""
        if self.degree == 1:
            return (self.nodes[1] - self.nodes[0]) / 2
        return (self.nodes[0] + self.nodes[2]) / 2 - self.nodes[1]

    def each(self, function: Callable[[Tensor], Tensor]) -> Enclosure:
        """Move entries about, without arithmetic: reshape, select, permute."""
        return Enclosure(tuple(map(function, self.nodes)), function(self.radius), self.size)

    def line(self) -> tuple[Tensor, Tensor, Tensor]:
        """The same set within a line: its values at −1 and 1, and a radius."""
        if self.degree == 1:
            return self.nodes[0], self.nodes[1], self.radius
        half = self.top / 2
        return self.nodes[0] - half, self.nodes[2] - half, self.radius + half.abs()

    def range(self) -> tuple[Tensor, Tensor]:
        """No more and no less than any value in the interval, entry by entry."""
        minus, plus, radius = self.line()
        radius = radius + per_interval(ELEMENTWISE * self.size, radius)
        return torch.minimum(minus, plus) - radius, torch.maximum(minus, plus) + radius

    def widened(self, rounding: Tensor | float) -> Enclosure:
        """With a radius larger by ``rounding`` (I,) or a number."""
        if isinstance(rounding, Tensor):
            rounding = per_interval(rounding, self.radius)
        return Enclosure(self.nodes, self.radius + rounding, self.size)

    def __add__(self, other: Enclosure) -> Enclosure:
        nodes = tuple(x + y for x, y in zip(self.nodes, other.nodes, strict=True))
        size = self.size + other.size
        return Enclosure(nodes, self.radius + other.radius, size).widened(ELEMENTWISE * size)

    def scaled(self, factor: Tensor | float) -> Enclosure:
        """Times a constant that does not depend on σ: a number, or a tensor that fits (n, ...)."""
        magnitude = abs(factor) if not isinstance(factor, Tensor) else factor.abs()
        largest = float(magnitude.amax()) if isinstance(magnitude, Tensor) else float(magnitude)
        size = self.size * largest + FLOOR
        nodes = tuple(node * factor for node in self.nodes)
        return Enclosure(nodes, self.radius * magnitude, size).widened(ELEMENTWISE * size)

    def shifted(self, constant: Tensor | float) -> Enclosure:
        """Plus a constant that does not depend on σ."""
        largest = float(constant.abs().amax()) if isinstance(constant, Tensor) else abs(constant)
        size = self.size + largest
        nodes = tuple(node + constant for node in self.nodes)
        return Enclosure(nodes, self.radius.expand_as(nodes[0]), size).widened(ELEMENTWISE * size)

    def __mul__(self, other: Enclosure) -> Enclosure:
        """The product, entry by entry; shapes broadcast."""
        nodes = tuple(x * y for x, y in zip(self.nodes, other.nodes, strict=True))
        errors = self.largest() * other.radius + self.radius * (other.largest() + other.radius)
        rounding = ELEMENTWISE * 4 * (self.size * other.size + FLOOR)
        if self.degree == 1:
            square = self.top * other.top  # of σ², which exceeds the line by square·(σ² − 1)
            nodes = tuple(node - square / 2 for node in nodes)
            return measured(nodes, errors + square.abs() / 2, rounding)
        # p·q = Σ c_k σ^k: above the parabola through the nodes stand c₃(σ³ − σ) and c₄(σ⁴ − σ²), which lies in [−¼, 0].
        slopes = [(x.nodes[2] - x.nodes[0]) / 2 for x in (self, other)]
        cubic = slopes[0] * other.top + slopes[1] * self.top
        quartic = self.top * other.top
        return measured(nodes, errors + CUBIC * cubic.abs() + quartic.abs() / 4, rounding)

    def largest(self) -> Tensor:
        """No less than |p(σ)|, entry by entry."""
        largest = torch.maximum(self.nodes[0].abs(), self.nodes[-1].abs())
        # A parabola leaves the band of its end values by at most its highest coefficient.
        return largest if self.degree == 1 else largest + self.top.abs()


def per_interval(values: Float64[Tensor, " I"], like: Tensor) -> Tensor:
    """Values (I,) shaped to broadcast against (I, n, ...)."""
    return values.view(-1, *(1,) * (like.ndim - 1))


def measured(nodes: Sequence[Tensor], radius: Tensor, rounding: Tensor | None = None) -> Enclosure:
    """An enclosure whose size is found by looking, its radius larger by ``rounding`` (I,)."""
    if rounding is not None:
        radius = radius + per_interval(rounding, radius)
    dims = tuple(range(1, radius.ndim))
    largest = torch.stack([torch.linalg.vector_norm(node, torch.inf, dim=dims) for node in nodes]).amax(0)
    # Inside, a parabola through three nodes reaches at most 5/4 of the largest of them.
    size = 1.25 * largest + torch.linalg.vector_norm(radius, torch.inf, dim=dims) + FLOOR
    return Enclosure(tuple(nodes), radius, size)
