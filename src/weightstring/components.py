"""How many components a sublevel set {L ≤ λ} has, as far as k of its models can tell: N(λ), from both sides.

Between every two models Γ is known from above, by a string, and from below, by their own losses or a proof. Models
joined by strings under λ lie in one component, so that the groups of single linkage are at least as many as there are
components that hold a model: an upper bound. Models of which no two can be joined lie in as many: a lower bound.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any, NamedTuple

import networkx as nx
import numpy as np
import torch
from jaxtyping import Float64
from scipy.cluster.hierarchy import linkage
from scipy.spatial.distance import squareform

from weightstring.ambient import undisturbed
from weightstring.arrays import Theta
from weightstring.connection import DEFAULT_STOP, connect_many
from weightstring.errors import InvalidSetting
from weightstring.protocol import LossProblem
from weightstring.search import BreadthFirst, StopRule, Strategy
from weightstring.theory.disconnection import prove, stands

DEFAULT_STRATEGY = BreadthFirst()


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


@dataclass(frozen=True, eq=False)
class Components:
    """Bounds of Γ between every two of k models.

    Args:
        losses: (k,) of the models.
        above: (k, k) Γ̃, no less than Γ: the height of a string between the two, or the exact value.
        below: (k, k) no more than Γ: the larger end, or the bound of a proof.
        evidence: of what is in ``above``: ``"sampled"`` or ``"exact"``.

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

    @property
    def tree(self) -> Float64[np.ndarray, "joins 4"]:
        """Single linkage of Γ̃, SciPy's form: at which level which groups of models join."""
        heights = self.above.clone().fill_diagonal_(0)
        # SciPy merges at distances, which must not be negative; losses may be.
        lowest = min(0.0, float(self.above.min()), float(self.losses.min()))
        joins: Float64[np.ndarray, "joins 4"] = linkage(
            squareform((heights - lowest).fill_diagonal_(0).numpy(), checks=False), "single"
        )
        joins[:, 2] += lowest
        return joins

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


@undisturbed
def components(
    problem: LossProblem,
    thetas: Sequence[Theta],
    *,
    strategy: Strategy[Any] = DEFAULT_STRATEGY,
    stop: StopRule = DEFAULT_STOP,
    seed: int = 0,
    progress: bool | None = None,
) -> Components:
    """Search for the lowest string between every two of k models, all pairs in shared batches.

    Args:
        problem: the loss.
        thetas: the models, k ≥ 2, each (P,).
        strategy: how to search; see :func:`weightstring.minimax`.
        stop: the budget of each pair.
        seed: of everything drawn at random.
        progress: see :func:`weightstring.connect`.

    Raises:
        InvalidSetting: fewer than two models.
        InvalidCheckpoint: a model that is not the problem's.

    >>> from weightstring.problem.surfaces import TwoWells
    >>> wells = TwoWells(saddle=1.0)
    >>> found = components(wells, wells.ends, progress=False)
    >>> found.count(0.9).at_most, found.count(1.1).at_most
    (2, 1)
    """
    if len(thetas) < 2:
        raise InvalidSetting(f"components of {len(thetas)} models: give two or more")
    pairs = list(combinations(range(len(thetas)), 2))
    ends = [(thetas[i], thetas[j]) for i, j in pairs]
    results = connect_many(problem, ends, strategy=strategy, stop=stop, seed=seed, progress=progress, disprove=False)
    losses = problem.measure(torch.stack(list(thetas)))["loss"]
    above = losses.diag()
    below = torch.maximum(losses.unsqueeze(0), losses.unsqueeze(1)).clone()
    for (i, j), (a, b), result in zip(pairs, ends, results, strict=True):
        proof = prove(problem, a, b)
        beside = not getattr(strategy, "frees_ends", False)  # else the string has other ends
        if proof and beside and not stands(problem, proof, result.string, result.largest, "the string that was found"):
            proof = None
        above[i, j] = above[j, i] = result.largest
        least = max(float(below[i, j]), -math.inf if proof is None else proof.bound)
        below[i, j] = below[j, i] = min(least, result.largest)
    return Components(losses, above, below)
