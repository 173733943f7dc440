"""Proofs that no path stays under a level, and whether such a proof stands beside a path.

The theorems are those of :mod:`weightstring.theory.sign_changes`. A proof is held against the straight line before
anything is concluded from it.
"""

from __future__ import annotations

import math
from fractions import Fraction

import torch

from weightstring.arrays import Theta, Values
from weightstring.errors import ProofContradicted, Unsupported
from weightstring.path import Proof, WeightString
from weightstring.problem import Traceable
from weightstring.proof.enclose.proving import certify
from weightstring.protocol import LossProblem
from weightstring.theory.exact import below
from weightstring.theory.sign_changes import Route, routes

SAMPLES = 32
"""Intervals of the line between the ends on which a proof is tried, besides where its determinant is 0."""

ROUNDING = 16
"""Units in the last place of the problem's dtype by which a bound is lowered: a sample on the wall itself is rounded,
and shall not seem to lie under it."""

NEAR = 1e-4
"""What samples of a path may miss of a bound, relative to it, if a certificate does not lie under it."""

HALVINGS = 60
"""Of the line, towards a place where a determinant is 0."""

CERTIFYING = 1000
"""Intervals, at most, of a certificate of a path whose samples do not reach a bound."""


def prove(problem: LossProblem, a: Theta, b: Theta, quantity: str = "loss") -> Proof | None:
    """The highest bound that a change of sign proves for every path between two models; None: no proof applies.

    What is bounded is the loss of the stored numbers in real arithmetic, as in certificates. A proof is held against
    the straight line before it is returned: if the line's samples stay below the bound, nothing is claimed.

    Args:
        problem: the loss.
        a: first end (P,).
        b: second end.
        quantity: what must stay under a level.

    Raises:
        ProofContradicted: the line is certified to lie under the bound, so that the proof is wrong.

    >>> from weightstring.theory.triangle import swapped_ends, swapped_triangle
    >>> triangle = swapped_triangle()
    >>> proof = prove(triangle, *swapped_ends(triangle))
    >>> round(proof.bound, 6)  # 1/6
    0.166667
    """
    if not isinstance(problem, Traceable) or quantity != "loss" or not _finite(a, b):
        return None
    proofs = [
        proof
        for route in routes(problem)
        if (proof := _proof(problem, route, a, b)) is not None and _holds_on_line(problem, route, a, b, proof)
    ]
    return max(proofs, key=lambda proof: proof.bound, default=None)


def stands(problem: LossProblem, proof: Proof, string: WeightString, height: float, what: str) -> bool:
    """Whether a proof stands beside a path between the same ends: where its samples reach the bound.

    Samples miss the top of a wall by a little. Where they miss it by more, either the proof is wrong or the wall is
    thinner than the spacing of the samples; then nobody can check the proof, and it is not used.

    Args:
        problem: the loss.
        proof: that every path climbs to its bound.
        string: the path.
        height: its largest sample.
        what: the path in words.

    Raises:
        ProofContradicted: the path is certified to lie under the bound.

    >>> from weightstring.theory.triangle import swapped_ends, swapped_triangle
    >>> triangle = swapped_triangle()
    >>> ends = swapped_ends(triangle)
    >>> line = WeightString(triangle, list(ends))
    >>> stands(triangle, prove(triangle, *ends), line, line.max_loss, "the line")
    True
    """
    if height >= proof.bound:
        return True
    near = height >= (1 - NEAR) * proof.bound
    try:
        upper = certify(problem, string, math.nextafter(proof.bound, 0.0), max_intervals=CERTIFYING).upper_bound
    except Unsupported:
        return near
    if upper < proof.bound:
        raise ProofContradicted(
            f"the proof of disconnection contradicts {what}: every path should climb to {proof.bound!r}, but this one "
            f"is certified to stay below {upper!r}. No verdict: this is a bug in weightstring, please report it; "
            "disprove=False searches without proofs"
        )
    return near


def _finite(*thetas: Theta) -> bool:
    return all(bool(theta.isfinite().all()) for theta in thetas)


def _proof(problem: Traceable, route: Route, a: Theta, b: Theta) -> Proof | None:
    # Where rounding leaves no doubt that the signs agree there is nothing to prove.
    guesses = [torch.linalg.slogdet(route.rounded(theta))[0] for theta in (a, b)]
    if len(route.net.inputs) > 8 and bool((guesses[0] * guesses[1] > 0).all()):
        return None
    try:
        if route.sign(a) * route.sign(b) >= 0:
            return None
        least = route.least
    except OverflowError:  # data that are not finite
        return None
    share = 1 - Fraction(ROUNDING * torch.finfo(problem.dtype).eps)
    bound = below(route.net.scale * least * share)
    if not torch.finfo(problem.dtype).tiny < bound < torch.finfo(problem.dtype).max:
        return None  # What the problem measures there underflows, or overflows.
    return Proof(bound, f"{route.words} somewhere, where the loss is at least {bound:.6g}.")


def _holds_on_line(problem: Traceable, route: Route, a: Theta, b: Theta, proof: Proof) -> bool:
    """Whether samples of the straight line reach the bound, as its maximum must if the proof is right.

    Raises:
        ProofContradicted: they do not, and the line is certified to be lower.
    """
    ts = torch.cat([torch.linspace(0, 1, SAMPLES + 1, dtype=torch.float64), _crossing(route, a, b)])
    thetas = torch.lerp(a, b, ts.to(a).unsqueeze(1))
    measured = problem.measure(thetas)["loss"]
    if not route.net.agrees(thetas, measured):
        return False
    line = WeightString(problem, [a, b])
    return stands(problem, proof, line, float(measured.max()), "the straight line between the ends")


def _crossing(route: Route, a: Theta, b: Theta) -> Values:
    """Positions on the line on both sides of a place where the determinant is 0, as close as floats go."""
    low, high = 0.0, 1.0

    def positive(t: float) -> bool:
        return float(torch.linalg.slogdet(route.rounded(torch.lerp(a, b, t)))[0]) > 0

    first = positive(0.0)
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        low, high = (middle, high) if positive(middle) == first else (low, middle)
    return torch.tensor([low, high], dtype=torch.float64)
