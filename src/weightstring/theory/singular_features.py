r"""As many units as examples: the sign of det ρ(WX + b), and the least loss where that is 0.

Proofs: docs/theory/disconnection.md.
"""

from __future__ import annotations

import decimal
import math
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
import torch
from jaxtyping import Float64
from torch import Tensor

from weightstring.theory.exact import Whole, determinant, enclosed, sign

UNIT = 2.0**-53
"""Half the distance of 1 to the next float."""

ATTEMPTS = 6
"""At a lower bound of an eigenvalue, each with more room for rounding."""

SIGMOID_UNITS = 12
"""The most units whose logistic features are looked at: their determinants are tiny, and take many digits."""

STEEP = 10_000
"""Beyond ± this the logistic function is not computed."""


@dataclass(frozen=True)
class Features:
    """Enclosures of ρ(WX + b) (m units, N examples): (rows ± radius) times a positive number.

    Args:
        rows: whole numbers.
        radius: of each; 0: they are exact.
    """

    rows: tuple[tuple[int, ...], ...]
    radius: int = 0


Activation = Callable[[Whole], Features | None]
"""ρ of exact numbers: continuous, never negative; None: it cannot be enclosed there."""


def clamped(low: float, high: float) -> Activation:
    """max(low, min(z, high)), with 0 ≤ low ≤ high: ReLU is (0, inf).

    >>> import torch
    >>> clamped(0.0, math.inf)(Whole.of(torch.tensor([[1.5, -2.0]])))
    Features(rows=((3, 0),), radius=0)
    """

    def features(z: Whole) -> Features:
        limits = [
            Whole.of(torch.tensor([[value]], dtype=torch.float64)) for value in (low, high) if math.isfinite(value)
        ]
        exponent = min(z.exponent, *(limit.exponent for limit in limits))
        least, *most = (limit.to(exponent).rows[0][0] for limit in limits)
        rows = z.to(exponent).rows
        return Features(tuple(tuple(min([max(n, least), *most]) for n in row) for row in rows))

    return features


def hard_sigmoid(z: Whole) -> Features:
    """max(0, min(z/6 + 1/2, 1)), times 6.

    >>> import torch
    >>> hard_sigmoid(Whole.of(torch.tensor([[1.0, -4.0, 3.0]])))
    Features(rows=((4, 0, 6),), radius=0)
    """
    exponent = min(z.exponent, 0)
    one = 1 << -exponent
    return Features(tuple(tuple(min(max(n + 3 * one, 0), 6 * one) for n in row) for row in z.to(exponent).rows))


def sigmoid(z: Whole) -> Features | None:
    """1/(1 + exp(−z)): ``decimal`` rounds the exponential correctly.

    >>> import torch
    >>> found = sigmoid(Whole.of(torch.tensor([[0.0]])))
    >>> found.rows[0][0] - found.radius <= found.radius + found.rows[0][0]
    True
    """
    count, z = len(z.rows), z.to(min(z.exponent, 0))
    if count > SIGMOID_UNITS or any(abs(n) > STEEP << -z.exponent for row in z.rows for n in row):
        return None
    digits = 40 + 20 * count
    with decimal.localcontext() as context:
        context.prec = digits + 10
        context.Emax, context.Emin = decimal.MAX_EMAX, decimal.MIN_EMIN
        unit = decimal.Decimal(10) ** digits
        scale = decimal.Decimal(2) ** -z.exponent

        def at(number: int) -> int:
            # Four roundings of digits + 10 places, of which that of z counts |z| ≤ STEEP times: under a unit.
            return int(unit / (1 + (-decimal.Decimal(number) / scale).exp()))

        return Features(tuple(tuple(map(at, row)) for row in z.rows), 2)


def sign_of_determinant(features: Features) -> int:
    r"""±1; 0 where it is 0, or where the radius leaves it open.

    Replacing row after row changes a determinant by Σ_i ‖E_i‖₁ ∏_{j≠i} (‖M_j‖₁ + ‖E_j‖₁) at most.

    >>> sign_of_determinant(Features(((0, 1), (1, 0))))
    -1
    """
    value = determinant(features.rows)
    if features.radius:
        spread = features.radius * len(features.rows)
        sizes = [sum(map(abs, row)) + spread for row in features.rows]
        if abs(value) <= spread * sum(math.prod(sizes[:i] + sizes[i + 1 :]) for i in range(len(sizes))):
            return 0
    return sign(value)


