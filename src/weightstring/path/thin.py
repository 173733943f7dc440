"""Slope and curvature across a segment where only a few vectors as long as θ fit into memory.

Lanczos' recurrence, β_k q_{k+1} = A q_k − α_k q_k − β_{k−1} q_{k−1}, needs two vectors at a time. The tridiagonal
matrix T of α and β tells the ends of the spectrum without the eigenvectors, which would need all q_k: an eigenvalue of
T is one of A to within β_k |s_k|, s the last number of its eigenvector of T, and it lies in the spectrum of A up to
rounding, even where the q_k have lost their orthogonality (Paige 1980, Linear Algebra and its Applications 34).
Vectors have θ's dtype and device; sums are float64.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import torch

from weightstring.arrays import Theta, blocks, dot
from weightstring.path.lanczos import TOLERANCES, Spectrum
from weightstring.path.segment import Segment

STEPS = 24
"""Steps of the recurrence at most, each a product: without reorthogonalisation, many more would repeat eigenvalues."""

Multiply = Callable[[Theta], Theta]
"""The product of the matrix with a vector, in a tensor of its own."""


class Projection(NamedTuple):
    """The hyperplane perpendicular to a segment's direction n, in the coordinates of θ: n is never held."""

    segment: Segment

    @property
    def normal(self) -> Theta:
        """N (P,), a new tensor."""
        return torch.sub(self.segment.b, self.segment.a).div_(self.segment.length)

    def embed(self, x: Theta) -> Theta:
        """Coordinates are θ's own."""
        return x

    def restrict(self, vector: Theta) -> Theta:
        """V − (n·v) n, in place."""
        a, b, length = self.segment.a, self.segment.b, self.segment.length
        along = (dot(b, vector) - dot(a, vector)) / length**2
        for part in blocks(len(vector)):
            vector[part].sub_(b[part] - a[part], alpha=along)
        return vector


def spectrum_in_passing(multiply: Multiply, draw: Callable[[], Theta]) -> Spectrum:
    """The ends of the spectrum of a symmetric matrix, by at most :data:`STEPS` products; three vectors are held.

    Args:
        multiply: x (P,) → A x (P,), a new tensor each time.
        draw: Lanczos' first vector (P,), in the space looked at, a new tensor.

    Returns:
        The smallest eigenvalue of T, β_k |s_k| of it, and the largest |eigenvalue| of T.

    >>> numbers = torch.linspace(-1, 9, 1000)
    >>> found = spectrum_in_passing(lambda x: numbers * x, lambda: torch.ones(1000))
    >>> f"{found.smallest:.1f} {found.largest:.1f}"
    '-1.0 9.0'
    """
    diagonal, beside = list[float](), list[float]()
    q, before = draw(), None
    q.div_(_norm(q))
    while True:
        following = multiply(q)
        if before is not None:
            following.sub_(before, alpha=beside[-1])
        diagonal.append(dot(q, following))
        following.sub_(q, alpha=diagonal[-1])
        beside.append(_norm(following))
        values, vectors = np.linalg.eigh(np.diag(diagonal) + np.diag(beside[:-1], 1) + np.diag(beside[:-1], -1))
        largest, residual = float(np.abs(values).max()), beside[-1] * abs(float(vectors[-1, 0]))
        if residual <= TOLERANCES[-1] * largest or len(diagonal) == STEPS:
            return Spectrum(float(values[0]), residual, largest)
        before, q = q, following.div_(beside[-1])


def _norm(vector: Theta) -> float:
    return math.sqrt(dot(vector, vector))
