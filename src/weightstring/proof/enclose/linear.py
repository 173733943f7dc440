r"""Linear maps whose weights move: fully connected layers and convolutions.

With weights W(σ) = W₀ + σ V and an activation p(σ) ± E of degree d, W(σ) p(σ) is a polynomial of degree d + 1: the one
through its values W(node) p(node), and V·top(p) times the polynomial that vanishes at the nodes,

    d = 1:  σ² − 1 ∈ [−1, 0],  which is −½ ± ½;        d = 2:  σ³ − σ ∈ ± 2/√27.

The radius becomes |W| E, with |W| ≥ |W(σ)| entry by entry from its larger end, plus that remainder, plus rounding. Both
are found in float32 where it carries them (``single``). Where groups have a length L it becomes ‖W‖₂ L, and no radius
is more than its row's length times L.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from weightstring.proof.enclose.enclosure import CUBIC, Enclosure, measured, per_interval
from weightstring.proof.enclose.groups import Axes, length
from weightstring.proof.enclose.intervals import Intervals, Weights
from weightstring.proof.enclose.rounding import FLOOR, gamma
from weightstring.proof.enclose.single import Single, carried
from weightstring.proof.enclose.spectral import convolution_norm, spectral_norm

Apply = Callable[[Tensor, Tensor], Tensor]
"""(I, n, ...), (I, *weight) → (I, n, ...): the map without its bias, for each interval with its own weights."""


LARGE = 1e4
"""Sizes from which on it pays to look how large the numbers really are, rather than to carry a bound along."""


@dataclass(frozen=True, eq=False)
class LinearMap:
    """A layer's map on I intervals.

    Args:
        apply: the map for weights of their own for each interval.
        weight: (K, out, ...).
        bias: (K, out) or None.
        intervals: where.
        degree: of the enclosures.
        axis: which axis of the output (counted without I) holds the outputs.
        row_sums: (K, out) no less than each output's sum of |weights| at each bead; None: found by looking.
        terms: how many roundings went into each weight.
        last: whether no layer takes what it gives: of the length of errors nothing is asked.
    """

    apply: Apply
    weight: Weights
    bias: Weights | None
    intervals: Intervals
    degree: int
    axis: int = -1
    row_sums: Tensor | None = None
    terms: int = 0
    last: bool = False

    @cached_property
    def nodes(self) -> tuple[Tensor, ...]:
        """The weights at each node."""
        return self.weight.nodes(self.intervals, self.degree)

    @cached_property
    def biases(self) -> tuple[Tensor, ...]:
        """The bias at each node."""
        return () if self.bias is None else self.bias.nodes(self.intervals, self.degree)

    @cached_property
    def largest(self) -> Tensor:
        """No less than |weights| in the interval."""
        return torch.maximum(self.nodes[0].abs(), self.nodes[-1].abs())

    @cached_property
    def slope(self) -> Tensor:
        """The weights' coefficient of σ."""
        return self.weight.slope(self.intervals)

    @cached_property
    def sums(self) -> Tensor:
        """(K, out) see ``row_sums``."""
        return self.weight.beads.abs().flatten(2).sum(2) if self.row_sums is None else self.row_sums

    @cached_property
    def both_sums(self) -> tuple[Tensor, Tensor]:
        """(I, out) sums of |weights| at both ends, and |bias|."""
        first = self.intervals.segments
        sums = self.sums[first] + self.sums[first + 1]
        return sums, torch.zeros_like(sums) if self.bias is None else self.bias.magnitude(self.intervals)

    @property
    def outputs(self) -> int:
        """How many there are."""
        return self.weight.beads.shape[1]

    def along(self, values: Tensor, like: Tensor) -> Tensor:
        """Values (I, out), one an output, shaped to broadcast against (I, n, ...)."""
        shape = [1] * like.ndim
        shape[0], shape[self.axis if self.axis < 0 else self.axis + 1] = values.shape
        return values.view(shape)

    @cached_property
    def at_points(self) -> bool:
        """Whether nothing moves: the intervals are points."""
        return not bool(self.intervals.radius.any())

    @cached_property
    def single(self) -> Single:
        """The weights in float32."""
        return Single.of(self.largest, self.slope, self.share)

    @property
    def share(self) -> float:
        """By how much of the remainder the radius grows."""
        return 0.5 if self.degree == 1 else CUBIC

    def of(self, x: Enclosure) -> Enclosure:
        """The map of an enclosure."""
        if self.at_points:  # what does not depend on σ is near its polynomial's value at any σ
            node = self.apply(x.nodes[0], self.nodes[0])
            nodes: tuple[Tensor, ...] = (node, *(node.clone() for _ in x.nodes[1:]))
        else:
            nodes = tuple(self.apply(node, weight) for node, weight in zip(x.nodes, self.nodes, strict=True))
        if x.norm is not None and self.has_norm:
            return self._grouped(x, nodes)
        radius, remainder, underflow = self._radius(x)
        if x.degree == 1 and remainder is not None:
            remainder = remainder.double()
            for node in nodes:
                node.sub_(remainder, alpha=0.5)
        return self._finished(nodes, radius, x.size, underflow)

    def _grouped(self, x: Enclosure, nodes: tuple[Tensor, ...]) -> Enclosure:
        """The map of groups whose errors have a length."""
        alone, inherited = self._alone(x, nodes), self.inherited(x)
        return alone.spread(inherited.radius, inherited.norm())

    def apart(self, x: Enclosure) -> tuple[Enclosure, Inherited]:
        """The map of the polynomials, and what errors become."""
        nodes = tuple(self.apply(node, weight) for node, weight in zip(x.nodes, self.nodes, strict=True))
        return self._alone(x, nodes), self.inherited(x)

    def _alone(self, x: Enclosure, nodes: tuple[Tensor, ...]) -> Enclosure:
        """The map of the polynomials alone; rounding is that of the errors, too."""
        axes = self.groups(x)
        if self.at_points:
            radius, norm = torch.zeros_like(nodes[0]), torch.zeros_like(nodes[0].amax(axes, keepdim=True))
        else:
            radius = self.share * self.apply(x.top, self.slope).abs()
            norm = length(radius, axes)
        return self._finished(nodes, radius, x.size, norm=norm)

    def inherited(self, x: Enclosure) -> Inherited:
        """What errors that have a length become."""
        axes = self.groups(x)
        reach = x.over(axes)
        radius = self.apply(x.radius, self.largest)
        radius = torch.minimum(radius, self.along(self.rows, radius) * reach)
        return Inherited(self, x, radius, reach)

    def groups(self, x: Enclosure) -> Axes:
        """The axes that the output's groups lie over: those of the input's, and all that the map sums over."""
        if self.apply is fully_connected:
            return x.axes if -1 in x.axes else (-1,)
        return tuple(sorted({*x.axes, *range(-1, -self.weight.beads.ndim + 1, -1)}, reverse=True))

    def norm(self, x: Enclosure, factors: Tensor | None = None) -> Tensor:
        """(I,) no less than ‖diag(factors) W(σ)‖₂, with factors (I, out) ≥ 0, from the larger end: a norm is convex."""
        ends = [self.nodes[0], self.nodes[-1]]
        if factors is not None:
            ends = [end * factors.view(*factors.shape, *(1,) * (end.ndim - 2)) for end in ends]
        if self.at_points:
            ends = ends[:1]
        if self.last:  # of differences of outputs only each by itself counts
            rows = [length(end.flatten(2), (-1,)).squeeze(-1) for end in ends]
            return torch.stack([row.amax(1) * row.shape[1] for row in rows]).amax(0)
        if isinstance(self.apply, Convolution):
            axes = ends[0].ndim - 3
            settings, image = self.apply.along(axes), x.shape[-axes:]
            found = [convolution_norm(end, image, *settings, self.apply.groups) for end in ends]
        else:
            found = [spectral_norm(end.flatten(2)) for end in ends]
        return torch.stack(found).amax(0)

    @property
    def has_norm(self) -> bool:
        """Whether it is known how long it makes anything."""
        return self.apply is fully_connected or isinstance(self.apply, Convolution)

    @cached_property
    def _norms(self) -> dict[torch.Size, Tensor]:
        return {}

    def norm_on(self, x: Enclosure) -> Tensor:
        """(I,) no less than ‖W(σ)‖₂, found once for inputs of a shape."""
        shape = x.shape[2:]
        if shape not in self._norms:
            self._norms[shape] = self.norm(x)
        return self._norms[shape]

    @cached_property
    def rows(self) -> Tensor:
        """(I, out) no less than the length of each row, from the larger end."""
        ends = (length(weight.flatten(2), (-1,)).squeeze(-1) for weight in (self.nodes[0], self.nodes[-1]))
        return torch.maximum(*ends)

    def _radius(self, x: Enclosure) -> tuple[Tensor, Tensor | None, float]:
        """The output's radius, what moves in the product of both highest coefficients, and what underflow took."""
        top = None if self.at_points else x.top
        if self.apply is fully_connected and carried(x.radius, x.size, self.both_sums[0]):
            return *self.single.widened(x.radius, top), self.single.underflow
        radius = self.apply(x.radius, self.largest)
        remainder = None if top is None else self.apply(top, self.slope)
        return radius if remainder is None else radius.add_(remainder.abs(), alpha=self.share), remainder, 0.0

    def of_constant(self, products: Sequence[Tensor], size: Tensor) -> Enclosure:
        """The map of inputs that do not depend on σ.

        Args:
            products: K of (n, ...), of the inputs with every bead's weights, without the bias.
            size: (I,) no less than any |input|.
        """
        if len(products) == 2:  # all intervals lie between these
            first, last = (values.unsqueeze(0) for values in products)
            positions = self.intervals.positions(self.degree)
            nodes = tuple(torch.lerp(first, last, per_interval(t, first)) for t in positions)
        else:
            nodes = Weights(torch.stack(tuple(products))).nodes(self.intervals, self.degree)
        return self._finished(nodes, None, size)

    def _finished(
        self,
        nodes: tuple[Tensor, ...],
        radius: Tensor | None,
        size: Tensor,
        underflow: float = 0.0,
        norm: Tensor | None = None,
    ) -> Enclosure:
        for node, bias in zip(nodes, self.biases, strict=False):
            node += self.along(bias, node)
        sums, bias = self.both_sums
        # Of the inputs' polynomial and radius together; weights and products may have underflowed.
        reach = (sums + FLOOR) * size.unsqueeze(1) + bias + FLOOR
        rounding = gamma(math.prod(self.weight.beads.shape[2:]) + self.terms) * reach + underflow
        added = self.along(rounding, nodes[0])
        radius = added.expand_as(nodes[0]) if radius is None else radius.add_(added)
        if norm is not None:
            pixels = nodes[0].numel() / (norm.numel() * self.outputs)  # of each output in a group
            norm = norm + per_interval(length(rounding, (-1,)).squeeze(-1), norm) * (1.01 * math.sqrt(pixels))
        # 2 · |W| (|p| + E), and what float32 may have added to a radius.
        size = 2.5 * (reach + rounding).amax(1)
        grown = norm is not None or bool((size > LARGE).any())
        return measured(nodes, radius, norm=norm) if grown else Enclosure(nodes, radius, size)


