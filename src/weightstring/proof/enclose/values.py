"""What flows between the steps of a program while it is enclosed, beside enclosures and weights."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import torch
from jaxtyping import Float64, Int64
from torch import Tensor

from weightstring.proof.enclose.enclosure import Enclosure
from weightstring.proof.enclose.linear import LinearMap


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
    """Upper bounds of a mean over examples at σ = −1 and 1: the mean of convex functions is nowhere above both.

    Args:
        ends: (2, I).
        slack: (2, I), how far above them rounding may put what torch computes in float64, where the bound itself is
            found in a better way.
    """

    ends: Float64[Tensor, "2 I"]
    slack: Float64[Tensor, "2 I"]


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

    @property
    def share(self) -> float:
        """Of all examples, these: what a constant added to the mean counts for."""
        return len(self.rows) / len(self.population.targets)

    def scales(self, key: str = "", weigh: Callable[[Tensor], Tensor] | None = None) -> Float64[Tensor, " n"]:
        """What their losses are multiplied by in the mean."""
        return self.population.scales(key, weigh)[self.rows]
