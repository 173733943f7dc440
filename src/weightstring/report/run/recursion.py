"""Which segment was split into which: the recursion of a search (Section II.B), followed round by round."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, TypeAlias

from weightstring.codec import finite_or_none
from weightstring.report.draw.branching import Branch
from weightstring.search import Strategy
from weightstring.search.chain import Chain, Link, beads_of

_Key: TypeAlias = tuple[str, str]
"""A segment, by the names of its beads."""


class Recursion:
    """Follows a string through the rounds of its search, and keeps which segment was split into which.

    Args:
        strategy: the search's; one that does not split segments has no branches.
    """

    def __init__(self, strategy: Strategy[Any]) -> None:
        self._splits, self._closed = strategy.splits, False
        self._links: dict[_Key, Link] = {}
        self._children: dict[_Key, list[_Key]] = {}
        self._first: list[_Key] = []
        self._roots: list[_Key] = []

    def follow(self, chain: Chain) -> None:
        """The string after another round; once it is closed, whatever shortens it has beads of the same names."""
        if not self._splits or self._closed:
            return
        self._closed = all(link.measured is not None and link.measured.accepted for link in chain)
        now = [_key(link) for link in chain]
        self._first = self._first or now
        if now == self._first and all(link.measured is None for link in chain):  # the first round, or another attempt
            self._links, self._children, self._roots = {}, {}, []
        row = {bead.name: k for k, bead in enumerate(beads_of(chain))}
        for left, right in [key for key in self._links if key not in self._children and key not in now]:
            between = chain[row[left] : row[right]] if left in row and right in row else ()
            # One link between the same beads is none of its children; beads that went took their links with them.
            if len(between) > 1:
                self._children[left, right] = [_key(link) for link in between]
                self._links |= {_key(link): link for link in between}
        if not self._roots or len(self._first) > 1:
            self._roots = self._rooted(now, row)
            self._links |= {_key(link): link for link in chain if _key(link) in self._roots}
        for link in chain:
            if _key(link) in self._links and _key(link) not in self._children:
                self._links[_key(link)] = link

    def _rooted(self, now: Sequence[_Key], row: Mapping[str, int]) -> list[_Key]:
        """The segments that no split has made, in order; a waypoint that is replaced takes those beside it along."""
        made = {child for children in self._children.values() for child in children}
        stay = [key for key in self._roots if key in now or key in self._children]
        fresh = [key for key in now if key not in made and key not in stay]
        return sorted([*stay, *fresh], key=lambda key: row.get(key[0], 0))

    @property
    def branches(self) -> tuple[Branch, ...]:
        """All segments, a parent before its children; none where nothing was split."""
        if not self._children:
            return ()
        branches: list[Branch] = []
        leaves = 0
        waiting = [(root, 0, -1) for root in reversed(self._roots)]
        parents: list[int] = []
        while waiting:  # depth first, the left child first
            key, generation, parent = waiting.pop()
            link, children = self._links[key], self._children.get(key, [])
            waiting += [(child, generation + 1, len(branches)) for child in reversed(children)]
            branches.append(_branch(link, generation, (leaves, 0 if children else 1), bool(children)))
            parents.append(parent)
            leaves += not children
        for row in range(len(branches) - 1, 0, -1):
            if parents[row] < 0:
                continue
            above = branches[parents[row]]
            start, width = above.place
            branches[parents[row]] = replace(above, place=(start, width + branches[row].place[1]))
        return tuple(branches)


def _branch(link: Link, generation: int, place: tuple[int, int], split: bool) -> Branch:
    top = link.measured.top if link.measured is not None else None
    return Branch(
        link.left.name, link.right.name, generation, link.depth,
        None if top is None else top.t, None if top is None else finite_or_none(top.value),
        None if link.measured is None else link.measured.accepted, link.attempts, place, split,
    )  # fmt: skip


def _key(link: Link) -> _Key:
    return link.left.name, link.right.name
