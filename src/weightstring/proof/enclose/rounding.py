"""A-priori bounds of rounding in float64, which every enclosure is widened by (Higham 2002, chapters 2 and 3).

Each operation is taken to be right to a few units relative to its result, or absolutely to the smallest normal number:
fl(x ∘ y) = (x ∘ y)(1 + δ) + η with |δ| ≤ u and |η| ≤ 2⁻¹⁰²². Nothing here changes the processor's rounding mode: a
computed value differs from the exact one by at most its bound, whatever the order of summation, with or without fused
multiply-add, and with or without gradual underflow.
"""

from __future__ import annotations

UNIT = 2.0**-53
"""u, half the distance between 1 and the next float64."""

FLOOR = 2.0**-960
"""What every size is at least taken to be: u times it is far more than what underflow takes from thousands of
operations, so that whatever is relative to a size allows for underflow too."""

SPARE = 64
"""Further roundings that each bound allows for: forming weights, nodes and the bound itself."""

ROOM = 8
"""Times what rounding needs: what another arithmetic, looser by its own rounding, must still be able to prove."""

ELEMENTWISE = ROOM * 128 * UNIT
"""What an elementwise operation may add, relative to the largest number that enters it. Library functions (exp, log1p,
tanh, erf, sin) are taken to be within 16 units in the last place; the libraries state less than 5 for theirs."""


def gamma(count: int) -> float:
    """γ_n = n·u / (1 − n·u), with room to spare: relative error of a sum of ``count`` products.

    >>> gamma(1000) < 1e-12
    True
    """
    n = ROOM * (count + SPARE) * UNIT
    return n / (1 - n)


UPWARDS = 2.0**-33
"""By how much of itself a finished bound is raised: computed again in another order it must not be higher."""