def fully_connected(x: Tensor, weight: Tensor) -> Tensor:
    """(I, n, ..., in), (I, out, in) → (I, n, ..., out)."""
    flat = torch.bmm(x.flatten(1, -2), weight.mT)
    return flat.view(*x.shape[:-1], weight.shape[1])


@dataclass(frozen=True)
class Convolution:
    """(I, n, C, ...), (I, out, C / groups, ...) → (I, n, out, ...).

    Args:
        stride: as torch's functions take it, and so on.
    """

    stride: int | Sequence[int] = 1
    padding: str | int | Sequence[int] = 0
    dilation: int | Sequence[int] = 1
    groups: int = 1

    def __call__(self, x: Tensor, weight: Tensor) -> Tensor:
        """Of each interval with its own weights."""
        convolve: Callable[..., Tensor] = torch.nn.functional.conv1d if weight.ndim == 4 else torch.nn.functional.conv2d
        settings = (None, self.stride, self.padding, self.dilation, self.groups)
        return torch.stack([convolve(one, kernel, *settings) for one, kernel in zip(x, weight, strict=True)])

    def along(self, axes: int) -> tuple[list[int], list[int]]:
        """Stride and dilation of each axis."""
        each = [[value] * axes if isinstance(value, int) else list(value) for value in (self.stride, self.dilation)]
        stride, dilation = (value * axes if len(value) < axes else value for value in each)
        return stride, dilation


@dataclass(frozen=True, eq=False)
class Inherited:
    """What errors that have a length become in a layer.

    Args:
        layer: its map.
        x: what it takes.
        radius: (I, n, ...) of each number.
        reach: of the groups of the input.
    """

    layer: LinearMap
    x: Enclosure
    radius: Tensor
    reach: Tensor

    def norm(self, factors: Tensor | None = None) -> Tensor:
        """Of the output's groups, each output times a factor of (I, out)."""
        found = self.layer.norm_on(self.x) if factors is None else self.layer.norm(self.x, factors)
        return per_interval(found, self.reach) * self.reach


@dataclass(frozen=True, eq=False)
class Unnormalised:
    """A layer's output that only BatchNorm reads, which scales the rows of the layer's own norm.

    Args:
        alone: the output of the input's polynomials.
        inherited: what the input's errors become.
    """

    alone: Enclosure
    inherited: Inherited

    def settled(self) -> Enclosure:
        """The output itself."""
        return self.alone.spread(self.inherited.radius, self.inherited.norm()).grouped()
