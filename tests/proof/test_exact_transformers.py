"""Attention of two tokens and two heads, and LayerNorm, of both implementations beside rational numbers.

Roots and exponentials have no exact rational values: each is replaced by two rationals less than 1e-50 apart between
which it lies, the root by an integer root of a scaled number, the exponential by its series and a bound of its rest.
"""

from __future__ import annotations

import dataclasses
from fractions import Fraction
from math import factorial, isqrt
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F  # noqa: N812 - its usual name
from torch import Tensor, nn

import weightstring as ws
from weightstring.proof.enclose.enclosing import Enclosing, enclosing
from weightstring.proof.enclose.enclosure import Enclosure
from weightstring.proof.enclose.intervals import Intervals
from weightstring.proof.verify import replay  # noqa: F401 - enters the rules
from weightstring.proof.verify.curves import Curve, multiply
from weightstring.proof.verify.normalising import standardised
from weightstring.proof.verify.operations import OPERATIONS, At
from weightstring.tracing.program import trace_mean

aten = torch.ops.aten
DIGITS = 10**60


def at_of(name: str, target: Any) -> At:
    return At(name, (0,), 1.0, 1.0, 1, torch.float64, lambda place: None, target)


NOWHERE = at_of("", None)
"""For operations that do not ask where they stand."""


