"""What a recursion has to show for itself where it ends without a string (Section II.D)."""

from __future__ import annotations

import math
from collections.abc import Sequence

from weightstring.arrays import finite_or_none
from weightstring.path import Evidence
from weightstring.search.chain import Chain


def recursion_evidence(
    chain: Chain, measured: Sequence[tuple[int, float, bool]], failures: Sequence[float], retries: int
) -> Evidence:
    """The stuck segment and how a recursion came to it.

    Args:
        chain: the string.
        measured: (depth, largest sample, accepted) of every segment measured so far.
        failures: what each failed descent reached.
        retries: descents that were tried again.
    """
    # An open link if there is one, the highest; else one that is not measured yet, when time ran out before.
    worst = max(range(len(chain)), key=lambda i: (chain[i].open, not chain[i].measured, chain[i].height))
    depths = range(1 + max((depth for depth, _, _ in measured), default=-1))
    return Evidence(
        segment=(worst, worst + 1),
        end_losses=(chain[worst].left.value, chain[worst].right.value),
        max_per_depth=tuple(
            finite_or_none(max((top for d, top, _ in measured if d == depth), default=-math.inf)) for depth in depths
        ),
        open_per_depth=tuple(sum(d == depth and not good for d, _, good in measured) for depth in depths),
        retries=retries,
        lowest_loss=finite_or_none(min(failures, default=math.inf)),
    )
