"""The greedy algorithm (Section II.B), in the paper's order.

1. Train two models θ_i and θ_j to the threshold L0: they are given.
2. Find t*, where the interpolated loss γ(θ_i, θ_j) is largest.
3. Descend from Θ(θ_i, θ_j, t*) until the loss is below α L0.
4. Measure the two new segments; one whose maximum is at most L0 is closed.
5. For each open one go to 2, up to depth d.

All open segments of the string go through a step together, so that their beads share a batch. A
string that is closed loses its superfluous beads at the end.

Beside an end that lies at L0 itself beads would crowd without end. Where a segment at such an end is
still open after two splits, the end gets a neighbour first, by descent from itself.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from weightstring.descent import Descended
from weightstring.errors import InvalidSetting
from weightstring.path import Evidence, Reason
from weightstring.search import pruning
from weightstring.search.chain import Bead, Chain, Link, afresh, is_string
from weightstring.search.evidence import recursion_evidence
from weightstring.search.jobs import Descend, Job, Measured, Result
from weightstring.search.pruning import Pruning
from weightstring.search.starts import Insert, aim, descent_from_bead, descent_from_link, neighbour_name
from weightstring.search.strategy import Task, require_numbers

CROWDED_DEPTH = 2
"""Depth from which an end in (α L0, L0] gets a neighbour: most never need one, and its descent is long."""


@dataclass(frozen=True)
class GreedyState:
    """A greedy search under way.

    Args:
        task: what is asked.
        chain: the links of the string, in order.
        crowded: ends that lie in (α L0, L0] and may still want a neighbour of their own.
        split: links that were over the threshold and were split.
        created: beads made so far; names the next one.
        measured: (depth, largest sample, accepted) of every segment measured so far.
        failures: what each failed descent reached.
        pruned: the finished string while it loses its superfluous beads.
        base: the depth of the first string, 0 of the straight segment.
    """

    task: Task
    chain: Chain
    crowded: tuple[Bead, ...] = ()
    split: tuple[Link, ...] = ()
    created: int = 0
    measured: tuple[tuple[int, float, bool], ...] = ()
    failures: tuple[float, ...] = ()
    pruned: Pruning | None = None
    base: int = 0


@dataclass(frozen=True)
class Greedy:
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

    def __post_init__(self) -> None:
        require_numbers(self, ("alpha", "max_depth", "retries", "stall_depths", "stall_fall"))
        if not 0 < self.alpha <= 1:
            raise InvalidSetting(f"{self._name}(alpha={self.alpha}): alpha must be in (0, 1]")
        if self.max_depth < 0 or self.retries < 0:
            raise InvalidSetting(
                f"{self._name}(max_depth={self.max_depth}, retries={self.retries}): neither may be negative"
            )
        if self.insert not in ("maximum", "midpoint"):
            raise InvalidSetting(f"{self._name}(insert={self.insert!r}): choose 'maximum' or 'midpoint'")
        if self.stall_depths < 0 or not 0 < self.stall_fall < 1:
            raise InvalidSetting(
                f"{self._name}(stall_depths={self.stall_depths}, stall_fall={self.stall_fall}): give a number of "
                "depths, 0 for none, and a share in (0, 1)"
            )

    @property
    def _name(self) -> str:
        return type(self).__name__

    def start(self, task: Task) -> GreedyState:
        """The string is the segment between the ends."""
        crowded = tuple(end for end in task.ends if end.value > aim(task.threshold, self.alpha))
        return GreedyState(task, (Link(*task.ends),), crowded)

    def onward(self, task: Task, chain: Chain) -> GreedyState:
        """The string is one that another search has left: its segments are split on from there."""
        links = afresh(chain, task.threshold)
        known = [(link.depth, link.measured.top.value, not link.open) for link in links if link.measured is not None]
        base = max(link.depth for link in links)
        return replace(self.start(task), chain=links, measured=tuple(known), base=base)

    def propose(self, state: GreedyState) -> tuple[Job, ...]:
        """The next step of all segments that need it."""
        if self.failure(state):
            return ()
        if state.pruned is not None:
            return pruning.propose(state.pruned)
        unmeasured = [link for link in state.chain if link.measured is None]
        if unmeasured:  # Steps 2 and 4.
            return tuple(link.measure(state.task.threshold) for link in unmeasured)
        return tuple(self._descent(state, link) for link in state.chain if link.open)  # Step 3.

    def _descent(self, state: GreedyState, link: Link) -> Descend:
        """The next descent for an open link."""
        end = _crowded_end(state, link)
        if end is not None:
            return descent_from_bead(end, state.task, self.alpha)
        return descent_from_link(link, state.task, self.alpha, self.insert)

    def absorb(self, state: GreedyState, results: Mapping[str, Result]) -> GreedyState:
        """Close, split or retry each segment as its result says."""
        if state.pruned is not None:
            return replace(state, pruned=pruning.absorb(state.pruned, results))
        chain: list[Link] = []
        for link in state.chain:
            end = _crowded_end(state, link)
            result = results.get(link.name if link.measured is None else link.descent_name)
            if end is not None and (beside := results.get(neighbour_name(end))):
                chain += _with_neighbour(link, end, beside)
                state = replace(state, crowded=tuple(other for other in state.crowded if other is not end))
            elif isinstance(result, Measured):
                chain.append(replace(link, measured=result))
                state = replace(state, measured=(*state.measured, (link.depth, result.top.value, result.accepted)))
            elif isinstance(result, Descended) and result.status == "reached":  # Steps 4 and 5.
                bead = Bead(str(state.created), result.theta, result.value)
                chain += link.split(bead)
                state = replace(state, created=state.created + 1, split=(*state.split, link))
            elif isinstance(result, Descended):
                chain.append(replace(link, attempts=link.attempts + 1))
                state = replace(state, failures=(*state.failures, result.value))
            else:
                chain.append(link)
        if not is_string(chain):
            return replace(state, chain=tuple(chain))
        too_high = {link.name: link for link in state.split}
        return replace(state, chain=tuple(chain), pruned=Pruning(tuple(chain), state.task.threshold, too_high))

    def failure(self, state: GreedyState) -> Reason | None:
        """``depth``, ``descent_failed`` or ``stalled`` once a segment can be neither closed nor usefully split."""
        stuck = [link for link in state.chain if link.open]
        level = state.task.threshold
        if self.stall_depths and any(link.stalled(level, self.stall_depths, self.stall_fall) for link in stuck):
            return "stalled"
        if any(link.attempts > self.retries for link in stuck):
            return "descent_failed"
        return "depth" if any(link.depth >= state.base + self.max_depth for link in stuck) else None

    def level(self, state: GreedyState) -> float:
        """The threshold, from the first round on."""
        return state.task.threshold

    def chain(self, state: GreedyState) -> Chain:
        """The string as it stands."""
        return state.pruned.chain if state.pruned is not None else state.chain

    def best(self, state: GreedyState) -> Chain:
        """The same: every split is kept."""
        return self.chain(state)

    def evidence(self, state: GreedyState) -> Evidence:
        """The stuck segment and how the search came to it."""
        chain = self.chain(state)
        retries = max(0, len(state.failures) - sum(link.attempts > self.retries for link in chain))
        return recursion_evidence(chain, state.measured, state.failures, retries)


def _crowded_end(state: GreedyState, link: Link) -> Bead | None:
    """The end of an open link that is to get a neighbour."""
    if not link.open or link.depth < CROWDED_DEPTH:
        return None
    return next((end for end in state.crowded if end is link.left or end is link.right), None)


def _with_neighbour(link: Link, end: Bead, result: Result) -> list[Link]:
    """A link split by what descent from its end led to; the link itself where it led nowhere lower."""
    if not isinstance(result, Descended) or result.value >= end.value:
        return [link]
    bead = Bead(f"{end.name}'", result.theta, result.value)
    return [Link(link.left, bead, link.depth), Link(bead, link.right, link.depth)]