def preactivations(weights: Whole, bias: Whole | None, inputs: Whole) -> Whole:
    """Wx + b (m, N), exact: W (m, d), b (1, m), x (N, d)."""
    exponent = weights.exponent + inputs.exponent
    shifts = bias.rows[0] if bias is not None else (0,) * len(weights.rows)
    shift = exponent if bias is None else min(exponent, bias.exponent)
    up = exponent - shift
    added = 0 if bias is None else bias.exponent - shift
    rows = tuple(
        tuple((sum(w * x for w, x in zip(row, example, strict=True)) << up) + (b << added) for example in inputs.rows)
        for row, b in zip(weights.rows, shifts, strict=True)
    )
    return Whole(rows, shift)


def least_with_singular_features(targets: Float64[Tensor, "N c"]) -> Fraction:
    r"""No more than ‖βH − Yᵀ‖² for any singular H (N, N) ≥ 0 and any β: min ‖Yᵀc‖² over unit c without a strict sign.

    With G = YYᵀ (N, N), a number ν is such a bound if G − νI ⪰ 0; or if G − νI without row and column j ⪰ 0 for
    every j, and some c with a strict sign has cᵀGc < ν‖c‖². Both are verified, not computed.

    Raises:
        OverflowError: a target is not finite.

    >>> import torch
    >>> targets = torch.tensor([[1.0, 0.0], [0.0, 0.8]], dtype=torch.float64)
    >>> round(float(least_with_singular_features(targets)), 6)
    0.64
    """
    exact = Whole.of(targets)
    count, whole = len(exact.rows), exact.squares
    if count == 1 or not whole:
        return whole  # One unit that is singular is 0, and so is the output.
    # By powers of two, so that G has a trace of about 1.
    down = _halvings(whole)
    gram, error = _gram(exact, down)
    unit = Fraction(4) ** down
    least = Fraction(_least_eigenvalue(gram, error)) * unit
    rest = [np.delete(np.arange(count), j) for j in range(count)]
    higher = min(_least_eigenvalue(gram[np.ix_(keep, keep)], error) for keep in rest)
    inside = np.linalg.eigh(gram)[1][:, 0]
    raised = Fraction(higher) * unit
    if (inside > 0).all() or (inside < 0).all():
        c = [Fraction(float(value)) for value in inside]
        reached = sum(
            sum(a * y for a, y in zip(c, column, strict=True)) ** 2 for column in zip(*exact.rows, strict=True)
        )
        if reached * Fraction(4) ** exact.exponent < raised * sum(a * a for a in c):
            return max(least, raised)
    return max(least, Fraction(0))


def _halvings(value: Fraction) -> int:
    """The k with value / 4^k about 1."""
    return (value.numerator.bit_length() - value.denominator.bit_length()) // 2


def _gram(targets: Whole, down: int) -> tuple[np.ndarray, float]:
    """YYᵀ / 4^down, and by how much an entry of it is wrong at most."""
    shift = 2 * (targets.exponent - down)
    gram = np.array(
        [
            [enclosed(sum(y * z for y, z in zip(one, two, strict=True)), shift)[0] for two in targets.rows]
            for one in targets.rows
        ]
    )
    return gram, float(np.abs(gram).max()) * 2 * UNIT + 2.0**-900


def _least_eigenvalue(matrix: np.ndarray, error: float) -> float:
    """No more than the least eigenvalue of a semidefinite matrix, whose entries are known up to ``error``.

    For A − λI = RRᵀ + E the least eigenvalue of A is at least λ − ‖E‖_F, whatever R is: only E is bounded here, with
    |fl(RRᵀ) − RRᵀ| ≤ γ_n |R||R|ᵀ in any order of summation (N. J. Higham, 2002, §3.5).
    """
    count = len(matrix)
    guess = float(np.linalg.eigvalsh(matrix)[0])
    room = 4 * count * (UNIT * float(np.trace(matrix)) + error)
    for _ in range(ATTEMPTS):
        shifted = matrix - (guess - room) * np.eye(count)
        try:
            root = np.linalg.cholesky(shifted)
        except np.linalg.LinAlgError:
            room *= 8
            continue
        if np.isfinite(root).all():
            gap = np.abs(shifted - root @ root.T)
            gamma = (count + 4) * 2 * UNIT
            wrong = (
                gap + gamma * (np.abs(root) @ np.abs(root).T) + 2 * UNIT * (np.abs(shifted) + np.abs(matrix)) + error
            )
            # Its own rounding is far under a thousandth; 2^-900 a place is more than underflow can take.
            norm = 1.001 * float(np.linalg.norm(wrong)) + count * 2.0**-400
            return max(math.nextafter(guess - room - norm, -math.inf), 0.0)
        room *= 8
    return 0.0