def root(q: Fraction) -> tuple[Fraction, Fraction]:
    """Below and above √q."""
    found = isqrt(q.numerator * DIGITS**2 // q.denominator)
    return Fraction(found, DIGITS), Fraction(found + 1, DIGITS)


def exponential(q: Fraction) -> tuple[Fraction, Fraction]:
    """Below and above exp(q), |q| ≤ 8; the rest of the series is at most its next term times 2."""
    terms = 90
    series = sum((q**n / factorial(n) for n in range(terms)), Fraction(0))
    rest = 2 * abs(q) ** terms / factorial(terms)
    return series - rest, series + rest


def rational(values: np.ndarray, t: Fraction | None = None, ends: np.ndarray | None = None) -> list[Any]:
    exact = np.vectorize(lambda v: Fraction(float(v)), otypes=[object])(values)
    return exact if ends is None else exact * (1 - t) + rational(ends) * t


def held(curve: Curve, place: tuple[int, ...], s: Fraction, below: Fraction, above: Fraction) -> bool:
    value, slope, bend, error = (Fraction(float(part[place])) for part in curve.parts)
    centre = value + slope * s + bend * s * s
    return centre - error <= below and above <= centre + error


def moving(first: np.ndarray, last: np.ndarray) -> Curve:
    """From the one to the other, s from −1 to 1."""
    return Curve(first / 2 + last / 2, last / 2 - first / 2, *np.zeros((2, *first.shape)))


@pytest.mark.parametrize("width", [2.0**-8, 0.25])
def test_attention_of_two_tokens_and_two_heads_holds_its_exact_values(width):
    rng = np.random.default_rng(2)
    x = np.round(rng.standard_normal((1, 2, 2)) * 8) / 8
    ends = [np.round(rng.standard_normal((6, 2)) * 64) / 64 for _ in range(1)]
    ends.append(ends[0] + np.round(rng.standard_normal((6, 2)) * 64) / 64 * width)
    both = OPERATIONS["linear.default"](NOWHERE, x, moving(*ends))
    q, k, v = (
        OPERATIONS["transpose.int"](at_of("transpose.int", aten.transpose.int), part, 1, 2)
        for part in (Curve.of(p[..., i : i + 2].reshape(1, 2, 2, 1) for p in both.parts) for i in (0, 2, 4))
    )
    found = OPERATIONS["scaled_dot_product_attention.default"](NOWHERE, q, k, v)
    for s in (Fraction(-1), Fraction(1, 3), Fraction(1)):
        weight = rational(ends[0], (1 + s) / 2, ends[1])
        made = [[sum(weight[i][j] * Fraction(float(x[0, n, j])) for j in range(2)) for i in range(6)] for n in range(2)]
        for head in range(2):
            for n in range(2):
                lower, upper = zip(*(exponential(made[n][head] * made[m][2 + head]) for m in range(2)), strict=True)
                shares = lower[0] / (lower[0] + upper[1]), upper[0] / (upper[0] + lower[1])
                outs = [share * made[0][4 + head] + (1 - share) * made[1][4 + head] for share in shares]
                assert held(found, (0, head, n, 0), s, min(outs), max(outs))


@pytest.mark.parametrize("width", [2.0**-8, 0.25])
def test_layer_norm_holds_its_exact_values(width):
    rng = np.random.default_rng(4)
    first = np.round(rng.standard_normal((2, 4)) * 64) / 64
    last = first + np.round(rng.standard_normal((2, 4)) * 64) / 64 * width
    eps = 2.0**-10
    found = standardised(moving(first, last), eps)
    for s in (Fraction(-1), Fraction(-1, 7), Fraction(1)):
        for row, x in enumerate(rational(first, (1 + s) / 2, last)):
            centre = [v - sum(x) / 4 for v in x]
            below, above = root(sum(c * c for c in centre) / 4 + Fraction(eps))
            for i, c in enumerate(centre):
                ends = c / below, c / above
                assert held(found, (row, i), s, min(ends), max(ends))


def test_products_of_curves_hold_their_exact_values():
    rng = np.random.default_rng(5)
    x, y = (moving(*np.round(rng.standard_normal((2, 30)) * 2**20) / 2**20) for _ in range(2))
    found = multiply(multiply(x, y), multiply(x, y))
    for s in (Fraction(-1), Fraction(1, 3), Fraction(5, 7)):
        for i in range(30):
            exact = [Fraction(float(c.value[i])) + Fraction(float(c.slope[i])) * s for c in (x, y)]
            assert held(found, (i,), s, (exact[0] * exact[1]) ** 2, (exact[0] * exact[1]) ** 2)


# Of certify -----------------------------------------------------------------------------------------------------------


class Attending(nn.Module):
    """Two heads of one number over two tokens."""

    def __init__(self) -> None:
        super().__init__()
        self.qkv = nn.Linear(2, 6, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """(n, 2, 2) → (n, 4)."""
        q, k, v = (part.unflatten(2, (2, 1)).transpose(1, 2) for part in self.qkv(x).chunk(3, 2))
        return F.scaled_dot_product_attention(q, k, v).flatten(1)


class Normed(nn.Module):
    """LayerNorm of what a layer makes."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(2, 4, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """(n, 2, 2) → (n, 8)."""
        return F.layer_norm(self.layer(x), (4,), eps=2.0**-10).flatten(1)


def enclosed_outputs(net: nn.Module, x: np.ndarray, ends: list[np.ndarray]) -> Enclosure:
    """Of one example on the whole segment between two weights."""
    targets = torch.zeros(1, len(net.double()(torch.tensor(x))[0]), dtype=torch.float64)
    problem = ws.ModuleProblem(net, F.mse_loss, (torch.tensor(x), targets), dtype=torch.float64)
    beads = torch.stack([torch.tensor(end).flatten() for end in ends])
    whole: Enclosing = enclosing(problem, beads, "loss", 1 << 28)
    _, _, examples, _ = problem.traceable("loss")
    alone = dataclasses.replace(whole, program=trace_mean(net, lambda output, _: output, examples))
    return alone.outputs(Intervals(torch.tensor([0]), torch.zeros(1).double(), torch.ones(1).double()))


def inside(found: Enclosure, k: int, s: Fraction, below: Fraction, above: Fraction) -> bool:
    low, middle, high = (Fraction(float(node[0, 0, k])) for node in found.nodes)
    centre = middle + s * ((high - low) / 2 + s * ((low + high) / 2 - middle))
    radius = Fraction(float(found.radius[0, 0, k]))
    return centre - radius <= below and above <= centre + radius


def two_ends(rows: int, width: float, seed: int) -> list[np.ndarray]:
    rng = np.random.default_rng(seed)
    first = np.round(rng.standard_normal((rows, 2)) * 64) / 64
    return [first, first + np.round(rng.standard_normal((rows, 2)) * 64) / 64 * width]


X = np.array([[[1.0, -0.5], [0.25, 0.75]]])
PLACES = (Fraction(-1), Fraction(1, 3), Fraction(1))


def exact_rows(ends: list[np.ndarray], s: Fraction) -> list[list[Any]]:
    """What a layer makes of the two tokens."""
    weight = rational(ends[0], (1 + s) / 2, ends[1])
    return [[sum(w * Fraction(float(v)) for w, v in zip(row, token, strict=True)) for row in weight] for token in X[0]]


@pytest.mark.many(quick=1)
@pytest.mark.parametrize("width", [2.0**-8, 0.25])
def test_enclosures_of_attention_hold_its_exact_values(width: float) -> None:
    ends = two_ends(6, width, 2)
    found = enclosed_outputs(Attending(), X, ends)
    for s in PLACES:
        made = exact_rows(ends, s)
        for head in range(2):
            for n in range(2):
                lower, upper = zip(*(exponential(made[n][head] * made[m][2 + head]) for m in range(2)), strict=True)
                shares = lower[0] / (lower[0] + upper[1]), upper[0] / (upper[0] + lower[1])
                outs = [share * made[0][4 + head] + (1 - share) * made[1][4 + head] for share in shares]
                assert inside(found, 2 * head + n, s, min(outs), max(outs))


@pytest.mark.many(quick=1)
@pytest.mark.parametrize("width", [2.0**-8, 0.25])
def test_enclosures_of_layer_norm_hold_its_exact_values(width: float) -> None:
    ends = two_ends(4, width, 4)
    found = enclosed_outputs(Normed(), X, ends)
    for s in PLACES:
        for n, row in enumerate(exact_rows(ends, s)):
            centre = [v - sum(row) / 4 for v in row]
            below, above = root(sum(c * c for c in centre) / 4 + Fraction(2.0**-10))
            for i, c in enumerate(centre):
                assert inside(found, 4 * n + i, s, min(c / below, c / above), max(c / below, c / above))
