"""Slope and curvature across a segment where only a few vectors as long as θ fit into memory.

Lanczos' recurrence, β_k q_{k+1} = A q_k − α_k q_k − β_{k−1} q_{k−1}, needs two vectors at a time; an eigenvector of A
needs all q_k. So the recurrence runs twice: once for the tridiagonal matrix of α and β, once more to add the q_k up
(Cullum and Willoughby, Lanczos Algorithms for Large Symmetric Eigenvalue Computations, chapter 4). Vectors have θ's
dtype and device; sums are float64.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
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


def spectrum_in_two_passes(multiply: Multiply, draw: Callable[[], Theta]) -> Spectrum:
    """The ends of the spectrum of a symmetric matrix, by at most 2 · :data:`STEPS` products; four vectors are held.

    Args:
        multiply: x (P,) → A x (P,), a new tensor each time.
        draw: Lanczos' first vector (P,), in the space looked at: the same each time, a new tensor.

    Returns:
        λ = vᵀAv of the unit vector v that the second pass makes of the smallest Ritz value's, its residual ‖Av − λv‖,
        and the largest |Ritz value|.

    >>> numbers = torch.linspace(-1, 9, 1000)
    >>> found = spectrum_in_two_passes(lambda x: numbers * x, lambda: torch.ones(1000))
    >>> f"{found.smallest:.1f} {found.largest:.1f}"
    '-1.0 9.0'
    """
    diagonal, beside = list[float](), list[float]()
    q, before = _unit(draw()), None
    while True:
        following = _product(multiply, q, before, beside)
        diagonal.append(dot(q, following))
        following.sub_(q, alpha=diagonal[-1])
        beside.append(_norm(following))
        values, vectors = np.linalg.eigh(np.diag(diagonal) + np.diag(beside[:-1], 1) + np.diag(beside[:-1], -1))
        largest, weights = float(np.abs(values).max()), vectors[:, 0].tolist()
        if beside[-1] * abs(weights[-1]) <= TOLERANCES[-1] * largest or len(diagonal) == STEPS:
            break
        before, q = q, following.div_(beside[-1])
    del before, following
    vector = _ritz_vector(multiply, draw, diagonal, beside, weights)
    product = multiply(vector)
    value = dot(vector, product)
    return Spectrum(value, _norm(product.sub_(vector, alpha=value)), max(largest, abs(value)))


def _ritz_vector(
    multiply: Multiply,
    draw: Callable[[], Theta],
    diagonal: Sequence[float],
    beside: Sequence[float],
    weights: Sequence[float],
) -> Theta:
    """The unit vector of Σ weight_k q_k, along the same recurrence again."""
    q, before = _unit(draw()), None
    vector = q * weights[0]
    for k, weight in enumerate(weights[1:]):
        following = _product(multiply, q, before, beside[:k])
        before, q = q, following.sub_(q, alpha=diagonal[k]).div_(beside[k])
        del following
        vector.add_(q, alpha=weight)
    return _unit(vector)


def _product(multiply: Multiply, q: Theta, before: Theta | None, beside: Sequence[float]) -> Theta:
    """A q_k − β_{k−1} q_{k−1}."""
    product = multiply(q)
    return product if before is None else product.sub_(before, alpha=beside[-1])


def _unit(vector: Theta) -> Theta:
    """A vector divided by its length, in place."""
    return vector.div_(_norm(vector))


def _norm(vector: Theta) -> float:
    return math.sqrt(dot(vector, vector))
