"""Which pairs of many models are searched next: a spanning tree first, by the lowest lines (Kruskal 1956).

A search is worth its gradients only if it can join two components. Of the pairs that can, those with the lowest
straight lines are the most promising: together they are the minimum spanning forest of what is open.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from itertools import combinations
from typing import NamedTuple, TypeAlias

import torch
from networkx.utils import UnionFind

from weightstring.study.lines import Square

Edge: TypeAlias = tuple[int, int]
"""Numbers of two models, rising."""


class Joining(NamedTuple):
    """Two groups of models that an edge joins in single linkage.

    Args:
        edge: the lowest between them.
        one: numbers of the models in the group of the edge's first one.
        other: in that of its second.
    """

    edge: Edge
    one: tuple[int, ...]
    other: tuple[int, ...]


def single_linkage(heights: Square, edges: Iterable[Edge] | None = None) -> list[Joining]:
    """Join groups by the lowest edges, one after the other, until none of these is left.

    Args:
        heights: of every edge (n, n).
        edges: those that there are; all unless given.

    >>> heights = torch.tensor([[0.0, 3.0, 1.0], [3.0, 0.0, 2.0], [1.0, 2.0, 0.0]], dtype=torch.float64)
    >>> [(join.edge, join.one, join.other) for join in single_linkage(heights)]
    [((0, 2), (0,), (2,)), ((1, 2), (1,), (0, 2))]
    """
    groups: dict[int, tuple[int, ...]] = {number: (number,) for number in range(len(heights))}
    joins = []
    for i, j in sorted(all_pairs(len(heights)) if edges is None else edges, key=lambda edge: (heights[edge], edge)):
        if groups[i] is not groups[j]:
            joins.append(Joining((i, j), groups[i], groups[j]))
            joined = tuple(sorted(groups[i] + groups[j]))
            groups |= dict.fromkeys(joined, joined)
    return joins


def over_paths(heights: Square) -> Square:
    """Between every two models the height of the path over edges whose highest edge is lowest; the diagonal stays.

    >>> over_paths(torch.tensor([[0.0, 3.0, 1.0], [3.0, 0.0, 2.0], [1.0, 2.0, 0.0]], dtype=torch.float64))[0, 1].item()
    2.0
    """
    lowest = heights.clone()
    for (i, j), one, other in single_linkage(heights):
        rows, columns = torch.tensor(one)[:, None], torch.tensor(other)
        lowest[rows, columns] = heights[i, j]
        lowest[columns[:, None], rows.T] = heights[i, j]
    return lowest


def next_pairs(
    lines: Square, direct: Square, below: Square, searched: Collection[Edge], threshold: float | None
) -> list[Edge]:
    """The pairs to search next, all at once, the lowest line first; none where no search can join any further.

    Under a threshold: a forest of the lowest lines between the groups that are not joined yet, without groups that a
    proof keeps apart. Otherwise: the spanning tree of the lowest lines; when it is searched, one more pair across the
    highest of its joins that may still be lowered.

    Args:
        lines: the largest loss on each straight line (n, n), each model's own on the diagonal.
        direct: the same or, where it is lower, on the string between the two.
        below: what no path between the two stays under.
        searched: pairs that are.
        threshold: under which models are to be joined; None: as low as they can be.
    """
    if threshold is not None:
        return _under(lines, direct, below, searched, threshold)
    tree = single_linkage(direct)
    fresh = sorted(
        (join.edge for join in tree if join.edge not in searched and direct[join.edge] > below[join.edge]),
        key=lambda edge: (lines[edge], edge),
    )
    if fresh:
        return fresh
    for edge, one, other in reversed(tree):
        across = [(min(i, j), max(i, j)) for i in one for j in other]
        lower = [pair for pair in across if pair not in searched and below[pair] < direct[edge]]
        if lower:
            return [min(lower, key=lambda pair: (lines[pair], pair))]
    return []


def all_pairs(count: int) -> list[Edge]:
    """Every two of so many models."""
    return list(combinations(range(count), 2))


def _under(lines: Square, direct: Square, below: Square, searched: Collection[Edge], threshold: float) -> list[Edge]:
    low = [number for number, loss in enumerate(direct.diagonal().tolist()) if loss <= threshold]
    pairs = [(i, j) for i, j in all_pairs(len(direct)) if i in low and j in low]
    groups = UnionFind(low)
    for i, j in pairs:
        if direct[i, j] <= threshold:
            groups.union(i, j)
    apart = {_of(groups, pair) for pair in pairs if below[pair] > threshold}
    usable = [pair for pair in pairs if pair not in searched and _of(groups, pair) not in apart]
    chosen: list[Edge] = []
    for i, j in sorted(usable, key=lambda pair: (lines[pair], pair)):
        if groups[i] != groups[j]:
            groups.union(i, j)
            chosen.append((i, j))
    return chosen


def _of(groups: UnionFind, pair: Sequence[int]) -> frozenset[int]:
    """The groups that two models are in."""
    return frozenset(groups[number] for number in pair)
