r"""No less than the least squared loss over matrices of low rank: λ* of Section III.A, proved.

For X (N, d) and Y (N, c) let M = YᵀX(XᵀX)⁻¹XᵀY (c, c). By Eckart and Young

    min over rank P ≤ q of ‖Y − XPᵀ‖² = ‖Y‖² − tr M + Σ_{i > q} λ_i(M),

λ_1 ≥ λ_2 ≥ … its eigenvalues. M is rational, and computed as that. With any V, D ≥ 0 of floats, M = V D Vᵀ + E and
‖VᵀV − I‖_F ≤ δ < 1: λ_i(V D Vᵀ) ≥ (1 − δ) d_i (Ostrowski), and λ_i(M) ≥ λ_i(V D Vᵀ) − ‖E‖_F (Weyl).
"""

# ruff: noqa: N803, N806 (the symbols of the paper are capitals)

from __future__ import annotations

import math
from collections.abc import Sequence
from fractions import Fraction

import torch
from torch import Tensor

from weightstring.theory.exact import Whole, scaled

Rational = list[list[Fraction]]


def least_with_rank(inputs: Tensor, targets: Tensor, rank: int) -> Fraction:
    """No more than Σ (P x − y)² for any matrix P (c, d) of at most this rank; 0 where nothing is proved.

    Args:
        inputs: x, (N, d).
        targets: y, (N, c).
        rank: of P, at least 0.

    Raises:
        OverflowError: a number is not finite.

    >>> x = torch.eye(2, dtype=torch.float64)
    >>> [float(least_with_rank(x, torch.diag(torch.tensor([3.0, 2.0]).double()), rank)) for rank in (0, 1, 2)]
    [13.0, 4.0, 0.0]
    """
    X, Y = Whole.of(inputs), Whole.of(targets)
    columns = _independent(X.rows)
    X_rows = [[row[k] for k in columns] for row in X.rows]
    G, A = _gram(X_rows, X_rows), _gram(Y.rows, X_rows)  # in units of 2^2x and 2^(x+y), which M has none of
    solved = _solved(G, [list(column) for column in zip(*A, strict=True)]) if columns else []
    width = len(Y.rows[0])
    unit = scaled(1, 2 * Y.exponent)
    M = [
        [sum((a * s[j] for a, s in zip(A[i], solved, strict=True)), Fraction(0)) * unit for j in range(width)]
        for i in range(width)
    ]
    outside = Y.squares - sum((M[i][i] for i in range(width)), Fraction(0))
    return max(outside, Fraction(0)) + _tail(M, rank)


def _tail(M: Rational, rank: int) -> Fraction:
    """No more than the sum of all eigenvalues of M ⪰ 0 but the largest ``rank``."""
    count = len(M)
    if rank >= count:
        return Fraction(0)
    largest = max(abs(entry) for row in M for entry in row)
    if not largest:
        return Fraction(0)
    # Floats see M at a scale of its own, so that nothing overflows or underflows.
    scale = scaled(1, largest.numerator.bit_length() - largest.denominator.bit_length())
    rounded = torch.tensor([[float(entry / scale) for entry in row] for row in M], dtype=torch.float64)
    values, vectors = torch.linalg.eigh(rounded)
    d = [Fraction(max(value, 0.0)) for value in values.tolist()]
    V = [[Fraction(entry) for entry in row] for row in vectors.tolist()]
    rows = range(count)
    delta = _root(sum((sum(V[k][i] * V[k][j] for k in rows) - (i == j)) ** 2 for i in rows for j in rows))
    error = _root(sum((M[i][j] / scale - sum(V[i][k] * d[k] * V[j][k] for k in rows)) ** 2 for i in rows for j in rows))
    kept = sorted(d)[: count - rank]
    return max(Fraction(0), (1 - delta) * sum(kept, Fraction(0)) - (count - rank) * error) * scale


def _root(square: Fraction | int) -> Fraction:
    """No less than the square root of a number that is not negative."""
    value = Fraction(square)
    if not value:
        return value
    bits = 2 * max(0, 60 - (value.numerator.bit_length() - value.denominator.bit_length()) // 2)
    return Fraction(math.isqrt((value.numerator << bits) // value.denominator + 1) + 1, 1 << bits // 2)


def _independent(rows: Sequence[Sequence[int]]) -> list[int]:
    """Columns of a matrix of whole numbers that span all of them, and are linearly independent."""
    basis: list[tuple[int, list[Fraction]]] = []
    chosen: list[int] = []
    gram = _gram(rows, rows)  # has the same dependences between its columns, and fewer rows
    for k in range(len(gram)):
        left = [Fraction(gram[i][k]) for i in range(len(gram))]
        for pivot, vector in basis:
            if left[pivot]:
                share = left[pivot] / vector[pivot]
                left = [one - share * other for one, other in zip(left, vector, strict=True)]
        place = next((i for i, entry in enumerate(left) if entry), None)
        if place is not None:
            basis.append((place, left))
            chosen.append(k)
    return chosen


def _gram(one: Sequence[Sequence[int]], two: Sequence[Sequence[int]]) -> list[list[int]]:
    """The product oneᵀ two."""
    columns = list(zip(*two, strict=True))
    return [[sum(a * b for a, b in zip(x, y, strict=True)) for y in columns] for x in zip(*one, strict=True)]


def _solved(G: Sequence[Sequence[int]], B: Sequence[Sequence[int]]) -> Rational:
    """G⁻¹B of a regular matrix of whole numbers, by elimination."""
    left = [[Fraction(n) for n in (*g, *b)] for g, b in zip(G, B, strict=True)]
    count = len(left)
    for k in range(count):
        pivot = next(i for i in range(k, count) if left[i][k])
        left[k], left[pivot] = left[pivot], left[k]
        top = [n / left[k][k] for n in left[k]]
        left = [
            top if i == k else [n - row[k] * m for n, m in zip(row, top, strict=True)] if row[k] else row
            for i, row in enumerate(left)
        ]
    return [row[count:] for row in left]
