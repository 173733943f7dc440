"""Numbers divided by their own spread: LayerNorm, RMSNorm, GroupNorm, InstanceNorm."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from weightstring.proof.verify.curves import Array, Curve, add, gamma, multiply, norm_of, scale, shift
from weightstring.proof.verify.elementary import power_of
from weightstring.proof.verify.operations import OPERATIONS, At, NotVerifiable, curve_of
from weightstring.proof.verify.pooling import total


def standardised(x: Curve, eps: float, centred: bool = True) -> Curve:
    """C / √(mean of c² + ε) along the last axis, c = x less its mean.

    Of the polynomials first. As the derivative of c / ρ(c) is (1 − c cᵀ/(nρ²))/ρ, what e adds to entry i is at most
    (|e_i| + |c_i| Σ|c_j e_j| / (nρ²)) / ρ at some place between, and its norm is at most ‖e‖/ρ.
    """
    if not eps > 0:
        raise NotVerifiable("its eps is not positive")
    n = x.shape[-1]
    centre = _apart if centred else (lambda z: z)
    inner = centre(x._replace(error=np.zeros_like(x.error), norm=None))
    spread = shift(scale(total(multiply(inner, inner), (-1,), True), 1 / n), eps)
    rough = multiply(inner, power_of(spread, -0.5).widened(x.shape))
    ball = x.ball()
    each = _apart_errors(x.error) if centred else x.error
    each = np.minimum(each, ball)
    sizes, most = inner.reach + each, norm_of(inner.reach, -1)
    with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
        least = np.maximum(np.sqrt(np.maximum(spread.low, 0.0)) - ball / math.sqrt(n), math.sqrt(eps)) * (1 - gamma(0))
        shares = sizes / least
        dots = np.minimum((shares * each).sum(-1, keepdims=True), (most + ball) / least * ball)
        moved = (each + shares * (dots / n)) / least * (1 + gamma(n))
        norm = ball / least * (1 + gamma(0))
        error = np.minimum(moved, norm)
    # However wide: no entry is larger than √n.
    limit = math.sqrt(n) * (1 + gamma(0))
    result = Curve(*rough[:3], rough.error + error)
    lost = ~(np.abs(result.slope) + np.abs(result.bend) + result.error <= limit)
    parts = (np.where(lost, one, other) for one, other in zip((0.0, 0.0, 0.0, limit), result.parts, strict=True))
    flat = lost.any(-1, keepdims=True)
    kept = np.where(flat, np.inf, norm + norm_of(rough.error, -1))
    return Curve.of(parts, np.minimum(kept, 2 * limit * math.sqrt(n)) if n > 1 else None)


def _apart(x: Curve) -> Curve:
    """Less its mean along the last axis."""
    return add(x, scale(total(x, (-1,), True), 1 / x.shape[-1]).widened(x.shape), -1.0)


def _apart_errors(errors: Array) -> Array:
    n = errors.shape[-1]
    sums = errors.sum(-1, keepdims=True) / n
    found: Array = (errors * (1 - 2 / n) + sums if n > 1 else errors * 2) * (1 + gamma(n))
    return np.maximum(found, 0.0)


def _scaled(x: Curve, weight: Any, bias: Any, shape: Sequence[int]) -> Curve:
    if weight is not None:
        x = multiply(x, curve_of(weight).moved(lambda v: v.reshape(shape)).widened(x.shape))
    if bias is not None:
        x = add(x, curve_of(bias).moved(lambda v: v.reshape(shape)))
    return x


def _last(x: Curve, axes: int) -> Curve:
    """The last axes as one."""
    return x if axes == 1 else x.moved(lambda v: v.reshape(*v.shape[:-axes], -1))


@OPERATIONS.register("layer_norm.default", "native_layer_norm.default")
def layer_norm(
    at: At, x: Any, shape: Sequence[int], weight: Any = None, bias: Any = None, eps: float = 1e-5, *_: Any
) -> Any:
    """Along the last axes."""
    z = curve_of(x)
    found = standardised(_last(z, len(shape)), eps)
    found = found if found.shape == z.shape else found.moved(lambda v: v.reshape(z.shape))
    result = _scaled(found, weight, bias, shape)
    return [result] if at.name.startswith("native") else result


@OPERATIONS.register("rms_norm.default")
def rms_norm(at: At, x: Any, shape: Sequence[int], weight: Any = None, eps: float | None = None) -> Curve:
    """Along the last axes, nothing subtracted."""
    z = curve_of(x)
    least = torch.finfo(at.dtype).eps if eps is None else eps
    found = standardised(_last(z, len(shape)), least, centred=False)
    found = found if found.shape == z.shape else found.moved(lambda v: v.reshape(z.shape))
    return _scaled(found, weight, None, shape)


@OPERATIONS.register("group_norm.default")
def group_norm(at: At, x: Any, groups: int, weight: Any = None, bias: Any = None, eps: float = 1e-5, *_: Any) -> Curve:
    """Of groups of channels (N, C, …)."""
    z = curve_of(x)
    found = standardised(z.moved(lambda v: v.reshape(len(v), groups, -1)), eps).moved(lambda v: v.reshape(z.shape))
    return _scaled(found, weight, bias, (-1, *(1,) * (z.value.ndim - 2)))


@OPERATIONS.register("instance_norm.default")
def instance_norm(
    at: At, x: Any, weight: Any, bias: Any, mean: Any, var: Any, own: bool, momentum: float, eps: float, *_: Any
) -> Curve:
    """Of each channel of each example (N, C, …)."""
    if not own:
        raise NotVerifiable("its statistics are not those of its input")
    return group_norm(at, x, curve_of(x).shape[1], weight, bias, eps)
