"""Which networks a sweep uses: at each threshold the first seeds that reach it, whoever trained them, and when."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from itertools import islice


@dataclass(frozen=True)
class Settled:
    """Seeds whose networks have been trained to a threshold.

    Args:
        reached: those that got there; and
        failed: those that did not.
    """

    reached: Collection[int] = ()
    failed: Collection[int] = ()


@dataclass(frozen=True)
class Selection:
    """The first ``count`` seeds that reach a threshold.

    Every answer depends on what is settled, and on nothing else: not on the order in which it was. What is trained, of
    all that may be needed, is always among what is needed in the end.

    Args:
        first: the first seed.
        count: how many networks are needed.
        most: how many are tried at most.

    >>> few = Selection(first=0, count=2, most=40)
    >>> few.needed(Settled()), few.needed(Settled(reached={1}, failed={0}))
    ([0, 1], [1, 2])
    >>> few.chosen(Settled(reached={1}, failed={0})), few.chosen(Settled(reached={0, 2}))
    (([1], False), ([0], False))
    """

    first: int
    count: int
    most: int

    def needed(self, known: Settled) -> list[int]:
        """The first seeds that have not failed so far."""
        tried = range(self.first, self.first + self.most)
        return list(islice((seed for seed in tried if seed not in known.failed), self.count))

    def chosen(self, known: Settled) -> tuple[list[int], bool]:
        """The first seeds that reached it, as far as all before them are settled, and whether these are all."""
        needed = self.needed(known)
        for number, seed in enumerate(needed):
            if seed not in known.reached:
                return needed[:number], False
        return needed, True

    def failures(self, known: Settled) -> tuple[int, ...]:
        """Seeds before the last one needed that never reached it."""
        needed = self.needed(known)
        end = needed[-1] if needed and len(needed) == self.count else self.first + self.most
        return tuple(sorted(seed for seed in known.failed if self.first <= seed < end))
