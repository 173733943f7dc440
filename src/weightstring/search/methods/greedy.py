"""The greedy algorithm (Section II.B).

1. Train two models θ_i and θ_j to the threshold L0: they are given.
2. Find t*, where the interpolated loss γ(θ_i, θ_j) is largest.
3. Descend from Θ(θ_i, θ_j, t*) until the loss is below α L0.
4. Measure the two new segments; one whose maximum is at most L0 is closed.
5. For each open one go to 2, up to depth d.

All open segments of the string go through a step together, so that their beads share a batch. Steps 2 and 4 are the
driver's, which measures whatever is new. The paper leaves some cases open: ends at L0 itself (``crowding``), descents
that fail (``starts``), segments that fall no further (``patience``), and superfluous beads (``pruning``).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from weightstring.errors import InvalidSetting
from weightstring.path import Reason
from weightstring.search.chain import Chain, Link
from weightstring.search.crowding import crowded, with_neighbours
from weightstring.search.jobs import Descend, JobResult
from weightstring.search.patience import exhausted
from weightstring.search.starts import Insert, descent_from_bead, descent_from_link
from weightstring.search.strategy import Strategy, require_numbers
from weightstring.search.string import Query, String


@dataclass(frozen=True)
class Greedy(Strategy[String]):
    """Greedy Dynamic String Sampling.

    Args:
        alpha: α ∈ (0, 1]; beads aim at α L0. Reaching L0 is enough.
        max_depth: d, how many times a segment may be split in succession.
        insert: where a bead starts: at the ``"maximum"`` t*, or at the ``"midpoint"``, which is slower but
            steadier on flat or noisy curves.
        retries: how often a failed descent is tried again, from another point of the segment or with
            another learning rate.
        stall_depths: k, and
        stall_fall: the search is stalled once the excess of a segment's maximum over L0 has fallen by less than
            this share over k splits. 0 depths: never.

    Raises:
        InvalidSetting: a setting is out of range.

    >>> Greedy(alpha=0.9).max_depth
    10
    """

    alpha: float = 0.95
    max_depth: int = 10
    insert: Insert = "maximum"
    retries: int = 5
    stall_depths: int = 5
    stall_fall: float = 0.02
    splits = True

    def start(self, query: Query) -> String:
        """Step 1: the string is the segment between the ends, or leads through the waypoints."""
        return String.first(query, hasty=True)

    def onward(self, query: Query, chain: Chain) -> String:
        """The string is one that another search has left: its segments are split on from there."""
        return String.through(query, chain, hasty=True)

    def propose(self, string: String) -> list[Descend]:
        """Step 3, for every segment that is open after steps 2 and 4; two beside one waypoint may need the same."""
        return list({job.name: job for job in (self.descent(string, link) for link in string.open)}.values())

    def descent(self, string: String, link: Link) -> Descend:
        """Descend from t* of an open segment; beside an end at L0, or a waypoint over it, from that one."""
        if bead := crowded(string, link, self.alpha):
            return descent_from_bead(bead, string.query, self.alpha)
        return descent_from_link(link, string.query, self.alpha, self.insert)

    def absorb(self, string: String, results: Mapping[str, JobResult]) -> String:
        """Step 5: two segments for each that was split; the others are tried again."""
        return with_neighbours(string, results, self.alpha).with_descents(results, self.retries)

    def give_up(self, string: String) -> Reason | None:
        """``depth``, ``descent_failed`` or ``stalled`` once a segment can be neither closed nor usefully split."""
        return exhausted(string, self.max_depth, self.retries, self.stall_depths, self.stall_fall)

    def __post_init__(self) -> None:
        require_numbers(self, ("alpha", "max_depth", "retries", "stall_depths", "stall_fall"))
        kind = type(self).__name__
        if not 0 < self.alpha <= 1:
            raise InvalidSetting(f"{kind}(alpha={self.alpha}): alpha must be in (0, 1]")
        if self.max_depth < 0 or self.retries < 0:
            raise InvalidSetting(f"{kind}(max_depth={self.max_depth}, retries={self.retries}): neither may be negative")
        if self.insert not in ("maximum", "midpoint"):
            raise InvalidSetting(f"{kind}(insert={self.insert!r}): choose 'maximum' or 'midpoint'")
        if self.stall_depths < 0 or not 0 < self.stall_fall < 1:
            raise InvalidSetting(
                f"{kind}(stall_depths={self.stall_depths}, stall_fall={self.stall_fall}): give a number of "
                "depths, 0 for none, and a share in (0, 1)"
            )
