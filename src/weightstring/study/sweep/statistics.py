"""Means, shares and power laws over many pairs, with intervals.

Everything is drawn from (seed, place), so that the same table gives the same intervals.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from scipy.stats import norm

from weightstring.errors import InvalidSetting
from weightstring.randomness import derive_seed

LEVEL = 0.95
"""Coverage of every interval, unless told otherwise."""
RESAMPLES = 2000
AT_ONCE = 1 << 20
"""Numbers drawn at once."""


class Interval(NamedTuple):
    """An estimate and the ends of its interval; NaN where there is nothing to estimate from."""

    value: float
    low: float
    high: float


def mean_of(values: Sequence[float], seed: int = 0, level: float = LEVEL) -> Interval:
    """The mean and its percentile bootstrap interval (Efron 1979); no interval of one, or where one is not finite.

    Args:
        values: one a pair.
        seed: of the resamples.
        level: of the interval.

    >>> mean_of([1.0, 1.0]), mean_of([2.0])
    (Interval(value=1.0, low=1.0, high=1.0), Interval(value=2.0, low=nan, high=nan))
    """
    numbers = np.asarray(values, dtype=float)
    if not len(numbers):
        return Interval(math.nan, math.nan, math.nan)
    # Of strings between ends that coincide a normalized length is infinite; one value does not say how others vary.
    if len(numbers) == 1 or not np.isfinite(numbers).all():
        return Interval(float(numbers.mean()), math.nan, math.nan)
    draw = np.random.default_rng(derive_seed(seed, "bootstrap"))
    means = np.concatenate(
        [numbers[draw.integers(len(numbers), size=(count, len(numbers)))].mean(1) for count in _slices(len(numbers))]
    )
    low, high = np.quantile(means, [(1 - level) / 2, (1 + level) / 2])
    return Interval(float(numbers.mean()), float(low), float(high))


def _slices(length: int) -> list[int]:
    """How many resamples are drawn at once, so that few are in memory; it does not matter to what is drawn."""
    most = max(1, AT_ONCE // length)
    return [min(most, RESAMPLES - start) for start in range(0, RESAMPLES, most)]


def share_of(count: int, total: int, level: float = LEVEL) -> Interval:
    """A share and its Wilson score interval (Wilson 1927), which holds at 0 and 1 too.

    (p + z²/2n ± z √(p(1 − p)/n + z²/4n²)) / (1 + z²/n)

    Raises:
        InvalidSetting: more than all.

    >>> share = share_of(32, 32)
    >>> share.value, round(share.low, 3), share.high
    (1.0, 0.893, 1.0)
    """
    if not 0 <= count <= total:
        raise InvalidSetting(f"share_of({count}, {total}): count at most all, and none below 0")
    if not total:
        return Interval(math.nan, math.nan, math.nan)
    z = float(norm.ppf((1 + level) / 2))
    p = count / total
    centre = p + z * z / (2 * total)
    half = z * math.sqrt(p * (1 - p) / total + z * z / (4 * total * total))
    whole = 1 + z * z / total
    low = 0.0 if count == 0 else max(0.0, (centre - half) / whole)
    return Interval(p, low, 1.0 if count == total else min(1.0, (centre + half) / whole))


class PowerLaw(NamedTuple):
    """y ≈ factor · x^exponent.

    Args:
        exponent: with its bootstrap interval over the points.
        factor: y at x = 1.
        points: how many were fitted.
    """

    exponent: Interval
    factor: float
    points: int


def power_law(x: Sequence[float], y: Sequence[float], seed: int = 0, level: float = LEVEL) -> PowerLaw | None:
    """Least squares on logarithms; None where there are fewer than two different x, or three points.

    Args:
        x: positive numbers, such as thresholds.
        y: positive numbers, such as beads of each pair.
        seed: of the resamples.
        level: of the exponent's interval.

    >>> law = power_law([1.0, 10.0, 100.0], [3.0, 0.3, 0.03])
    >>> round(law.exponent.value, 6), round(law.factor, 6)
    (-1.0, 3.0)
    """
    logs = np.log(np.asarray(x, dtype=float)), np.log(np.asarray(y, dtype=float))
    usable = np.isfinite(logs[0]) & np.isfinite(logs[1])
    ahead, behind = logs[0][usable], logs[1][usable]
    if len(np.unique(ahead)) < 2 or len(ahead) < 3:  # through two points any line goes
        return None
    slope, intercept = _line(ahead, behind)
    draw = np.random.default_rng(derive_seed(seed, "power law"))
    slopes = []
    for _ in range(RESAMPLES // 4):
        rows = draw.integers(len(ahead), size=len(ahead))
        if len(np.unique(ahead[rows])) > 1:
            slopes.append(_line(ahead[rows], behind[rows])[0])
    low, high = np.quantile(slopes, [(1 - level) / 2, (1 + level) / 2])
    return PowerLaw(Interval(slope, float(low), float(high)), math.exp(intercept), len(ahead))


def _line(x: np.ndarray, y: np.ndarray) -> tuple[float, float]:
    centred = x - x.mean()
    slope = float((centred * (y - y.mean())).sum() / (centred * centred).sum())
    return slope, float(y.mean() - slope * x.mean())
