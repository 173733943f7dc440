"""The greedy algorithm (Section II.B), in the paper's order.

1. Train two models θ_i and θ_j to the threshold L0: they are given.
2. Find t*, where the interpolated loss γ(θ_i, θ_j) is largest.
3. Descend from Θ(θ_i, θ_j, t*) until the loss is below α L0.
4. Measure the two new segments; one whose maximum is at most L0 is closed.
5. For each open one go to 2, up to depth d.

All open segments of the string go through a step together, so that their beads share a batch. A
string that is closed loses its superfluous beads at the end.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace

from weightstring.arrays import finite_or_none
from weightstring.descent import Descended
from weightstring.errors import InvalidSetting
from weightstring.path import Evidence, Reason
from weightstring.search import pruning
from weightstring.search.chain import Bead, Chain, Link, is_string
from weightstring.search.jobs import Job, Measured, Result
from weightstring.search.pruning import Pruning
from weightstring.search.starts import Insert, aim, descent_from_bead, descent_from_link
from weightstring.search.strategy import Task


@dataclass(frozen=True)
class GreedyState:
    """A greedy search under way.

    Args:
        task: what is asked.
        chain: the links of the string, in order.
        crowded: ends that lie in (α L0, L0] and still want a neighbour of their own.
        created: beads made so far; names the next one.
        measured: (depth, largest sample, accepted) of every segment measured so far.
        failures: what each failed descent reached.
        pruned: the finished string while it loses its superfluous beads.
    """

    task: Task
    chain: Chain
    crowded: tuple[Bead, ...] = ()
    created: int = 0
    measured: tuple[tuple[int, float, bool], ...] = ()
    failures: tuple[float, ...] = ()
    pruned: Pruning | None = None


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

    Raises:
        InvalidSetting: a setting is out of range.

    >>> Greedy(alpha=0.9).max_depth
    10
    """

    alpha: float = 0.95
    max_depth: int = 10
    insert: Insert = "maximum"
    retries: int = 5

    def __post_init__(self) -> None:
        if not 0 < self.alpha <= 1:
            raise InvalidSetting(f"Greedy(alpha={self.alpha}): alpha must be in (0, 1]")
        if self.max_depth < 0 or self.retries < 0:
            raise InvalidSetting(f"Greedy(max_depth={self.max_depth}, retries={self.retries}): neither may be negative")
        if self.insert not in ("maximum", "midpoint"):
            raise InvalidSetting(f"Greedy(insert={self.insert!r}): choose 'maximum' or 'midpoint'")

    def start(self, task: Task) -> GreedyState:
        """The string is the segment between the ends."""
        # Beads would crowd without end beside an end that lies at L0 itself.
        crowded = tuple(end for end in task.ends if end.value > aim(task.threshold, self.alpha))
        return GreedyState(task, (Link(*task.ends),), crowded)

    def propose(self, state: GreedyState) -> tuple[Job, ...]:
        """The next step of all segments that need it."""
        if self.failure(state):
            return ()
        if state.pruned is not None:
            return pruning.propose(state.pruned)
        unmeasured = [link for link in state.chain if link.measured is None]
        if unmeasured:  # Steps 2 and 4.
            return tuple(link.measure(state.task.threshold) for link in unmeasured)
        if state.crowded:
            return tuple(descent_from_bead(end, state.task, self.alpha) for end in state.crowded)
        return tuple(  # Step 3.
            descent_from_link(link, state.task, self.alpha, self.insert) for link in state.chain if link.open
        )

    def absorb(self, state: GreedyState, results: Mapping[str, Result]) -> GreedyState:
        """Close, split or retry each segment as its result says."""
        if state.pruned is not None:
            return replace(state, pruned=pruning.absorb(state.pruned, results))
        if state.crowded and all(link.measured for link in state.chain):
            return _with_neighbours(state, results)
        chain: list[Link] = []
        for link in state.chain:
            result = results.get(link.name if link.measured is None else link.descent_name)
            if isinstance(result, Measured):
                chain.append(replace(link, measured=result))
                state = replace(state, measured=(*state.measured, (link.depth, result.top.value, result.accepted)))
            elif isinstance(result, Descended) and result.status == "reached":  # Steps 4 and 5.
                bead = Bead(str(state.created), result.theta, result.value)
                chain += [Link(link.left, bead, link.depth + 1), Link(bead, link.right, link.depth + 1)]
                state = replace(state, created=state.created + 1)
            elif isinstance(result, Descended):
                chain.append(replace(link, attempts=link.attempts + 1))
                state = replace(state, failures=(*state.failures, result.value))
            else:
                chain.append(link)
        closed = Pruning(tuple(chain), state.task.threshold, {}) if is_string(chain) else None
        return replace(state, chain=tuple(chain), pruned=closed)

    def failure(self, state: GreedyState) -> Reason | None:
        """``depth`` or ``descent_failed`` once a segment can be neither closed nor split."""
        stuck = [link for link in state.chain if link.open]
        if any(link.attempts > self.retries for link in stuck):
            return "descent_failed"
        return "depth" if any(link.depth >= self.max_depth for link in stuck) else None

    def chain(self, state: GreedyState) -> Chain:
        """The string as it stands."""
        return state.pruned.chain if state.pruned is not None else state.chain

    def evidence(self, state: GreedyState) -> Evidence:
        """The stuck segment and how the search came to it."""
        chain = self.chain(state)
        # An open link if there is one, the highest; else one that is not measured yet, when time ran out before.
        worst = max(range(len(chain)), key=lambda i: (chain[i].open, not chain[i].measured, chain[i].height))
        link = chain[worst]
        depths = range(1 + max((depth for depth, _, _ in state.measured), default=-1))
        return Evidence(
            segment=(worst, worst + 1),
            end_losses=(link.left.value, link.right.value),
            max_per_depth=tuple(
                finite_or_none(max(top for d, top, _ in state.measured if d == depth)) for depth in depths
            ),
            open_per_depth=tuple(sum(d == depth and not good for d, _, good in state.measured) for depth in depths),
            retries=max(0, len(state.failures) - sum(link.attempts > self.retries for link in chain)),
            lowest_loss=finite_or_none(min(state.failures, default=math.inf)),
        )


def _with_neighbours(state: GreedyState, results: Mapping[str, Result]) -> GreedyState:
    """The first segment, its crowded ends replaced by what descent from them reached."""
    (first,) = state.chain
    left, right = (_neighbour(end, results) for end in (first.left, first.right))
    if left is first.left and right is first.right:
        return replace(state, crowded=())
    links = [Link(first.left, left), Link(left, right), Link(right, first.right)]
    return replace(state, chain=tuple(link for link in links if link.left is not link.right), crowded=())


def _neighbour(end: Bead, results: Mapping[str, Result]) -> Bead:
    """The bead that descent from an end led to; the end itself where it led nowhere lower."""
    result = results.get(f"{end.name}/neighbour")
    if isinstance(result, Descended) and result.value < end.value:
        return Bead(f"{end.name}'", result.theta, result.value)
    return end
