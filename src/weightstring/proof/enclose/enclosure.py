r"""The arithmetic of certificates: every activation as a polynomial of one variable, with an error radius.

On an interval of a segment the models are θ(t), t = mid + r·σ with σ ∈ [−1, 1]. An activation of a sample is then
a function of σ alone, and an enclosure holds a polynomial p(σ) of degree 1 or 2 and a radius E with

    |activation(σ) − p(σ)| ≤ E    for all σ ∈ [−1, 1].

Where a network normalises or attends, groups of numbers (a token's, an image's) have a second radius L beside: no less
than the Euclidean length of the group's errors (``groups``).

p is given by its values at the nodes, (−1, 1) for degree 1 and (−1, 0, 1) for degree 2. So an exact linear map acts on
each node alone, and what a product adds is its highest coefficient times the polynomial that vanishes at the nodes.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float64
from torch import Tensor

from weightstring.proof.enclose.groups import axes_of, length, regrouped
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
        norm: L of each group: as the radius, with axes of length 1 where it is taken over them; None: nothing is known
            but the radius.
    """

    nodes: tuple[Tensor, ...]
    radius: Tensor
    size: Float64[Tensor, " I"]
    norm: Tensor | None = None

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

    @property
    def slope(self) -> Tensor:
        """The coefficient of σ."""
        return (self.nodes[-1] - self.nodes[0]) / 2

    @property
    def axes(self) -> tuple[int, ...]:
        """Over which axes, counted from the last, the groups lie; those along the last where none are known."""
        return (-1,) if self.norm is None else axes_of(self.norm, self.radius)

    def over(self, axes: tuple[int, ...], shape: Sequence[int] | None = None) -> Tensor:
        """L of the groups over other axes, kept with length 1; of the numbers broadcast to a shape."""
        boxed = length(self.radius if shape is None else self.radius.expand(shape), axes)
        if self.norm is None:
            return boxed
        if shape is not None and tuple(shape) != tuple(self.shape):
            return boxed
        return torch.minimum(boxed, regrouped(self.norm, self.radius, axes))

    def grouped(self, axes: tuple[int, ...] | None = None) -> Enclosure:
        """With L of groups, over the axes at hand or others, both radii as small as the other allows."""
        norm = self.over(axes or self.axes)
        return Enclosure(self.nodes, torch.minimum(self.radius, norm), self.size, norm)

    @property
    def centre(self) -> Enclosure:
        """The polynomials alone."""
        norm = None if self.norm is None else torch.zeros_like(self.norm)
        return Enclosure(self.nodes, torch.zeros_like(self.radius), self.size, norm)

    def spread(self, radius: Tensor, norm: Tensor | None) -> Enclosure:
        """With more of both radii."""
        if self.norm is not None and norm is not None:
            norm = self.over(axes_of(norm, radius)) + norm
        elif norm is not None:
            norm = length(self.radius, axes_of(norm, radius)) + norm
        size = self.size + torch.linalg.vector_norm(radius, torch.inf, dim=tuple(range(1, radius.ndim)))
        return Enclosure(self.nodes, self.radius + radius, size, norm)

    def each(self, function: Callable[[Tensor], Tensor], groups: Callable[[Tensor], Tensor] | None = None) -> Enclosure:
        """Move entries about, without arithmetic: reshape, select, permute; ``groups`` moves L alike."""
        norm = None if self.norm is None or groups is None else groups(self.norm)
        return Enclosure(tuple(map(function, self.nodes)), function(self.radius), self.size, norm)

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
        norm = self.norm
        if norm is not None:
            norm = norm + rounding * (1.01 * math.sqrt(self.radius.numel() / max(1, norm.numel())))
        return Enclosure(self.nodes, self.radius + rounding, self.size, norm)

    def __add__(self, other: Enclosure) -> Enclosure:
        nodes = tuple(x + y for x, y in zip(self.nodes, other.nodes, strict=True))
        size = self.size + other.size
        norm = None
        if self.norm is not None or other.norm is not None:
            axes, shape = (self if self.norm is not None else other).axes, nodes[0].shape
            norm = self.over(axes, shape) + other.over(axes, shape)
        return Enclosure(nodes, self.radius + other.radius, size, norm).widened(ELEMENTWISE * size)

    def scaled(self, factor: Tensor | float) -> Enclosure:
        """Times a constant that does not depend on σ: a number, or a tensor that fits (n, ...)."""
        magnitude = abs(factor) if not isinstance(factor, Tensor) else factor.abs()
        largest = float(magnitude.amax()) if isinstance(magnitude, Tensor) else float(magnitude)
        size = self.size * largest + FLOOR
        nodes = tuple(node * factor for node in self.nodes)
        norm = None if self.norm is None or isinstance(factor, Tensor) else self.norm * largest
        if self.norm is not None and isinstance(magnitude, Tensor) and nodes[0].shape == self.shape:
            norm = self.norm * magnitude.expand(self.shape).amax(self.axes, keepdim=True)
        return Enclosure(nodes, self.radius * magnitude, size, norm).widened(ELEMENTWISE * size)

    def shifted(self, constant: Tensor | float) -> Enclosure:
        """Plus a constant that does not depend on σ."""
        largest = float(constant.abs().amax()) if isinstance(constant, Tensor) else abs(constant)
        size = self.size + largest
        nodes = tuple(node + constant for node in self.nodes)
        norm = self.norm if nodes[0].shape == self.shape else None
        return Enclosure(nodes, self.radius.expand_as(nodes[0]), size, norm).widened(ELEMENTWISE * size)

    def __mul__(self, other: Enclosure) -> Enclosure:
        """The product, entry by entry; shapes broadcast."""
        nodes = tuple(x * y for x, y in zip(self.nodes, other.nodes, strict=True))
        errors = self.largest() * other.radius + self.radius * (other.largest() + other.radius)
        rounding: Tensor | None = ELEMENTWISE * 4 * (self.size * other.size + FLOOR)
        lost: Tensor | float = 0.0
        if self.norm is not None or other.norm is not None:  # small numbers beside large ones: each by itself
            sizes = (self.largest() + self.radius + FLOOR) * (other.largest() + other.radius + FLOOR)
            lost, rounding = ELEMENTWISE * 4 * (sizes + FLOOR), None
            errors = errors + lost
        if self.degree == 1:
            square = self.top * other.top  # of σ², which exceeds the line by square·(σ² − 1)
            nodes = tuple(node - square / 2 for node in nodes)
            return measured(nodes, errors + square.abs() / 2, rounding)
        # p·q = Σ c_k σ^k: above the parabola through the nodes stand c₃(σ³ − σ) and c₄(σ⁴ − σ²), which lies in [−¼, 0].
        cubic = self.slope * other.top + other.slope * self.top
        quartic = self.top * other.top
        remainder = CUBIC * cubic.abs() + quartic.abs() / 4
        return measured(nodes, errors + remainder, rounding, self._norm_of_product(other, remainder + lost))

    def _norm_of_product(self, other: Enclosure, remainder: Tensor) -> Tensor | None:
        if self.norm is None and other.norm is None:
            return None
        axes, shape = (self if self.norm is not None else other).axes, remainder.shape
        mine, its = self.largest(), other.largest() + other.radius
        norm = length(remainder, axes) + self.over(axes, shape) * its.expand(shape).amax(axes, keepdim=True)
        return norm + other.over(axes, shape) * mine.expand(shape).amax(axes, keepdim=True)

    def largest(self) -> Tensor:
        """No less than |p(σ)|, entry by entry."""
        largest = torch.maximum(self.nodes[0].abs(), self.nodes[-1].abs())
        # A parabola leaves the band of its end values by at most its highest coefficient.
        return largest if self.degree == 1 else largest + self.top.abs()


def per_interval(values: Float64[Tensor, " I"], like: Tensor) -> Tensor:
    """Values (I,) shaped to broadcast against (I, n, ...)."""
    return values.view(-1, *(1,) * (like.ndim - 1))


def measured(
    nodes: Sequence[Tensor], radius: Tensor, rounding: Tensor | None = None, norm: Tensor | None = None
) -> Enclosure:
    """An enclosure whose size is found by looking, its radius larger by ``rounding`` (I,)."""
    if rounding is not None:
        radius = radius + per_interval(rounding, radius)
        if norm is not None:
            norm = norm + per_interval(rounding, norm) * (1.01 * math.sqrt(radius.numel() / max(1, norm.numel())))
    dims = tuple(range(1, radius.ndim))
    largest = torch.stack([torch.linalg.vector_norm(node, torch.inf, dim=dims) for node in nodes]).amax(0)
    # Inside, a parabola through three nodes reaches at most 5/4 of the largest of them.
    size = 1.25 * largest + torch.linalg.vector_norm(radius, torch.inf, dim=dims) + FLOOR
    return Enclosure(tuple(nodes), radius, size, norm)
