"""What estimating running statistics anew does to the losses of two ends."""

from __future__ import annotations

import math

from weightstring.store.records import AsSaved

SAME = 1e-5
"""Relative change of a loss that is no news."""


def re_estimated(as_saved: AsSaved, ends: tuple[float | None, float | None]) -> str | None:
    """By how much estimating running statistics anew moves the ends' losses, in words; None where it does not.

    >>> re_estimated((0.513, None), (0.353, 0.2))
    'first end 0.513 as saved, 0.353 with its statistics re-estimated'
    """
    moved = [
        f"{which} end {saved:.6g} as saved, {_number(loss)} with its statistics re-estimated"
        for which, saved, loss in zip(("first", "last"), as_saved, ends, strict=True)
        if saved is not None and (loss is None or not math.isclose(saved, loss, rel_tol=SAME))
    ]
    return "; ".join(moved) or None


def _number(value: float | None) -> str:
    return "not finite" if value is None else f"{value:.6g}"
