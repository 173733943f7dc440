"""Smooth functions of curves, by Taylor's theorem about the value at s = 0."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from weightstring.proof.verify.curves import LEAST, Array, Curve, gamma, norm_of

Function = Callable[[Array], Array]
Bounds = Callable[[Array, Array], tuple[Any, Any, Any]]


def by_taylor(
    x: Curve,
    functions: tuple[Function, Function, Function],
    bounds: tuple[float, float, float] | Bounds,
    hull: tuple[Array, Array] | None = None,
    sizes: Any = 0.0,
) -> Curve:
    """φ(v) + φ'(v) d + ½ φ''(v) d² ± ⅙ max|φ'''| |d|³, or two terms of it, or a constant, where these are nearer.

    v is the value at s = 0 and d the polynomial less v. What φ makes of e is at most e times the largest |φ'|.

    Args:
        x: what φ is taken of.
        functions: φ and its first two derivatives.
        bounds: no less than |φ'|, |φ''| and |φ'''| anywhere; or what gives them from the least and largest numbers.
        hull: no more and no less than φ on the interval, where that is known otherwise.
        sizes: of the numbers that φ and φ' are computed from, beside φ(v) and x themselves.
    """
    v, steep, bent = x[:3]
    local = bounds if isinstance(bounds, tuple) else bounds(x.low, x.high)
    first, second, third = functions[1](v), functions[2](v), local[2]
    away, low_order = x.away, local[1] / 2 * x.away**2
    steepest = np.minimum(local[0], np.abs(first) + local[1] * (away + x.error)) * (1 + gamma(0))
    cubic, quartic = second * steep * bent, second * bent * bent / 2
    lacking = np.abs(cubic) / 4 + np.abs(quartic) / 8 + third / 6 * away**3
    plain = ~(lacking <= low_order)
    value = functions[0](v)
    slope = first * steep + np.where(plain, 0.0, 0.75 * cubic)
    bend = first * bent + np.where(plain, 0.0, second * steep * steep / 2 + quartic)
    middle = value - np.where(plain, 0.0, quartic / 8)
    lacking = np.where(plain, low_order, lacking)
    of_terms = np.abs(first) * away + np.abs(second) * away**2
    own = lacking + 4 * gamma(0) * (np.abs(value) + of_terms + sizes + LEAST)
    error = (own + steepest * x.error) * (1 + gamma(0))
    if hull is None:
        around = (local[0] * (away + x.error)) * (1 + gamma(0))
        centre = value
    else:
        centre, around = hull[0] / 2 + hull[1] / 2, (hull[1] / 2 - hull[0] / 2) * (1 + gamma(0))
    flat = ~(error <= around)
    curve = Curve(
        np.where(flat, centre, middle), np.where(flat, 0.0, slope), np.where(flat, 0.0, bend),
        np.where(flat, around, error),
    )  # fmt: skip
    if x.norm is not None:
        most = np.where(steepest == np.inf, 0, steepest) if not np.isfinite(steepest).all() else steepest
        norm = np.broadcast_to(most, x.shape).max(x.axis, keepdims=True) * x.norm
        norm = norm + norm_of(np.where(flat, around, own), x.axis)
        curve = curve.along(norm * (1 + gamma(0)) if most is steepest else None, x.axis)
    of_hull = np.abs(centre) + around + (sizes if hull is None else np.minimum(sizes, 1.0))
    return curve.rounded(4 * np.where(flat, of_hull, 0.0))
