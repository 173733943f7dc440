"""What flows between the steps of a program while it is enclosed, beside enclosures and weights."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

import torch
from jaxtyping import Float64, Int64
from torch import Tensor

from weightstring.proof.enclose.enclosure import Enclosure
from weightstring.proof.enclose.linear import LinearMap
from weightstring.proof.enclose.rounding import ELEMENTWISE, gamma


@dataclass(frozen=True, eq=False)
class Data:
    """Inputs or targets (n, ...) of the examples at hand, which do not depend on θ.

    Args:
        make: their numbers; not asked for where a layer's products with all examples are at hand.
        origin: what identifies them, so that their products with a layer are computed once.
        whole: the same of all examples, in their order; None where that is not at hand.
    """

    make: Callable[[], Tensor]
    origin: str
    whole: Callable[[], Tensor] | None = None

    @cached_property
    def values(self) -> Tensor:
        """Their numbers."""
        return self.make()

    def mapped(self, function: Callable[[Tensor], Tensor], name: str) -> Data:
        """A function of each example, tried on those at hand."""
        values, whole = function(self.values), self.whole
        origin = f"{self.origin}/{name}"
        return Data(lambda: values, origin, None if whole is None else lambda: function(whole()))


@dataclass(frozen=True, eq=False)
class Logits:
    """The output (I, n, C) of a last fully connected layer that is not computed yet.

    A loss looks at differences of outputs. The difference of two rows of the layer, taken first, has a smaller
    radius than the difference of two outputs.
    """

    hidden: Enclosure
    layer: LinearMap
    relative: dict[tuple[float, ...], LinearMap]
    """The layer's differences by the mixture that they are from, for the intervals at hand."""

    def settled(self) -> Enclosure:
        """The output itself."""
        return self.layer.of(self.hidden)


@dataclass(frozen=True, eq=False)
class LogProbabilities:
    """log softmax of logits over axis 1, which a loss reads."""

    logits: Logits | Enclosure


@dataclass(frozen=True, eq=False)
class Decision:
    """The class with the largest output, over axis 1."""

    logits: Logits | Enclosure


@dataclass(frozen=True, eq=False)
class Wrong:
    """Which decisions may be wrong somewhere in the interval: (I, n)."""

    possible: Tensor


@dataclass(frozen=True, eq=False)
class Bounds:
    """Upper bounds of a mean over examples, by their values at σ = −1 and 1, or at −1, 0 and 1.

    Those at two places are of convex functions of σ, which are nowhere above the line through both, nor is their mean;
    those at three are of parabolas.

    Args:
        each: (2 or 3, I, n) what each example has in it.
        terms: roundings of their sum, relative to Σ|each| + ``spare``.
        spare: (2 or 3, I) or (); what underflow may have taken is far below γ of it.
        slack: (2 or 3, I), how far above them rounding may put what torch computes in float64, where the bound itself
            is found in a better way.
        loose: (I, n) about how far each example's bound lies above it, at the ends and halfway.
    """

    each: Float64[Tensor, "nodes I n"]
    terms: int
    spare: Tensor
    slack: Float64[Tensor, "nodes I"]
    loose: Float64[Tensor, "I n"]

    @property
    def nodes(self) -> Float64[Tensor, "nodes I"]:
        """The bounds at those places."""
        return self.summed(self.each)

    def summed(self, each: Float64[Tensor, "nodes I m"]) -> Float64[Tensor, "nodes I"]:
        """No less than the sum of some examples' bounds."""
        return each.sum(2) + gamma(self.terms) * (each.abs().sum(2) + self.spare)

    def curved(self) -> Bounds:
        """The same by values at −1, 0 and 1."""
        if len(self.each) == 3:
            return self

        def thrice(values: Tensor) -> Tensor:
            return torch.stack([values[0], (values[0] + values[1]) / 2, values[1]])

        each = thrice(self.each)
        spare = thrice(self.spare) if self.spare.ndim else self.spare
        return replace(self, each=each + ELEMENTWISE * each.abs(), spare=spare, slack=thrice(self.slack))

    def at(self, index: int) -> Bounds:
        """Of one interval."""
        one = slice(index, index + 1)
        spare = self.spare[:, one] if self.spare.ndim else self.spare
        return Bounds(self.each[:, one], self.terms, spare, self.slack[:, one], self.loose[one])

    @classmethod
    def joined(cls, parts: Sequence[Bounds]) -> Bounds:
        """Of the examples of all parts."""
        return cls(
            torch.cat([part.each for part in parts], 2),
            max(part.terms for part in parts) + len(parts),
            torch.stack([part.spare for part in parts]).sum(0),
            torch.stack([part.slack for part in parts]).sum(0),
            torch.cat([part.loose for part in parts], 1),
        )


def highest(nodes: Float64[Tensor, "nodes ..."]) -> Float64[Tensor, ...]:
    """No less than a line, or a parabola, anywhere between its values at both ends."""
    ends = torch.maximum(nodes[0], nodes[-1])
    if len(nodes) == 2:
        return ends
    slope, top = (nodes[2] - nodes[0]) / 2, (nodes[0] + nodes[2]) / 2 - nodes[1]
    inside = (top < 0) & (slope.abs() < -2 * top)
    peak = nodes[1] + slope * (slope / (-4 * top)).nan_to_num(0.0, 0.0, 0.0)
    return torch.where(inside, torch.maximum(peak, ends), ends) + ELEMENTWISE * nodes.abs().amax(0)


@dataclass(frozen=True, eq=False)
class Population:
    """All examples of the set that a mean is taken over, as the problem takes it: in blocks of equal weight an example.

    Args:
        targets: (N, ...).
        blocks: the bounds of the blocks, from 0 to N.
    """

    targets: Tensor
    blocks: Sequence[int]
    _found: dict[str, Tensor] = field(default_factory=dict)

    def scales(self, key: str, weigh: Callable[[Tensor], Tensor] | None = None) -> Float64[Tensor, " N"]:
        """What each example's loss is multiplied by in the mean: 1/N, or its block's share of it / Σ ``weigh`` ≥ 0."""
        if key not in self._found:
            self._found[key] = self._scales(weigh)
        return self._found[key]

    def _scales(self, weigh: Callable[[Tensor], Tensor] | None) -> Tensor:
        count = len(self.targets)
        if weigh is None:
            return torch.full((count,), 1 / count, dtype=torch.float64, device=self.targets.device)
        weights = weigh(self.targets).to(torch.float64)
        scales = torch.empty_like(weights)
        for low, high in zip(self.blocks, self.blocks[1:], strict=False):
            scales[low:high] = (high - low) / count / weights[low:high].sum()
        return scales


@dataclass(frozen=True, eq=False)
class Rows:
    """The examples at hand.

    Args:
        population: all of them.
        rows: (n,) which ones.
    """

    population: Population
    rows: Int64[Tensor, " n"]

    def scales(self, key: str = "", weigh: Callable[[Tensor], Tensor] | None = None) -> Float64[Tensor, " n"]:
        """What their losses are multiplied by in the mean."""
        return self.population.scales(key, weigh)[self.rows]
