"""How many components a sublevel set {L ≤ λ} has, as far as k of its models can tell: N(λ), from both sides.

Between every two models Γ is known from above, by a string, and from below, by their own losses or a proof. Models
joined by strings under λ lie in one component, so that the groups of single linkage are at least as many as there are
components that hold a model: an upper bound. Models of which no two can be joined lie in as many: a lower bound.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
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
from weightstring.errors import InvalidSetting
from weightstring.notebook import Viewable
from weightstring.protocol import LossProblem
from weightstring.recipe import Recipe
from weightstring.runs.computing import arithmetic
from weightstring.runs.connect import numbered_pair
from weightstring.runs.result import Result
from weightstring.runs.run import interrupted
from weightstring.runs.settings import Settings, Workers
from weightstring.runs.showing import Display
from weightstring.runs.spread import connect_all
from weightstring.search import StopRule, Strategy
from weightstring.store import StoreLike
from weightstring.store.records import TaskRef
from weightstring.study.minimax import DEFAULT_STRATEGY, proved_bound

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

    def __str__(self) -> str:
        listed = [
            f"under {join.level:.6g}: {_numbers(join.one)} with {_numbers(join.other)}"
            for join in self.joins[: SHOWN + 1]
        ]
        more = [f"… {len(self.losses) - 1 - SHOWN} more"] if len(listed) > SHOWN else []
        return "\n".join([f"{len(self.losses)} models, heights {self.evidence}", *listed[:SHOWN], *more])

    @property
    def tree(self) -> Float64[np.ndarray, "joins 4"]:
        """Single linkage of Γ̃, SciPy's form: at which level which groups of models join."""
        # SciPy merges at distances: positive and finite, which losses need not be, but their ranks are.
        levels, ranks = np.unique(self.above.numpy(), return_inverse=True)
        apart = ranks.reshape(self.above.shape) + 1.0
        np.fill_diagonal(apart, 0.0)
        joins: Float64[np.ndarray, "joins 4"] = linkage(squareform(apart, checks=False), "single")
        joins[:, 2] = levels[joins[:, 2].astype(int) - 1]
        return joins

    @property
    def joins(self) -> tuple[Join, ...]:
        """The tree in words: k − 1 joins, their levels rising."""
        k = len(self.losses)
        groups: dict[int, tuple[int, ...]] = {number: (number,) for number in range(k)}
        joins = []
        for number, (one, other, level, _) in enumerate(self.tree):
            join = Join(float(level), *sorted((groups[int(one)], groups[int(other)])))
            groups[k + number] = tuple(sorted(join.one + join.other))
            joins.append(join)
        return tuple(joins)

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


@undisturbed
def components(
    problem: LossProblem,
    thetas: Sequence[Theta],
    *,
    strategy: Strategy[Any] = DEFAULT_STRATEGY,
    stop: StopRule | None = None,
    bind: str = "evaluate",
    recipe: Recipe | None = None,
    executor: Workers = None,
    store: StoreLike | None = None,
    seed: int = 0,
    progress: bool | Display | None = None,
    task: TaskRef | None = None,
) -> Components:
    """Search for the lowest string between every two of k models, all pairs in shared batches.

    Args:
        problem: the loss.
        thetas: the models, k ≥ 2, each (P,).
        strategy: how to search; see :func:`weightstring.minimax`.
        stop: the budget of each pair; by default that of :func:`weightstring.connect`.
        bind: what λ bounds; see :func:`weightstring.connect`, as for all that follows.
        recipe: how beads descend.
        executor: what runs the jobs.
        store: a directory or another store, where each pair gets a run of its own; the same call goes on there,
            also with further models after these.
        seed: of everything drawn at random.
        progress: True or False; by default only on a terminal.
        task: recorded in the manifests.

    Raises:
        InvalidSetting: fewer than two models, or a strategy that moves the ends: it would join other models.
        InvalidCheckpoint, InvalidRun, RunLocked, StoreFailed: see :func:`weightstring.connect_many`.
        KeyboardInterrupt: Ctrl-C; what was found is in ``store``.

    >>> from weightstring.problem.surfaces import TwoWells
    >>> wells = TwoWells(saddle=1.0)
    >>> found = components(wells, wells.ends, progress=False)
    >>> found.count(0.9).at_most, found.count(1.1).at_most
    (2, 1)
    """
    if len(thetas) < 2:
        raise InvalidSetting(f"components of {len(thetas)} models: give two or more")
    if strategy.frees_ends:
        raise InvalidSetting("components: this strategy moves the ends, so that it joins other models; hold them")
    # A further model adds its pairs after those that are there.
    pairs = sorted(combinations(range(len(thetas)), 2), key=lambda pair: pair[::-1])
    runs = [numbered_pair(number, (thetas[i], thetas[j]), store) for number, (i, j) in enumerate(pairs)]
    settings = Settings(
        strategy=strategy,
        stop=stop,
        bind=bind,
        recipe=recipe,
        executor=executor,
        seed=seed,
        progress=progress,
        task=task,
        disprove=False,
    )
    with arithmetic(problem, runs):
        results = connect_all(problem, runs, settings)
        if any(map(interrupted, results)):
            raise KeyboardInterrupt
        return _bounded(problem, len(thetas), dict(zip(pairs, results, strict=True)))


def _bounded(problem: LossProblem, count: int, results: Mapping[tuple[int, int], Result]) -> Components:
    """Both bounds of Γ between every two models, from the searches between them and from proofs."""
    losses = torch.zeros(count, dtype=torch.float64)
    for (i, j), result in results.items():
        losses[i], losses[j] = (max(end[name] for name in result.names) for end in result.ends)
    above = losses.diag()
    below = torch.maximum(losses.unsqueeze(0), losses.unsqueeze(1)).clone()
    for (i, j), result in results.items():
        above[i, j] = above[j, i] = result.largest
        least = max(float(below[i, j]), proved_bound(problem, result, result.string[0], result.string[-1]))
        below[i, j] = below[j, i] = min(least, result.largest)
    return Components(losses, above, below)
