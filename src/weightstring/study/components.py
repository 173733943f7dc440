"""How many components a sublevel set {L ≤ λ} has, as far as k of its models can tell: N(λ), from both sides.

Between every two models Γ is known from above, by a string, and from below, by their own losses or a proof. Models
joined by strings under λ lie in one component, so that the groups of single linkage are at least as many as there are
components that hold a model: an upper bound. Models of which no two can be joined lie in as many: a lower bound.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import NamedTuple

import networkx as nx
import torch
from jaxtyping import Float64

from weightstring.errors import InvalidSetting
from weightstring.notebook import Viewable
from weightstring.study.spanning import single_linkage

FEW = 8
"""Models of a group that are named where it is printed."""
SHOWN = 20
"""Joins that are printed at most."""


class Join(NamedTuple):
    """Two groups of models that strings join.

    Args:
        level: Γ̃, the lowest at which they do.
        one: numbers of the models in one group, rising.
        other: of those in the other.
    """

    level: float
    one: tuple[int, ...]
    other: tuple[int, ...]


class Count(NamedTuple):
    """N(λ), the components of {L ≤ λ} that hold one of the models.

    Args:
        models: those whose own loss is at most λ; only these count.
        at_least: proved.
        at_most: by strings; *sampled* where Γ̃ is.
    """

    models: int
    at_least: int
    at_most: int


@dataclass(frozen=True, eq=False, repr=False)
class Components(Viewable):
    """Bounds of Γ between every two of k models.

    Args:
        losses: (k,) of the models.
        above: (k, k) Γ̃, no less than Γ: the height of a string between the two, or the exact value.
        below: (k, k) no more than Γ: the larger end, or the bound of a proof.
        evidence: of what is in ``above``: ``"sampled"``, ``"certified"`` or ``"exact"``.

    Raises:
        InvalidSetting: matrices that are not symmetric (k, k), fewer than two models, or bounds that contradict each
            other.

    >>> heights = torch.tensor([[0.0, 1.0, 3.0], [1.0, 0.0, 2.0], [3.0, 2.0, 0.0]], dtype=torch.float64)
    >>> found = Components(torch.zeros(3, dtype=torch.float64), heights, heights, "exact")
    >>> [found.count(level).at_most for level in (0.5, 1.5, 2.5)]
    [3, 2, 1]
    """

    losses: Float64[torch.Tensor, " k"]
    above: Float64[torch.Tensor, "k k"]
    below: Float64[torch.Tensor, "k k"]
    evidence: str = "sampled"

    def __post_init__(self) -> None:
        symmetric = torch.equal(self.above, self.above.T) and torch.equal(self.below, self.below.T)
        if len(self.losses) < 2 or not symmetric:
            raise InvalidSetting(f"components of {len(self.losses)} models: give two or more, and symmetric bounds")
        apart = ~torch.eye(len(self.losses), dtype=torch.bool)
        contradiction = (apart & (self.below - self.above > 1e-6 * self.above.abs() + 1e-12)).nonzero()
        if len(contradiction):
            i, j = contradiction[0].tolist()
            raise InvalidSetting(
                f"models {i} and {j}: Γ is at least {self.below[i, j]:.6g} and at most {self.above[i, j]:.6g}; "
                "one of the bounds is wrong"
            )

    def __str__(self) -> str:
        listed = [
            f"under {join.level:.6g}: {_numbers(join.one)} with {_numbers(join.other)}"
            for join in self.joins[: SHOWN + 1]
        ]
        more = [f"… {len(self.losses) - 1 - SHOWN} more"] if len(listed) > SHOWN else []
        return "\n".join([f"{len(self.losses)} models, heights {self.evidence}", *listed[:SHOWN], *more])

    @property
    def joins(self) -> tuple[Join, ...]:
        """The tree that single linkage of Γ̃ makes: k − 1 joins, their levels rising."""
        return tuple(
            Join(float(self.above[edge]), *sorted((one, other))) for edge, one, other in single_linkage(self.above)
        )

    def count(self, level: float) -> Count:
        """N(λ) at a level, from both sides."""
        low = (self.losses <= level).nonzero().flatten().tolist()
        joined, apart = nx.Graph(), nx.Graph()
        for graph in (joined, apart):
            graph.add_nodes_from(low)
        joined.add_edges_from((i, j) for i, j in combinations(low, 2) if self.above[i, j] <= level)
        apart.add_edges_from((i, j) for i, j in combinations(low, 2) if self.below[i, j] > level)
        clique, _ = nx.max_weight_clique(apart, weight=None)
        return Count(len(low), len(clique), nx.number_connected_components(joined) if low else 0)


def _numbers(models: Sequence[int]) -> str:
    """Of a group's models; of many the first few."""
    few = " ".join(map(str, models[:FEW]))
    return few if len(models) <= FEW else f"{few} … ({len(models)})"
