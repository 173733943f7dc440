"""How far below the threshold a bead must lie for the segments beside it to close: why α < 1 (Section II.B).

Let γ be the loss along a segment, of length ℓ, between beads at heights h₀ and h₁, and let γ″ ≥ −C on it. Then
γ(t) + C t²/2 is convex and lies under its chord:

    γ(t) ≤ (1 − t) h₀ + t h₁ + C t (1 − t)/2.

C = c ℓ², where −c is the least curvature of the loss along the segment. Let s₀ = L0 − h₀ and s₁ = L0 − h₁ be how far
the beads lie under the threshold. The right side stays at or under L0 if and only if

    √s₀ + √s₁ ≥ √(C/2) = ℓ √(c/2),

for s₀/t + s₁/(1 − t) has the minimum (√s₀ + √s₁)². A parabola γ attains it. On a uniform grid the same holds of the
samples where C bounds their second differences, with no derivative at all: kinks do no harm.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from weightstring.errors import InvalidSetting


def sag(losses: Sequence[float] | Tensor) -> float:
    """C of a loss curve: the largest −γ″(t) over t, from samples at t = 0, 1/n, …, 1; at least 0.

    It has the units of the loss and is *sampled*: −(γ(t + h) − 2γ(t) + γ(t − h))/h², h = 1/n. Exact for the lemma on
    the samples themselves.

    Args:
        losses: γ (n + 1,).

    Raises:
        InvalidSetting: fewer than three samples, or one that is not finite.

    >>> ts = torch.linspace(0, 1, 33, dtype=torch.float64)
    >>> sag(3 * ts * (1 - ts)), sag(ts.square())
    (6.0, 0.0)
    """
    curve = torch.as_tensor(losses, dtype=torch.float64)
    if curve.ndim != 1 or len(curve) < 3 or not curve.isfinite().all():
        raise InvalidSetting(
            f"sag: the losses have shape {tuple(curve.shape)}, {int((~curve.isfinite()).sum())} of them not finite: "
            "give at least three finite samples of one segment"
        )
    return max(0.0, float(-curve.diff(n=2).amin()) * (len(curve) - 1) ** 2)


def highest(first: float, last: float, sag: float) -> float:
    """The highest that γ can be on a segment: max over t of (1 − t) h₀ + t h₁ + C t (1 − t)/2.

    h + (C/2 − Δ)²/(2C) where Δ < C/2, else h; h is the larger of h₀ and h₁, Δ their difference.

    Args:
        first: h₀, the loss at one end.
        last: h₁, that at the other.
        sag: C.

    Raises:
        InvalidSetting: a number that is not finite, or C < 0.

    >>> highest(0.0, 0.0, 8.0), highest(1.0, 0.0, 1.0)
    (1.0, 1.0)
    """
    _check("highest", first=first, last=last, sag=sag)
    rest = sag / 2 - abs(last - first)
    return max(first, last) + (rest * (rest / (2 * sag)) if rest > 0 else 0.0)


def required_depth(threshold: float, other: float, sag: float) -> float:
    """How far under L0 a bead must lie for its segment to a bead of loss h to close: (√(C/2) − √(L0 − h))₊².

    Beside a bead at L0 itself that is C/2; between two beads equally low each needs C/8.

    Args:
        threshold: L0.
        other: h, the loss at the other end of the segment.
        sag: C.

    Raises:
        InvalidSetting: the other end is over the threshold, a number is not finite, or C < 0.

    >>> required_depth(1.0, 1.0, 0.5), required_depth(1.0, 0.75, 0.5)
    (0.25, 0.0)
    """
    return max(0.0, math.sqrt(sag / 2) - math.sqrt(_below("required_depth", threshold, other, sag))) ** 2


def required_alpha(threshold: float, other: float, sag: float) -> float:
    """The largest α that closes the segment: a bead at α L0 or lower needs no other luck. 0 or less: none does.

    1 − d/L0, d the :func:`required_depth`.

    Args:
        threshold: L0 > 0.
        other: h, the loss at the other end of the segment.
        sag: C.

    Raises:
        InvalidSetting: L0 ≤ 0, or as in :func:`required_depth`.

    >>> required_alpha(2.0, 2.0, 0.4)
    0.9
    """
    if not threshold > 0:
        raise InvalidSetting(f"required_alpha: L0 = {threshold} is not positive, so that no α L0 is below it")
    return 1 - required_depth(threshold, other, sag) / threshold


def longest_closing(threshold: float, first: float, last: float, curvature: float) -> float:
    """The longest segment that must close between two beads: ℓ = (√(L0 − h₀) + √(L0 − h₁)) √(2/c).

    Between two beads at α L0 that is √(8 (1 − α) L0/c): beads go as L0^(−1/2) and (1 − α)^(−1/2) along a string of
    given length, and at α = 1 no length is short enough.

    Args:
        threshold: L0.
        first: h₀, the loss at one end.
        last: h₁, that at the other.
        curvature: c ≥ 0, where no curvature of the loss along the segment is under −c.

    Raises:
        InvalidSetting: an end is over the threshold, a number is not finite, or c < 0.

    >>> longest_closing(1.0, 0.75, 0.75, 2.0), longest_closing(1.0, 1.0, 1.0, 2.0)
    (1.0, 0.0)
    """
    depths = [_below("longest_closing", threshold, end, curvature) for end in (first, last)]
    return sum(map(math.sqrt, depths)) * math.sqrt(2 / curvature) if curvature else math.inf


def _below(where: str, threshold: float, end: float, sag: float) -> float:
    """L0 − h ≥ 0."""
    _check(where, threshold=threshold, end=end, sag=sag)
    if end > threshold:
        raise InvalidSetting(f"{where}: an end at {end} is over the threshold {threshold}: such a segment never closes")
    return threshold - end


def _check(where: str, *, sag: float, **numbers: float) -> None:
    for name, value in {**numbers, "sag": sag}.items():
        if not math.isfinite(value):
            raise InvalidSetting(f"{where}: {name} = {value} is not finite")
    if sag < 0:
        raise InvalidSetting(f"{where}: a curvature of {sag} is negative: give how far γ″ goes below 0, at least 0")
