"""The greedy algorithm exactly as the paper has it (Section II.B): the string S(θ1, θ2, α, d).

1. Train two models θ_i and θ_j to the threshold L0: they are given.
2. Find t*, where the interpolated loss γ(θ_i, θ_j) is largest.
3. Descend from Θ(θ_i, θ_j, t*) until the loss is at most α L0.
4. Measure γ(θ_i, θ_ij) and γ(θ_ij, θ_j). One whose maximum is at most L0 is closed.
5. For each other one go to 2, up to depth d.

γ is sampled at t = 0, 1/32, …, 1 and nowhere else, and t* is the argmax there; a plateau counts as its middle, and of
equal maxima that nearest t = 1/2 is taken. As the paper leaves open what becomes of a line that is low enough from the
start, and of a descent that does not get to α L0: the one gets no bead, the other ends its branch alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial

from weightstring.descent import Start
from weightstring.errors import InvalidSetting
from weightstring.path import Reason
from weightstring.path.maximum import ACCEPT_GRID
from weightstring.search.chain import Link
from weightstring.search.jobs import Descend, JobResult
from weightstring.search.starts import aim
from weightstring.search.strategy import Strategy, require_numbers
from weightstring.search.string import Query, String


@dataclass(frozen=True)
class AsInThePaper(Strategy[String]):
    """S(θ1, θ2, α, d): Section II.B with nothing added, to compare with and to cite.

    What :class:`~weightstring.Greedy` does beyond it is left out: a bead counts only at α L0, no descent is tried
    again, no end gets a neighbour, no bead is dropped. The beads do not depend on the order of the recursion: they are
    numbered as in a heap, 1 between the ends, 2k and 2k + 1 on the two sides of k, and (seed, place) alone, such as
    ``a-1/0`` for bead 2, determines the minibatches of a descent.

    Args:
        alpha: α ∈ (0, 1]; beads descend to α L0.
        max_depth: d, how many times a segment may be split in succession: at most 2^d − 1 beads between the ends.
            Section III.B counts from the first split on, its d is one less.

    Raises:
        InvalidSetting: a setting is out of range.

    >>> AsInThePaper(alpha=0.9).most_beads
    1025
    """

    alpha: float = 0.95
    max_depth: int = 10
    splits = True

    def __post_init__(self) -> None:
        require_numbers(self, ("alpha", "max_depth"))
        if not 0 < self.alpha <= 1 or not isinstance(self.max_depth, int) or self.max_depth < 0:
            raise InvalidSetting(
                f"AsInThePaper(alpha={self.alpha}, max_depth={self.max_depth}): alpha must be in (0, 1], the depth a "
                "whole number and not negative"
            )

    @property
    def most_beads(self) -> int:
        """Beads at depth d at most, ends counted: what a search may make unless it is limited further."""
        return (1 << min(self.max_depth, 62)) + 1

    def start(self, query: Query) -> String:
        """Step 1: the ends, and the segment between them."""
        return String.straight(query, intervals=ACCEPT_GRID, prunes=False)

    def propose(self, string: String) -> list[Descend]:
        """Step 3: descend from t* of each open segment that has depth left and was not tried in vain."""
        return [self._descent(string.query.threshold, link) for link in string.open if self._to_split(link)]

    def absorb(self, string: String, results: Mapping[str, JobResult]) -> String:
        """Step 5: a segment is in two halves now, or its branch has ended."""
        return string.with_descents(results, name=lambda link: str(_number(link)))

    def give_up(self, string: String) -> Reason | None:
        """``descent_failed`` or ``depth``, once every branch has come to its end and one of them is still open."""
        if string.unmeasured or not string.open or any(map(self._to_split, string.open)):
            return None
        return "descent_failed" if any(link.attempts for link in string.open) else "depth"

    def _descent(self, threshold: float, link: Link) -> Descend:
        assert link.measured is not None
        level = aim(threshold, self.alpha)
        return Descend(Start(partial(link.segment.point, link.measured.top.t), level, level, link.descent_name))

    def _to_split(self, link: Link) -> bool:
        return link.depth < self.max_depth and not link.attempts


def _number(link: Link) -> int:
    """That of the bead that splits a segment: 1 between the ends, 2k and 2k + 1 on the two sides of bead k."""
    left, right = (int(bead.name) if bead.name.isdecimal() else 0 for bead in (link.left, link.right))
    return 2 * max(left, right) + (left > right) if link.depth else 1
