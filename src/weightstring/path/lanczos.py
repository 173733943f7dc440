"""The smallest eigenvalue of a symmetric matrix that can only be multiplied with."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Float64
from torch import Tensor

from weightstring.randomness import generator

DENSE = 24
"""Dimensions up to which every eigenvalue is computed: Lanczos would need as many products."""

TOLERANCES = (1e-4, 1e-2)
"""Residual at which Lanczos stops, relative to the largest eigenvalue; and where that takes too long."""

RESTARTS = 15
"""Restarts of Lanczos, each of up to twenty products, after which it has taken too long."""

Multiply = Callable[[Float64[Tensor, " Q"]], Float64[Tensor, " Q"]]
"""The product of the matrix with a vector."""


class Spectrum(NamedTuple):
    """The ends of a spectrum.

    Args:
        smallest: λ = vᵀAv of the unit vector v found: the smallest eigenvalue is at most that. None where Lanczos
            did not converge, or there are no dimensions.
        residual: ‖Av − λv‖; some eigenvalue is that near to λ. None where λ is.
        largest: the largest |eigenvalue|, to a few percent.
    """

    smallest: float | None
    residual: float | None
    largest: float


def spectrum(multiply: Multiply, size: int, seed: int) -> Spectrum:
    """The ends of the spectrum of a symmetric matrix A of ``size`` rows, by Lanczos (ARPACK).

    Args:
        multiply: x (Q,) → A x (Q,), float64 on the CPU.
        size: Q.
        seed: of Lanczos' first vector.

    >>> numbers = torch.linspace(-1, 9, 101, dtype=torch.float64)
    >>> found = spectrum(lambda x: numbers * x, 101, seed=0)
    >>> f"{found.smallest:.3f} {found.largest:.1f}"
    '-1.000 9.0'
    """
    if not size:
        return Spectrum(None, None, 0.0)
    if size <= DENSE:
        return _dense_spectrum(multiply, size)
    first = torch.randn(size, generator=generator(seed, "curvature", "start"), dtype=torch.float64)
    if not multiply(first).any():  # a random vector that it takes to 0: it is 0
        return Spectrum(0.0, 0.0, 0.0)
    top = _eigenvector(multiply, first, "LM", TOLERANCES[-1])
    # Without convergence, the power method's first step: enough to shift by.
    largest = _quotient(multiply, top)[0] if top is not None else float(multiply(first).norm() / first.norm())
    return _smallest(multiply, first, abs(largest))


def _smallest(multiply: Multiply, first: Float64[Tensor, " Q"], largest: float) -> Spectrum:
    """The smallest eigenvalue, by Lanczos on the shifted matrix: its tolerance is then relative to ``largest``."""

    def shifted(x: Float64[Tensor, " Q"]) -> Float64[Tensor, " Q"]:
        return multiply(x) - 2 * largest * x

    for tolerance in TOLERANCES:
        vector = _eigenvector(shifted, first, "SA", tolerance)
        if vector is not None:
            value, residual = _quotient(multiply, vector)
            return Spectrum(value, residual, max(largest, abs(value)))
    return Spectrum(None, None, largest)


def _dense_spectrum(multiply: Multiply, size: int) -> Spectrum:
    matrix = torch.stack([multiply(axis) for axis in torch.eye(size, dtype=torch.float64)])
    values, vectors = torch.linalg.eigh((matrix + matrix.T) / 2)
    value, residual = _quotient(lambda x: matrix.T @ x, vectors[:, 0])
    return Spectrum(value, residual, float(values.abs().amax()))


def _eigenvector(
    multiply: Multiply, first: Float64[Tensor, " Q"], which: Literal["LM", "SA"], tolerance: float
) -> Float64[Tensor, " Q"] | None:
    """The unit eigenvector of the largest |eigenvalue| or the smallest eigenvalue; None without convergence."""
    from scipy.sparse.linalg import ArpackError, LinearOperator, eigsh  # takes .3 seconds to import

    def matvec(x: Float[np.ndarray, "*Q"]) -> Float[np.ndarray, " Q"]:
        product: Float[np.ndarray, " Q"] = multiply(torch.from_numpy(x.reshape(-1).copy())).numpy()
        return product

    size = len(first)
    operator = LinearOperator((size, size), matvec=matvec, dtype=np.float64)
    try:
        _, vectors = eigsh(operator, 1, which=which, v0=first.numpy(), tol=tolerance, maxiter=RESTARTS)
    except ArpackError:  # mostly ArpackNoConvergence, which of one eigenvalue wanted holds none
        return None
    return torch.from_numpy(vectors[:, 0].copy())


def _quotient(multiply: Multiply, vector: Float64[Tensor, " Q"]) -> tuple[float, float]:
    """λ = vᵀAv of a unit vector, and ‖Av − λv‖."""
    product = multiply(vector)
    value = vector @ product
    return float(value), float((product - value * vector).norm())
