"""Section IV: neighbourhoods of permutations glued together, so that every permutation is the end of a path.

Let two units of a network be exchanged, θ → τθ, along a path whose loss is at most h. Wherever a permutation σ has put
the units, the path moved by σ exchanges the same two, and its loss is the same, for σ changes no function. So if the
exchanges of all edges of a tree over a layer's units have paths under h, every permutation of that layer has one, a
product of exchanges along edges; one layer after the other, every permutation of a network of any depth:

    Γ(θ, π(θ)) ≤ max over the edges of all trees of the height of one exchange,

from Σ (n − 1) paths for Π n! copies of θ, odd permutations among them. What an exchange costs on the straight segment
is at most L(θ) + c ℓ²/8, ℓ its length, √2 times the distance of the two units, and −c the least curvature of the loss
along it: the "density of available permutations" is the longest edge of the minimal spanning tree, than which no tree
has a shorter longest one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import combinations, pairwise

import networkx as nx
import torch
from jaxtyping import Int64
from torch import Tensor

from weightstring.arrays import Theta, Thetas
from weightstring.errors import InvalidCheckpoint, InvalidSetting, Unsupported
from weightstring.path.curve import locate_maximum
from weightstring.path.segment import Segment
from weightstring.path.string import WeightString
from weightstring.problem import Modular
from weightstring.symmetry.equivalence import check_equivalent, check_move
from weightstring.symmetry.moves import Move, random_permutation
from weightstring.symmetry.spec import Symmetry


@dataclass(frozen=True)
class Exchange:
    """Two units of a group exchanged, and a path from θ to that copy of it.

    Args:
        group: whose units.
        first: one unit, by its place in θ.
        second: the other.
        length: ℓ, the distance of θ from its copy.
        beads: of the path, θ and its copy included (n, P).
        height: the largest loss *sampled* on it.
    """

    group: str
    first: int
    second: int
    length: float
    beads: Thetas
    height: float


@dataclass(frozen=True)
class Gluing:
    """A tree of exchanges over the units of every group: paths from θ to all its permuted copies.

    Args:
        problem: the loss.
        symmetry: the groups.
        theta: θ (P,).
        exchanges: the trees' edges.
    """

    problem: Modular
    symmetry: Symmetry
    theta: Theta
    exchanges: tuple[Exchange, ...]

    @property
    def height(self) -> float:
        """The largest loss *sampled* on any exchange: on no path to any copy is there a higher sample."""
        return max(exchange.height for exchange in self.exchanges)

    @property
    def longest(self) -> float:
        """The longest exchange's ℓ."""
        return max(exchange.length for exchange in self.exchanges)

    def along(self, search: Callable[[Theta, Theta], Thetas]) -> Gluing:
        """The same trees with another path for every exchange, such as a search finds.

        Args:
            search: (θ, τθ) → the beads of a path from the one to the other (n, P).

        Raises:
            InvalidCheckpoint: a path that does not begin and end there.
        """
        return replace(self, exchanges=tuple(self._replaced(exchange, search) for exchange in self.exchanges))

    def string(self, move: Move) -> WeightString:
        """The path from θ to π(θ): exchanges one after the other, group by group, no sample higher than :attr:`height`.

        Args:
            move: π: a permutation of any groups of the trees, no factors.

        Raises:
            InvalidSetting: π has factors, or does not fit the trees.
        """
        if others := {**move.factors, **move.maps}:
            raise InvalidSetting(f"glue: the move also scales {', '.join(others)}: give permutations alone")
        trees = {exchange.group for exchange in self.exchanges}
        arrangement: dict[str, Tensor] = {}
        beads = [self.theta]
        for name, permutation in move.permutations.items():
            size = self.symmetry.permutations.groups[name].size if name in trees else -1
            if permutation.shape != (size,) or not torch.equal(permutation.sort().values.cpu(), torch.arange(size)):
                known = ", ".join(sorted(trees))
                raise InvalidSetting(
                    f"glue: {tuple(permutation.shape)} numbers for {name!r}: give a permutation of one of {known}"
                )
            tree = [exchange for exchange in self.exchanges if exchange.group == name]
            edges = {frozenset((exchange.first, exchange.second)): exchange for exchange in tree}
            units = torch.arange(size)
            for edge in exchanges_to(permutation.cpu(), [(exchange.first, exchange.second) for exchange in tree]):
                path = edges[frozenset(edge)].beads
                moved = Move(self.symmetry, {**arrangement, name: units.to(permutation.device)})
                beads += [moved(bead) for bead in path[1:]]
                units = exchanged(units, *edge)
            arrangement[name] = permutation
        return WeightString(self.problem, torch.stack(beads if len(beads) > 1 else 2 * beads))

    def _replaced(self, exchange: Exchange, search: Callable[[Theta, Theta], Thetas]) -> Exchange:
        start, end = exchange.beads[0], exchange.beads[-1]
        beads = search(start, end)
        if beads.ndim != 2 or len(beads) < 2 or not (torch.equal(beads[0], start) and torch.equal(beads[-1], end)):
            raise InvalidCheckpoint(
                f"glue: the path of shape {tuple(beads.shape)} for units {exchange.first} and {exchange.second} of "
                f"{exchange.group!r} does not lead from θ to the copy with both exchanged: give its beads (n, P), ends "
                "included"
            )
        return replace(exchange, beads=beads, height=_highest(self.problem, beads))


