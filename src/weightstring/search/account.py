"""What a search has seen, depth by depth: the evidence of one that finds no string (Section II.D)."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, replace

from weightstring.codec import finite_or_none
from weightstring.path import Evidence
from weightstring.search.chain import Chain, Link


@dataclass(frozen=True)
class Account:
    """What was measured, and what failed.

    Args:
        maxima: the largest sample at each depth.
        opened: segments over the level at each depth.
        failures: what each failed descent reached.
        retries: failed descents that were tried again.
    """

    maxima: tuple[float, ...] = ()
    opened: tuple[int, ...] = ()
    failures: tuple[float, ...] = ()
    retries: int = 0

    def measured(self, links: Iterable[Link]) -> Account:
        """With links that were measured."""
        maxima, opened = list(self.maxima), list(self.opened)
        for link in links:
            missing = max(0, link.depth + 1 - len(maxima))
            maxima, opened = [*maxima, *[-math.inf] * missing], [*opened, *[0] * missing]
            maxima[link.depth] = max(maxima[link.depth], link.height)
            opened[link.depth] += link.open
        return replace(self, maxima=tuple(maxima), opened=tuple(opened))

    def looked_at(self, links: Iterable[Link]) -> Account:
        """With links that were measured before, and more closely since."""
        maxima = list(self.maxima)
        for link in links:
            maxima[link.depth] = max(maxima[link.depth], link.height)
        return replace(self, maxima=tuple(maxima))

    def failed(self, value: float, *, again: bool) -> Account:
        """With a descent that failed, and whether it is tried again."""
        return replace(self, failures=(*self.failures, value), retries=self.retries + again)

    def evidence(self, chain: Chain) -> Evidence:
        """Where a search stands whose string is that."""
        # An open link if there is one, the highest; else one that is not measured yet, when time ran out before.
        worst = max(range(len(chain)), key=lambda i: (chain[i].open, not chain[i].measured, chain[i].height))
        return Evidence(
            segment=(worst, worst + 1),
            end_losses=(chain[worst].left.value, chain[worst].right.value),
            max_per_depth=tuple(map(finite_or_none, self.maxima)),
            open_per_depth=self.opened,
            retries=self.retries,
            lowest_loss=finite_or_none(min(self.failures, default=math.inf)),
        )
