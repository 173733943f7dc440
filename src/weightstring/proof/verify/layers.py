"""Bilinear maps of curves: layers, products of matrices, convolutions, and lookups."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from weightstring.proof.verify.curves import (
    LEAST,
    Array,
    Curve,
    add,
    axes_of,
    gamma,
    norm_of,
    powers,
    scale,
)
from weightstring.proof.verify.operations import OPERATIONS, At, Deferred, NotVerifiable, curve_of, data_of
from weightstring.proof.verify.symbols import convolution_norm
from weightstring.proof.verify.zonotopes import Zonotope

Apply = Callable[[Array, Array], Array]

WIDEST = 1024
"""Of a matrix, the smaller side up to which its spectral norm is found."""


def spectral(matrix: Array) -> float:
    """No less than the spectral norm of a matrix.

    λI − AᵀA is at least −γ tr(λI) if its Cholesky factorisation runs to its end in floating point (Rump 2006).
    """
    frobenius = float(norm_of(matrix.reshape(1, -1), 1)[0, 0])
    if not 0 < frobenius < 1e120 or frobenius < 1e-120 or min(matrix.shape) > WIDEST:
        return frobenius
    small = matrix if len(matrix) <= matrix.shape[1] else matrix.T
    inner, n = small @ small.T, len(small)
    most = float(np.linalg.eigvalsh(inner)[-1]) * (1 + 1e-9)
    try:
        np.linalg.cholesky(most * np.eye(n) - inner)
    except np.linalg.LinAlgError:
        return frobenius
    lost = gamma(small.shape[1]) * frobenius**2 + 2 * gamma(n) * n * most
    return min(frobenius, math.sqrt(most + 2 * lost) * (1 + gamma(0)))


def layer(x: Curve, weight: Curve, bias: Any, apply: Apply, over: Callable[[Array], Array]) -> Curve:
    """A map with a row of weights for each output; ``over`` lays a number for each output along the result."""
    curve, error = _alone(x, weight, apply, over)
    own = curve.error
    if error is not None:
        curve = curve._replace(error=error + own)
    if weight.value.ndim == 2 and error is not None:
        axis = x.axis if x.norm is not None else -1
        axis = axis if -1 in axes_of(axis) else -1
        ball, rows = x.ball(axis), weight.reach.reshape(len(weight.value), -1)
        error = np.minimum(error, ball * norm_of(rows, 1)[:, 0] * (1 + gamma(0)))
        turned = spectral(weight.value) + spectral_rest(weight)
        norm = (turned * ball + norm_of(own, axis)) * (1 + gamma(0))
        curve = curve._replace(error=error + own).along(norm, axis)
    return curve if bias is None else add(curve, curve_of(bias).moved(over))


def _alone(x: Curve, weight: Curve, apply: Apply, over: Callable[[Array], Array]) -> tuple[Curve, Array | None]:
    """A map of the polynomial, with rounding, and what its errors become; None: it has none."""
    value, slope, bend, lacking = powers(x, weight, apply)
    rows = weight.reach.reshape(len(weight.value), -1)
    terms = rows.shape[1]
    of_weights = (weight.error.reshape(len(rows), -1).sum(1) + 2 * gamma(terms) * (rows.sum(1) + LEAST)) * (x.size)
    own = lacking + over(of_weights + gamma(terms) * LEAST)
    error = apply(x.error, weight.reach) * (1 + gamma(terms)) if x.error.any() else None
    return Curve(value, slope, bend, own), error


@dataclass(eq=False)
class Convolved(Deferred):
    """A convolution of images whose errors have a norm, of which BatchNorm scales the outputs one by one.

    Args:
        own: of the polynomial.
        error: what errors become, number by number.
        ball: no less than the norm of the input's, along ``axis``.
        axis: those of whole images, or of all of them.
        kernel: (out, in, …).
        settings: image, steps, spread, groups.
    """

    own: Curve
    error: Array
    ball: Array
    axis: tuple[int, ...]
    kernel: Curve
    settings: tuple[Sequence[int], Sequence[int], Sequence[int], int]

    def length(self, factors: Array | None = None) -> Array:
        """No less than the norm of what errors become, each output times a factor of (out,)."""
        column = 1.0 if factors is None else factors.reshape(-1, *(1,) * (self.kernel.value.ndim - 1))
        kernel = self.kernel
        ends = [(kernel.value + sign * kernel.slope) * column for sign in (1, -1)]
        rest = (np.abs(kernel.bend) + kernel.error + gamma(4) * kernel.reach) * column
        taps = norm_of(rest.reshape(*rest.shape[:2], -1), (0, 1)).sum() * (1 + gamma(rest.size))
        found: Array = (max(convolution_norm(end, *self.settings) for end in ends) + taps) * self.ball
        return found * (1 + gamma(0))

    def curve(self) -> Curve:
        """It."""
        norm = (self.length() + norm_of(self.own.error, self.axis)) * (1 + gamma(0))
        return self.own._replace(error=self.own.error + self.error).along(norm, self.axis)


def spectral_rest(weight: Curve) -> float:
    """No less than the spectral norm of what s and rounding add to a matrix."""
    rest = np.abs(weight.slope) + np.abs(weight.bend) + weight.error
    return float(norm_of(rest.reshape(1, -1), 1)[0, 0])


def bilinear(x: Curve, y: Curve, apply: Apply, terms: int) -> Curve:
    """A bilinear map of both, each number of which is a sum of ``terms`` products."""
    return _of_powers(x, y, apply, terms)[0]


def _of_powers(x: Curve, y: Curve, apply: Apply, terms: int) -> tuple[Curve, Array]:
    """Also what its polynomial lacks."""
    value, slope, bend, lacking = powers(x, y, apply)
    a, b = x.polynomial_reach, y.polynomial_reach
    of_x, of_y = (part.error + gamma(terms) * (size + LEAST) for part, size in ((x, a), (y, b)))
    error = (apply(a, of_y) + apply(of_x, b + of_y) + lacking + gamma(terms) * LEAST) * (1 + gamma(terms))
    return Curve(value, slope, bend, error), lacking


def matrices(x: Curve, y: Curve) -> Curve:
    """X @ y of (…, m, k) and (…, k, n); of Cauchy–Schwarz and the errors one by one what is nearer."""
    terms = x.shape[-1]
    result, lacking = _of_powers(x, y, np.matmul, terms)
    if x.norm is None and y.norm is None:
        return result
    lacking = lacking + 4 * gamma(terms) * (norm_of(x.reach, -1) + LEAST) * (norm_of(y.reach, -2) + LEAST)
    across = norm_of(x.polynomial_reach, -1) * y.ball(-2) + x.ball(-1) * (norm_of(y.polynomial_reach, -2) + y.ball(-2))
    error = np.minimum(result.error, (across + lacking) * (1 + gamma(0)))
    along = np.matmul(x.error, norm_of(y.reach, -1)) + np.matmul(x.polynomial_reach, y.ball(-1))
    return result._replace(error=error).along((along + norm_of(lacking, -1)) * (1 + gamma(terms)) + LEAST * gamma(0))


def turned(x: Curve) -> Curve:
    """The last two axes exchanged."""
    curve = x.moved(lambda v: v.swapaxes(-1, -2))
    if x.norm is None or x.axis not in (-1, -2):
        return curve
    return curve.along(x.norm.swapaxes(-1, -2), -1 if x.axis == -2 else -2)


@OPERATIONS.register("linear.default")
def linear(at: At, x: Any, weight: Any, bias: Any = None) -> Curve | Zonotope:
    """The layer x Wᵀ + b, of a curve or with its generators."""
    if isinstance(x, Zonotope):
        return x.mapped(curve_of(weight), _by_rows, affine(x.straight, weight, bias))
    return affine(x, weight, bias)


def affine(x: Any, weight: Any, bias: Any = None) -> Curve:
    """The layer x Wᵀ + b."""
    return layer(curve_of(x), curve_of(weight), bias, _by_rows, lambda b: b)


def _by_rows(v: Array, w: Array) -> Array:
    found: Array = v @ w.T
    return found


@OPERATIONS.register("matmul.default", "mm.default", "bmm.default", "mv.default", "dot.default")
def product(at: At, x: Any, y: Any) -> Curve:
    """Products of matrices."""
    a, b = curve_of(x), curve_of(y)
    if b.value.ndim == 2 and a.value.ndim > 1:
        return layer(a, b.moved(np.transpose), None, lambda v, w: v @ w.T, lambda b: b)
    if a.value.ndim == 2 and b.value.ndim > 2:
        return turned(layer(turned(b), a, None, lambda v, w: v @ w.T, lambda b: b))
    if a.value.ndim == 1:
        a = a.moved(lambda v: v[None])
    if b.value.ndim == 1:
        b = b.moved(lambda v: v[:, None])
    result = matrices(a, b)
    return result if result.shape == at.shape else result.moved(lambda v: v.reshape(at.shape))


@OPERATIONS.register("addmm.default", "baddbmm.default")
def shifted_product(at: At, bias: Any, x: Any, y: Any, beta: float = 1, alpha: float = 1) -> Curve:
    """β b + α x y."""
    return add(scale(product(at, x, y), alpha), scale(curve_of(bias), beta))


@OPERATIONS.register("einsum.default")
def summed(at: At, equation: str, parts: Sequence[Any], path: Any = None) -> Curve:
    """Products of one or two curves, summed as a formula says."""
    curves = [curve_of(part) for part in parts]
    given, _, result = equation.replace(" ", "").partition("->")
    names = given.split(",")
    if "..." in equation or not equation.count("->") or any(len(set(name)) < len(name) for name in names):
        raise NotVerifiable(f"its formula is {equation}")
    lengths = {
        letter: n
        for name, curve in zip(names, curves, strict=True)
        for letter, n in zip(name, curve.shape, strict=True)
    }
    terms = math.prod(n for letter, n in lengths.items() if letter not in result)

    def apply(*v: Array) -> Array:
        values: Array = np.einsum(equation, *v, optimize=True)
        return values

    if len(curves) == 1:
        return curves[0].moved(apply).rounded(apply(curves[0].reach), terms)
    if len(curves) != 2:
        raise NotVerifiable("it multiplies more than two")
    return bilinear(curves[0], curves[1], apply, terms)


@OPERATIONS.register("embedding.default")
def lookup(at: At, weight: Any, rows: Any, padding: int = -1, *_: Any) -> Curve:
    """Rows of a table."""
    rows = data_of(rows, "which rows it takes")
    return curve_of(weight).moved(lambda v: v[rows])


@OPERATIONS.register("conv1d.default", "conv2d.default", "conv1d.padding", "conv2d.padding")
def convolution(
    at: At, x: Any, weight: Any, bias: Any = None, stride: Any = 1, padding: Any = 0, dilation: Any = 1, groups: int = 1
) -> Curve | Convolved:
    """Convolution: windows times kernels."""
    axes = len(at.shape) - 2
    steps, spread = each(stride, axes), each(dilation, axes)
    kernel = curve_of(weight).shape[2:]
    if isinstance(padding, str):
        ends = [(d * (k - 1) // 2, d * (k - 1) - d * (k - 1) // 2) for d, k in zip(spread, kernel, strict=True)]
        pads = ends if padding == "same" else [(0, 0)] * axes
    else:
        pads = [(p, p) for p in each(padding, axes)]

    def apply(v: Array, w: Array) -> Array:
        padded = np.pad(v, [(0, 0), (0, 0), *pads])
        found = windows(padded, w.shape[2:], steps, spread)
        parts = []
        for mine, kernels in zip(np.split(found, groups, 1), np.split(w, groups, 0), strict=True):
            inner = [1, *range(2 + axes, 2 + 2 * axes)]
            products = np.tensordot(mine, kernels, axes=(inner, [1, *range(2, 2 + axes)]))
            parts.append(np.moveaxis(products, -1, 1))
        return np.concatenate(parts, 1)

    def over(b: Array) -> Array:
        return b.reshape(-1, *(1,) * axes)

    z, w = curve_of(x), curve_of(weight)
    if z.norm is None or not z.error.any() or z.value.ndim != axes + 2:
        return layer(z, w, bias, apply, over)
    own, error = _alone(z, w, apply, over)
    assert error is not None
    own = own if bias is None else add(own, curve_of(bias).moved(over))
    axis = tuple(sorted({*axes_of(z.axis), *range(-1, -axes - 2, -1)}, reverse=True))
    return Convolved(own, error, z.ball(axis), axis, w, (z.shape[2:], steps, spread, groups))


def each(value: Any, axes: int) -> list[int]:
    """A setting of every axis."""
    values = [value] if isinstance(value, int) else list(value)
    return values * axes if len(values) == 1 else values


def windows(v: Array, kernel: Sequence[int], steps: Sequence[int], spread: Sequence[int]) -> Array:
    """(n, C, *out, *kernel)."""
    axes = len(kernel)
    spans = [(k - 1) * d + 1 for k, d in zip(kernel, spread, strict=True)]
    found = np.lib.stride_tricks.sliding_window_view(v, spans, axis=tuple(range(2, 2 + axes)))
    return found[
        (slice(None), slice(None), *(slice(None, None, s) for s in steps), *(slice(None, None, d) for d in spread))
    ]
