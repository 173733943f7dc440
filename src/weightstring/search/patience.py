"""When a recursion has tried enough (Section II.D): depth, failed descents, and segments that fall no further.

The paper leaves open what becomes of a descent that does not reach its level, and of a segment that more and more beads
do not lower. Without an answer a search would go on for ever beside a pass that lies over the threshold.
"""

from __future__ import annotations

from weightstring.path import Reason
from weightstring.search.string import String


def exhausted(string: String, max_depth: int, retries: int, stall_depths: int, stall_fall: float) -> Reason | None:
    """Why no open link can be closed or usefully split any more; None: they all can.

    Args:
        string: the string.
        max_depth: splits in succession at most.
        retries: how often a failed descent is tried again.
        stall_depths: over so many splits, 0 for any number,
        stall_fall: a link's excess over the level must fall by this share.
    """
    links = string.open
    if stall_depths and any(link.stalled(string.level, stall_depths, stall_fall) for link in links):
        return "stalled"
    if any(link.attempts > retries for link in links):
        return "descent_failed"
    return "depth" if any(link.depth >= string.base + max_depth for link in links) else None
