"""Dynamic String Sampling with tied beads (Section II.C, its first half).

The recursion is that of :class:`~weightstring.search.methods.greedy.Greedy`; a new bead descends under a constraint
to the two ends of its segment, which stay where they are.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from weightstring.descent import Constraint, Start, Tether, constraint, on_planes
from weightstring.search.chain import Link
from weightstring.search.jobs import Descend
from weightstring.search.methods.greedy import Greedy
from weightstring.search.starts import aim, descent_beside_midpoint
from weightstring.search.strategy import Strategy
from weightstring.search.string import String


@dataclass(frozen=True)
class Constrained(Greedy):
    """Dynamic String Sampling whose beads are tied to their neighbours.

    Args:
        constraint: ``"hyperplane"`` (equidistant), ``"spring:ζ"``, ``"soft:κ"``, several joined by ``+``, or
            an object such as ``Hyperplane() & Spring(0.01)``; see :mod:`weightstring.descent.constraint`.

    The other settings are those of :class:`~weightstring.search.methods.greedy.Greedy`. On the hyperplane every
    descent starts at the midpoint, whatever ``insert`` says: that is where the plane meets the segment. As
    the gradient may vanish there (between θ and −θ it often does), retries start beside it, on the plane.

    Raises:
        InvalidSetting: a setting is out of range, or the constraint unknown.

    >>> Constrained().constraint, Constrained(constraint="spring:0.01").alpha
    ('hyperplane', 0.95)
    """

    constraint: str | Constraint = "hyperplane"

    def __post_init__(self) -> None:
        super().__post_init__()
        # Kept by name, which a run's manifest can hold.
        name = self.constraint if isinstance(self.constraint, str) else self.constraint.name
        object.__setattr__(self, "constraint", constraint(name).name)

    def descent(self, string: String, link: Link) -> Descend:
        """The next descent for an open link, tied to the link's two beads."""
        assert isinstance(self.constraint, str)
        tie = constraint(self.constraint)
        job = super().descent(string, link)
        if job.name != link.descent_name:  # an end's neighbour has one neighbour itself
            return job
        if on_planes(tie):
            job = descent_beside_midpoint(link, string.query, aim(string.query.threshold, self.alpha))
        assert isinstance(job.descent, Start)
        return Descend(replace(job.descent, tether=Tether(tie, link.left.theta, link.right.theta)))

    @classmethod
    def compared(cls, name: str) -> Mapping[str, Strategy[Any]]:
        """It under every constraint, each by the constraint's name."""
        return {tie.partition(":")[0]: cls(constraint=tie) for tie in ("hyperplane", "spring:0.001", "soft:0.001")}