def glue(problem: Modular, symmetry: Symmetry, theta: Theta) -> Gluing:
    """The exchanges of each group's minimal spanning tree of units, along straight segments.

    The distance of two units is that of θ from its copy with both exchanged, over all parameters. Those of all
    n(n − 1)/2 pairs of a group are computed, losses of the tree's n − 1 alone.

    Args:
        problem: the loss.
        symmetry: as :func:`weightstring.symmetry.finding.find` returns.
        theta: θ (P,).

    Raises:
        InvalidCheckpoint: θ has another size or dtype than the symmetry's layout.
        NotEquivalent: a permuted copy computes something else: a symmetry by hand is wrong.
        Unsupported: no group has two units to exchange. Groups over others, such as the units inside attention heads,
            are left out.

    >>> from torch import nn
    >>> from weightstring.symmetry.finding import find
    >>> net = nn.Sequential(nn.Linear(1, 3), nn.Tanh(), nn.Linear(3, 2), nn.Tanh(), nn.Linear(2, 1))
    >>> from weightstring.problem import ModuleProblem
    >>> problem = ModuleProblem(net, nn.functional.mse_loss, (torch.rand(5, 1), torch.rand(5, 1)))
    >>> glued = glue(problem, find(problem), problem.initial(0))
    >>> len(glued.exchanges)  # two for one layer, one for the other: all 3! · 2! = 12 copies
    3
    """
    symmetry.layout.check(theta, 1, theta.device)
    spec, move = symmetry.permutations, random_permutation(symmetry, seed=0)
    check_move(problem, move, theta, "glue")
    check_equivalent(problem, theta, move(theta), "glue")
    exchanges: list[Exchange] = []
    for name, group in spec.groups.items():
        if not group.fixed and not group.over:
            exchanges += _tree(problem, symmetry, theta, name, group.size)
    if not exchanges:
        raise Unsupported("glue: the symmetry has no group of two units or more that is over no other")
    return Gluing(problem, symmetry, theta, tuple(exchanges))


def _tree(problem: Modular, symmetry: Symmetry, theta: Theta, name: str, size: int) -> Iterator[Exchange]:
    """The edges of a minimal spanning tree over one group's units."""
    graph, units = nx.Graph(), torch.arange(size, device=theta.device)
    for first, second in combinations(range(size), 2):
        copy = Move(symmetry, {name: exchanged(units, first, second)})(theta)
        graph.add_edge(first, second, weight=Segment(theta, copy).length)
    for first, second, data in sorted(nx.minimum_spanning_edges(graph), key=lambda edge: edge[:2]):
        move = Move(symmetry, {name: exchanged(units, first, second)})
        beads = torch.stack([theta, move(theta)])
        yield Exchange(name, first, second, data["weight"], beads, _highest(problem, beads))


def exchanged(order: Int64[Tensor, " n"], first: int, second: int) -> Int64[Tensor, " n"]:
    """An order of units with two units, not places, exchanged.

    >>> exchanged(torch.tensor([2, 0, 1]), 0, 1)
    tensor([2, 1, 0])
    """
    return torch.where(order == first, second, torch.where(order == second, first, order))


def exchanges_to(permutation: Int64[Tensor, " n"], edges: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """Which units to exchange, a pair at a time, along a tree's edges, until place i has unit ``permutation[i]``.

    A leaf of the tree is given its place by exchanges along the way there, and taken off; then the next.

    Args:
        permutation: (n,).
        edges: of a tree over the n units.

    Returns:
        at most n(n − 1)/2 of the edges.

    >>> exchanges_to(torch.tensor([2, 1, 0]), [(0, 1), (1, 2)])
    [(2, 1), (1, 0), (2, 1)]
    """
    tree, order, pairs = nx.Graph(edges), torch.arange(len(permutation)), []
    places = permutation.argsort()
    while len(tree) > 1:
        leaf = min(node for node, degree in tree.degree if degree == 1)
        there = int(order[places[leaf]])  # the unit that is where the leaf belongs
        way = nx.shortest_path(tree, there, leaf)
        for first, second in pairwise(way):
            order = exchanged(order, first, second)
            pairs.append((first, second))
        tree.remove_node(leaf)
    return pairs


def heights(gluing: Gluing) -> Mapping[str, float]:
    """The largest loss *sampled* on the exchanges of each group."""
    highest: dict[str, float] = {}
    for exchange in gluing.exchanges:
        highest[exchange.group] = max(exchange.height, highest.get(exchange.group, exchange.height))
    return highest


def _highest(problem: Modular, beads: Thetas) -> float:
    return max(locate_maximum(problem, a, b).value for a, b in pairwise(beads))
