"""Functions of each number that are made of lines."""

from __future__ import annotations

from typing import Any

from weightstring.proof.verify.curves import Curve, add, maximum, relu, scale, shift
from weightstring.proof.verify.operations import OPERATIONS, At, NotVerifiable, curve_of
from weightstring.proof.verify.zonotopes import Zonotope


@OPERATIONS.register("relu.default")
def _relu(at: At, x: Any) -> Curve | Zonotope:
    if isinstance(x, Zonotope):
        return x.relu(at.generators)
    z = curve_of(x)
    return Zonotope.of(z).relu(at.generators) if at.generators and z.value.ndim == 2 else relu(z)


@OPERATIONS.register("leaky_relu.default")
def leaky_relu(at: At, x: Any, slope: float = 0.01) -> Curve:
    """slope·x + (1 − slope)·max(0, x)."""
    if not 0 <= slope <= 1:
        raise NotVerifiable("its slope is outside [0, 1]")
    return add(scale(curve_of(x), slope), relu(curve_of(x)), 1 - slope)


@OPERATIONS.register("hardtanh.default")
def hardtanh(at: At, x: Any, low: float = -1.0, high: float = 1.0) -> Curve:
    """Between two bounds."""
    return clamp(at, x, low, high)


@OPERATIONS.register("relu6.default")
def relu6(at: At, x: Any) -> Curve:
    """Between 0 and 6."""
    return clamp(at, x, 0.0, 6.0)


@OPERATIONS.register("clamp.default", "clip.default")
def clamp(at: At, x: Any, min: float | None = None, max: float | None = None) -> Curve:
    """Not below, not above."""
    z = curve_of(x)
    if min is not None and max is not None and min > max:
        raise NotVerifiable("its bounds cross")
    if min is not None:
        z = shift(relu(shift(z, -min)), min)
    if max is not None:
        z = scale(shift(relu(shift(scale(z, -1.0), max)), -max), -1.0)
    return z


@OPERATIONS.register("clamp_min.default")
def clamp_min(at: At, x: Any, min: float) -> Curve:
    """Not below."""
    return clamp(at, x, min)


@OPERATIONS.register("clamp_max.default")
def clamp_max(at: At, x: Any, max: float) -> Curve:
    """Not above."""
    return clamp(at, x, None, max)


@OPERATIONS.register("abs.default")
def absolute(at: At, x: Any) -> Curve:
    """max(x, −x)."""
    return maximum([curve_of(x), scale(curve_of(x), -1.0)])
