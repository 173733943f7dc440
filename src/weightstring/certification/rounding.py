"""A-priori bounds of rounding in float64, which every enclosure is widened by (Higham 2002, chapters 2 and 3).

Nothing here changes the processor's rounding mode: a computed value differs from the exact one by at most
its bound, whatever the order of summation, and with or without fused multiply-add.
"""

from __future__ import annotations

UNIT = 2.0**-53
"""u, half the distance between 1 and the next float64."""

SPARE = 64
"""Further roundings that each bound allows for: forming weights, nodes and the bound itself."""

ELEMENTWISE = 128 * UNIT
"""What an elementwise operation may add, relative to the largest number that enters it. Library functions (exp, tanh,
erf) are taken to be within 16 units in the last place, as the libraries state for theirs."""


def gamma(count: int) -> float:
    """γ_n = n·u / (1 − n·u), with room to spare: relative error of a sum of ``count`` products.

    >>> gamma(1000) < 1.3e-13
    True
    """
    n = (count + SPARE) * UNIT
    return n / (1 - n)


UPWARDS = 2.0**-33
"""By how much of itself a finished bound is raised: computed again in another order it must not be higher."""
