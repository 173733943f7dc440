"""Gradient steps that searches may still take: counted as they are taken, so that a limit is never exceeded."""

from __future__ import annotations

from collections.abc import Hashable, Mapping


class Allowances:
    """What is left to each of several searches that share a batch; whoever has none is not limited.

    >>> allowed = Allowances()
    >>> allowed.grant("a", 10)
    >>> allowed.steps({"a": 3, "b": 7}, at_most=20)
    3
    >>> allowed.take({"a": 3, "b": 7}, steps=3)
    >>> allowed.steps({"a": 3}, at_most=20), allowed.spent
    (0, {'a': 9})
    """

    def __init__(self) -> None:
        self._left: dict[Hashable, int] = {}
        self._taken: dict[Hashable, int] = {}
        self.spent: dict[Hashable, int] = {}
        """Who has not enough left for another step, and the steps that were taken."""

    def grant(self, who: Hashable, steps: int | None) -> None:
        """Allow so many steps from now on; None: any number."""
        self.spent.pop(who, None)
        self._taken.pop(who, None)
        self._left.pop(who, None)
        if steps is not None:
            self._left[who], self._taken[who] = steps, 0

    @property
    def limited(self) -> bool:
        """Whether anybody is."""
        return bool(self._left)

    def limit(self, each: Mapping[Hashable, int]) -> bool:
        """Whether one of these is limited."""
        return not self._left.keys().isdisjoint(each)

    def steps(self, each: Mapping[Hashable, int], at_most: int) -> int:
        """Steps that all can take together, of which one costs each so many; 0 where somebody has spent all."""
        for who in self._left.keys() & each.keys():
            possible = self._left[who] // each[who] if each[who] else at_most
            at_most = min(at_most, possible)
            if possible == 0:
                self.spent[who] = self._taken[who]
        return at_most

    def take(self, each: Mapping[Hashable, int], steps: int = 1) -> None:
        """Count steps that were taken."""
        for who in self._left.keys() & each.keys():
            self._left[who] -= steps * each[who]
            self._taken[who] += steps * each[who]
