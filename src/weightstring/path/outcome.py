"""What a search can say (Section II.D): it certifies connection by a string, never disconnection.

A string that was found connects, as far as its samples can tell. A search that stops without one
says why, with the numbers; that is not evidence of disconnection, which takes a proof (proof/disconnect.py).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, NamedTuple

import msgspec

from weightstring.path.curvature import Curvature

Reason = Literal["depth", "beads", "steps", "time", "descent_failed", "stalled", "higher_sample", "interrupted"]


class Advice(NamedTuple):
    """What stopped an unresolved search, and what a researcher can do about it.

    Args:
        cause: what stopped it.
        remedy: what to try.
        aligns: whether aligning the ends may help too.
    """

    cause: str
    remedy: str
    aligns: bool = False

    def words(self, aligned: bool) -> str:
        """What to try with ends that are aligned already, or not."""
        return f"{self.remedy} Or align the ends first." if self.aligns and not aligned else self.remedy


ADVICE: dict[Reason, Advice] = {
    "depth": Advice(
        "The search inserted beads down to its depth limit, and a segment at that depth was still over the threshold.",
        "If its largest sampled value still fell with depth, allow a greater depth; otherwise try another "
        "strategy, or raise the threshold.",
        aligns=True,
    ),
    "beads": Advice(
        "The next round could have exceeded the allowance of beads, and segments were still over the threshold.",
        "Allow more beads, or raise the threshold; if beads crowd on one segment, try another strategy.",
        aligns=True,
    ),
    "steps": Advice(
        "The search used up its gradient steps while segments were still over the threshold.",
        "Allow more steps, or descend faster: another learning rate or optimizer in the recipe.",
    ),
    "time": Advice(
        "The search used up its time before every segment was measured and under the threshold.",
        "Allow more time; a run kept on disk goes on from its last finished round.",
    ),
    "descent_failed": Advice(
        "A new bead could not be trained down to the threshold from any starting point on its segment.",
        "Compare the lowest loss reached with the threshold: if it is close, allow more steps or another "
        "learning rate; if it is far, raise the threshold.",
    ),
    "stalled": Advice(
        "The largest sampled value on the stuck segment has stopped falling: more beads do not lower it.",
        "The string may have met a pass: compare the lowest maximum reached with the threshold, and raise that to it; "
        "or search from another string by another strategy.",
        aligns=True,
    ),
    "higher_sample": Advice(
        "The search had accepted the string, but a sample over the threshold was met on it afterwards, and searching "
        "again from there did not get the string under the threshold.",
        "Raise the threshold to the largest sample, certify with more beads or steps allowed, or try another strategy.",
    ),
    "interrupted": Advice(
        "The search was interrupted before it could decide.",
        "Resume the run: it goes on from its last finished round.",
    ),
}


@dataclass(frozen=True)
class Evidence:
    """Where an unresolved search stood when it stopped.

    Args:
        segment: the stuck segment, by the numbers of its beads on the string: the open one with the largest
            maximum; where none is known to be open, one that was not measured yet.
        end_losses: the bound quantity at that segment's two ends.
        max_per_depth: largest sample over the segments measured at each depth; None where it is not finite.
        open_per_depth: how many of them exceeded the threshold.
        retries: descents that were tried again.
        lowest_loss: the least that the failed descents reached; None if none failed or
            none was finite.
        curvature: of the training loss across the stuck segment, at its maximum; None where it was not looked at.
        no_curvature: why it could not be computed, in a line; None where it could, or was not looked at.
    """

    segment: tuple[int, int]
    end_losses: tuple[float, float]
    max_per_depth: tuple[float | None, ...]
    open_per_depth: tuple[int, ...]
    retries: int
    lowest_loss: float | None
    curvature: Curvature | None = None
    no_curvature: str | None = None


class _Verdict(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="kind", tag=str.lower):
    """Written as it is, its kind beside its fields."""

    @property
    def kind(self) -> str:
        """``"connected"``, ``"unresolved"`` or ``"disconnected"``."""
        return type(self).__name__.lower()


class Connected(_Verdict, frozen=True):
    """A string was found on which every sample of what the threshold binds is at most the threshold."""

    def __str__(self) -> str:
        return "connected: every sample on the string is at most the threshold"


class Unresolved(_Verdict, frozen=True):
    """No such string was found, which does not mean that there is none."""

    reason: Reason
    evidence: Evidence

    def __str__(self) -> str:
        return f"unresolved ({self.reason}): {ADVICE[self.reason].cause}"


@dataclass(frozen=True)
class Proof:
    """Why no path stays under a level.

    Args:
        bound: every continuous path between the ends climbs at least this high, in units of the loss.
        argument: the proof in words, with its numbers.
    """

    bound: float
    argument: str


class Disconnected(_Verdict, frozen=True):
    """No continuous path stays under the threshold: proved, not searched for."""

    proof: Proof

    def __str__(self) -> str:
        return f"disconnected: every path climbs to at least {self.proof.bound:.6g}. {self.proof.argument}"


Outcome = Connected | Unresolved | Disconnected
