"""Softmax and what is made of it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from weightstring.proof.verify.arithmetic import Hidden, around, hidden_in, masked
from weightstring.proof.verify.curves import Array, Curve, add, gamma, multiply, scale
from weightstring.proof.verify.elementary import exponential, logarithm, reciprocal
from weightstring.proof.verify.layers import matrices, turned
from weightstring.proof.verify.operations import OPERATIONS, At, Deferred, NotVerifiable, curve_of
from weightstring.proof.verify.pooling import total


def _centred(x: Curve, axis: int) -> tuple[Curve, Curve]:
    """The polynomials less one that all entries share, and that: the mean by the softmax at s = 0, at its height."""
    top = x.value.max(axis, keepdims=True)
    weights = np.exp(x.value - top)
    weights = weights / weights.sum(axis, keepdims=True)
    steep, bent = ((part * weights).sum(axis, keepdims=True) for part in x[1:3])
    shared = Curve(top, steep, bent, np.zeros_like(top))
    return add(x._replace(error=np.zeros_like(x.error), norm=None), shared.widened(x.shape), -1.0), shared


def _split(x: Any, axis: int) -> tuple[Curve, Hidden]:
    """What a softmax is taken of, with 0 in place of −inf, and where that stands."""
    z = curve_of(x)
    hidden = hidden_in(z)
    if not hidden.any():
        return z, hidden
    if hidden.all(axis).any():
        raise NotVerifiable("all entries of one softmax are −inf")
    lowest = np.where(hidden, np.inf, z.value).min(axis, keepdims=True)
    return z._replace(value=np.where(hidden, lowest, z.value)), hidden


def _without(x: Curve, hidden: Hidden) -> Curve:
    return x.moved(lambda v: np.where(hidden, 0.0, v)) if hidden.any() else x


def _shaken(shares: Curve, errors: Array, axis: int) -> Array:
    """No less than Σ aᵢ (exp(Eᵢ) − 1): the logarithm of a sum of exponentials moves by log(1 + that) at most."""
    most = np.minimum(shares.high, 1.0)
    found: Array = (most * np.expm1(errors)).sum(axis, keepdims=True) * (1 + gamma(errors.shape[axis]))
    return found


def softmax(x: Any, axis: int) -> Curve:
    """exp(xᵢ) / Σ exp(xⱼ), of the polynomials; e multiplies it by exp(eᵢ) / Σ aⱼ exp(eⱼ) more."""
    z, hidden = _split(x, axis)
    errors = np.where(hidden, 0.0, z.error)
    low, high = (np.where(hidden, -np.inf, part) for part in (z.low, z.high))
    inner = _without(exponential(_centred(z, axis)[0]), hidden)
    shares = multiply(inner, reciprocal(total(inner, (axis % z.value.ndim,), True)).widened(z.shape))
    top = high.max(axis, keepdims=True)
    least, most = np.exp(low - top), np.exp(high - top)
    others = least.sum(axis, keepdims=True) - least, most.sum(axis, keepdims=True) - most
    # exp of less than −745 is 0, so that an argument of any other is at most 745 larger than the largest.
    slack = 4 * gamma(z.shape[axis]) * z.shape[axis] * (800 + 2 * np.abs(top))
    with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
        ceiling = np.minimum(1.0, most / (most + np.maximum(others[0] - slack, 0.0)) + slack)
        floor = np.maximum(0.0, least / (least + others[1] + slack) - slack)
        ceiling = np.where(np.isfinite(ceiling), ceiling, 1.0)
        floor = np.where(np.isfinite(floor), floor, 0.0)
        factor = np.exp(errors) * (1 + _shaken(shares, errors, axis)) - 1
        error = shares.error + np.minimum(shares.high, 1.0) * factor * (1 + gamma(0)) + 8 * gamma(0) * shares.reach
        band = (ceiling - floor) / 2 * (1 + gamma(0)) + gamma(0)
        flat = ~(error <= band)
    flat &= ~hidden
    band_of: tuple[Any, ...] = ((ceiling + floor) / 2, 0.0, 0.0, band)
    parts = (np.where(flat, one, other) for one, other in zip(band_of, (*shares[:3], error), strict=True))
    return _without(Curve.of(parts), hidden)


def log_sum_exp(x: Any, axis: int) -> Curve:
    """Log Σ exp(xⱼ), the axis kept with length 1."""
    z, hidden = _split(x, axis)
    errors = np.where(hidden, 0.0, z.error)
    apart, shared = _centred(z, axis)
    inner = _without(exponential(apart), hidden)
    sums = total(inner, (axis % z.value.ndim,), True)
    shares = multiply(inner, reciprocal(sums).widened(z.shape))
    with np.errstate(invalid="ignore", over="ignore"):
        moves = np.fmin(np.log1p(_shaken(shares, errors, axis)), errors.max(axis, keepdims=True)) * (1 + gamma(0))
    found = add(logarithm(sums), shared)
    # A sum beyond what can be told: between the largest and that and the logarithm of their number.
    top = [np.where(hidden, -np.inf, part).max(axis, keepdims=True) for part in (z.low, z.high)]
    bottom, most = top[0], top[1] + math.log(z.shape[axis]) * (1 + gamma(0))
    half = (most - bottom) / 2 * (1 + gamma(0)) + 4 * gamma(0) * (np.abs(most) + np.abs(bottom))
    error = found.error + moves
    flat = ~(error <= half)
    band = ((bottom + most) / 2, 0.0, 0.0, half)
    parts = (np.where(flat, one, other) for one, other in zip(band, (*found[:3], error), strict=True))
    return Curve.of(parts)


@dataclass(frozen=True)
class LogProbabilities(Deferred):
    """log softmax over an axis."""

    logits: Any
    axis: int

    @property
    def shape(self) -> tuple[int, ...]:
        """Of the probabilities."""
        return curve_of(self.logits).shape

    def curve(self) -> Curve:
        """X − log Σ exp(x)."""
        z = curve_of(self.logits)
        return around(lambda x, y: add(x, y, -1.0), z, log_sum_exp(z, self.axis))


@OPERATIONS.register("softmax.int", "_softmax.default", "_safe_softmax.default")
def _softmax(at: At, x: Any, axis: int, dtype: Any = None) -> Curve:
    return softmax(x, axis)


@OPERATIONS.register("log_softmax.int", "_log_softmax.default")
def _log_softmax(at: At, x: Any, axis: int, dtype: Any = None) -> LogProbabilities:
    return LogProbabilities(x, axis)


@OPERATIONS.register("logsumexp.default")
def _log_sum_exp(at: At, x: Any, axes: Any, keep: bool = False) -> Curve:
    axes = [axes] if isinstance(axes, int) else list(axes)
    if len(axes) != 1:
        raise NotVerifiable("it is taken along several axes")
    return log_sum_exp(x, axes[0]).moved(lambda v: v.reshape(at.shape))


@OPERATIONS.register("scaled_dot_product_attention.default")
def attention(
    at: At, query: Any, key: Any, value: Any, mask: Any = None, dropped: float = 0.0, causal: bool = False, **named: Any
) -> Curve:
    """softmax(q kᵀ · scale + mask) v."""
    if dropped:
        raise NotVerifiable("it draws at random")
    q, k, v = (curve_of(part) for part in (query, key, value))
    if named.get("enable_gqa"):
        k, v = (_repeated(part, q.shape[-3]) for part in (k, v))
    factor = named.get("scale")
    scores = matrices(scale(q, 1 / math.sqrt(q.shape[-1]) if factor is None else factor), turned(k))
    if causal:
        scores = masked(scores, ~np.tril(np.ones(scores.shape[-2:], dtype=bool)))
    if isinstance(mask, np.ndarray) and mask.dtype == bool:
        scores = masked(scores, ~mask)
    elif mask is not None:
        scores = around(add, scores, curve_of(mask))
    return matrices(softmax(scores, -1), v)


def _repeated(x: Curve, heads: int) -> Curve:
    """Heads that several queries share, for each of them."""
    times = heads // x.shape[-3]
    curve = x.moved(lambda v: v.repeat(times, -3))
    return curve if x.norm is None else curve.along(x.norm.repeat(times, -3), x.axis)
