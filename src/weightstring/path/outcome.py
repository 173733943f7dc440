"""What a search can say (Section II.D): it certifies connection by a string, never disconnection.

A string that was found connects, as far as its samples can tell. A search that stops without one
says why, with the numbers; that is not evidence of disconnection, which takes a proof.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Reason = Literal["depth", "beads", "steps", "time", "descent_failed", "interrupted"]

ADVICE: dict[Reason, str] = {
    "depth": "a segment is still open at the largest depth; try a larger max_depth or threshold, or align the ends",
    "beads": "the limit on beads was reached first; raise MaxBeads",
    "steps": "the limit on gradient steps was reached first; raise MaxSteps",
    "time": "the time budget was reached first; raise Budget(seconds=...) and resume",
    "descent_failed": "no descent from the stuck segment got under the threshold; try a larger threshold, "
    "another optimizer or learning rate, or more retries",
    "interrupted": "the search was interrupted; resume it",
}


@dataclass(frozen=True)
class Evidence:
    """Where an unresolved search stood when it stopped.

    Args:
        segment: the stuck segment (the open one with the largest maximum), by the numbers of its beads
            on the string.
        end_losses: the bound quantity at that segment's two ends.
        max_per_depth: largest sample over the segments measured at each depth; None where it is not finite.
        open_per_depth: how many of them exceeded the threshold.
        retries: descents that were tried again.
        lowest_loss: the least that the failed descents reached; None if none failed or
            none was finite.
    """

    segment: tuple[int, int]
    end_losses: tuple[float, float]
    max_per_depth: tuple[float | None, ...]
    open_per_depth: tuple[int, ...]
    retries: int
    lowest_loss: float | None


@dataclass(frozen=True)
class Connected:
    """A string was found on which every sample is at most the threshold."""

    def __str__(self) -> str:
        return "connected: every sampled loss on the string is at most the threshold"


@dataclass(frozen=True)
class Unresolved:
    """No such string was found, which does not mean that there is none."""

    reason: Reason
    evidence: Evidence

    def __str__(self) -> str:
        return f"unresolved ({self.reason}): {ADVICE[self.reason]}"


Outcome = Connected | Unresolved
