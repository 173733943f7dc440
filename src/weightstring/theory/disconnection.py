r"""Proofs that no path stays under a level: a determinant changes its sign on the way.

One hidden layer, f(x) = β ρ(Wx + b), with a squared loss and without output bias. If the number m of hidden units
equals the number of examples, the features H = ρ(WX + b) are square; if it equals the number of inputs and there is no
b, W is. Where the sign of its determinant differs at the ends, every path between them passes a point where the matrix
is singular. Γ is at least the least loss that is possible there.

- H singular and ρ ≥ 0: H c = 0 for some c ≠ 0, so that the output F = βH misses the direction c, and
  ‖F − Y‖² ≥ ‖Yc‖²/‖c‖². Rows of H are not negative: unless H vanishes on it, c has no strict sign
  (``singular_features``).
- W singular: its rows are multiples of one v, and a ReLU unit is a multiple of ρ(v·x) or of ρ(−v·x). What is left is
  one angle to search (``collinear_weights``).

Linear layers W_K ⋯ W_1 x, any number of them: where a product of some of them is square and no wider than inputs and
outputs, and its determinant changes its sign, the product of all is of lower rank somewhere (``linear_layers``).

An odd permutation of the hidden units is such a change of sign, and leaves the function as it is. Statements, proofs
and where each assumption is checked stand in docs/theory/disconnection.md.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from fractions import Fraction
from functools import partial
from typing import NamedTuple
from weakref import WeakKeyDictionary

import torch
from jaxtyping import Float64
from torch import Tensor, nn

from weightstring.arrays import Theta, Values
from weightstring.errors import InvalidSetting, ProofContradicted, Unsupported
from weightstring.path import Proof, WeightString
from weightstring.problem import ModuleProblem, Traceable
from weightstring.proof.enclose.proving import certify
from weightstring.protocol import LossProblem, Recipe
from weightstring.theory.collinear_weights import least_with_collinear_weights
from weightstring.theory.exact import Whole, below, determinant, sign
from weightstring.theory.linear_layers import LinearLayers, may_apply, read_linear
from weightstring.theory.one_hidden import OneHidden
from weightstring.theory.reading import Read, Squares, agrees, read
from weightstring.theory.singular_features import least_with_singular_features, preactivations, sign_of_determinant
from weightstring.theory.squares import squared_distance

LARGEST = 64
"""Sides of the determinants that are looked at."""

WIDEST = 16
"""Linear layers whose proofs are computed: in whole numbers this takes seconds."""

MOST_INPUTS = 2
"""For which collinear weights are searched."""

MOST_EXAMPLES = 20_000
"""Of which each changes sides at an angle of its own."""

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


class Route(NamedTuple):
    """One way to prove a bound for a problem whose assumptions hold, but for the signs.

    Args:
        net: what the problem computes.
        sign: of a model's determinant, exact; 0: it is 0, or not known.
        rounded: the matrix in floating arithmetic, which proves nothing.
        least: no more than Σ (f(x) − y)² wherever the determinant is 0.
        words: the argument, but for the bound.
    """

    net: Read
    sign: Callable[[Theta], int]
    rounded: Callable[[Theta], Tensor]
    least: Callable[[], Fraction]
    words: str


def prove(problem: LossProblem, a: Theta, b: Theta, quantity: str = "loss") -> Proof | None:
    """The highest bound that a change of sign proves for every path between two models; None: no proof applies.

    What is bounded is the loss of the stored numbers in real arithmetic, as in certificates. A proof is held against
    the straight line before it is returned: where samples of that lie under it, nothing is claimed.

    Args:
        problem: the loss.
        a: first end (P,).
        b: second end.
        quantity: what must stay under a level.

    Raises:
        ProofContradicted: the line is certified to lie under the bound, so that the proof is wrong.

    >>> triangle = swapped_triangle()
    >>> proof = prove(triangle, *swapped_ends(triangle))
    >>> round(proof.bound, 6)  # 1/6
    0.166667
    """
    if not isinstance(problem, Traceable) or quantity != "loss" or not _fits(problem) or not _finite(a, b):
        return None
    found = [
        proof
        for route in (*_of_one_hidden(problem), *_of_linear_layers(problem))
        if (proof := _proof(problem, route, a, b)) is not None and _holds_on_line(problem, route, a, b, proof)
    ]
    return max(found, key=lambda proof: proof.bound, default=None)


def stands(problem: LossProblem, proof: Proof, string: WeightString, height: float, what: str) -> bool:
    """Whether a proof stands beside a path between the same ends: where its samples reach the bound.

    Samples miss the top of a wall by a little. Where they miss it by more, either the proof is wrong, or the wall is
    thinner than the samples are close: then nobody could check the proof, and it should not be used.

    Args:
        problem: the loss.
        proof: that every path climbs to its bound.
        string: the path.
        height: its largest sample.
        what: the path in words.

    Raises:
        ProofContradicted: the path is certified to lie under the bound.

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
            f"the proof of disconnection contradicts {what}: every path should climb to {proof.bound!r}, and this one "
            f"is certified to be nowhere above {upper!r}; this is a bug of weightstring: no verdict. Please report it; "
            "disprove=False searches without proofs"
        )
    return near


def _fits(problem: Traceable) -> bool:
    """Whether shapes leave room for a proof. Reading a problem takes longer, and this is asked of every pair."""
    try:
        examples = problem.traceable("loss").examples
    except Unsupported:
        return False
    inputs, targets = examples.leaves[0], examples.targets
    if len(examples.leaves) != 1 or inputs.ndim != 2 or targets.ndim != 2 or not targets.is_floating_point():
        return False
    count, width = inputs.shape
    if may_apply(problem):
        return True
    square = [count] * (count <= LARGEST) + [width] * (width <= MOST_INPUTS and count <= MOST_EXAMPLES)
    entries = problem.layout.entries
    return len(entries) <= 3 and any(
        len(e.shape) == 2 and e.shape[0] in square and e.shape[1] == width for e in entries
    )


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
        least = _least(problem, route)
    except OverflowError:  # data that are not finite
        return None
    share = 1 - Fraction(ROUNDING * torch.finfo(problem.dtype).eps)
    bound = below(route.net.scale * least * share)
    if not torch.finfo(problem.dtype).tiny < bound < torch.finfo(problem.dtype).max:
        return None  # What the problem measures there underflows, or overflows.
    return Proof(bound, f"{route.words} somewhere, where the loss is at least {bound:.6g}.")


_LEAST: WeakKeyDictionary[Traceable, dict[str, Fraction]] = WeakKeyDictionary()
"""It depends on the data alone, and every pair asks for it."""


def _least(problem: Traceable, route: Route) -> Fraction:
    known = _LEAST.setdefault(problem, {})
    if route.words not in known:
        known[route.words] = route.least()
    return known[route.words]


def _holds_on_line(problem: Traceable, route: Route, a: Theta, b: Theta, proof: Proof) -> bool:
    """Whether samples of the straight line reach the bound, as its maximum must if the proof is right.

    Raises:
        ProofContradicted: they do not, and the line is certified to be lower.
    """
    ts = torch.cat([torch.linspace(0, 1, SAMPLES + 1, dtype=torch.float64), _crossing(route, a, b)])
    thetas = torch.lerp(a, b, ts.to(a).unsqueeze(1))
    measured = problem.measure(thetas)["loss"]
    if not agrees(route.net, thetas, measured):
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


def _sign_of_features(net: Squares, theta: Theta) -> int:
    inner, bias, _ = net.layers(theta)
    z = preactivations(Whole.of(inner), None if bias is None else Whole.of(bias), Whole.of(net.inputs))
    assert net.rho.exact is not None
    features = net.rho.exact(z)
    return 0 if features is None else sign_of_determinant(features)


def _sign_of_weights(net: Squares, theta: Theta) -> int:
    return sign(determinant(Whole.of(net.layers(theta).inner).rows))


def _least_with_singular_weights(net: Squares) -> Fraction:
    targets = net.targets.double()
    # One unit that is singular has weight 0, and the output is 0.
    return (
        Whole.of(targets).squares
        if net.inputs.shape[1] == 1
        else least_with_collinear_weights(net.inputs.double(), targets)
    )


def _features_apply(net: Squares) -> bool:
    units, examples = net.units, len(net.inputs)
    return units == examples <= LARGEST and net.rho.exact is not None


def _weights_apply(net: Squares) -> bool:
    units, width = net.units, net.inputs.shape[1]
    bounded = len(net.inputs) <= MOST_EXAMPLES
    return units == width <= MOST_INPUTS and bounded and net.names[1] is None and net.rho.homogeneous


def _of_one_hidden(problem: Traceable) -> list[Route]:
    """By the features and by the weights of one hidden layer."""
    net = read(problem)
    if net is None:
        return []
    routes = []
    if _features_apply(net):
        routes.append(
            Route(
                net,
                partial(_sign_of_features, net),
                net.features,
                lambda: least_with_singular_features(net.targets.double()),
                f"There are as many hidden units as examples ({net.units}), and the determinant of the features "
                "changes its sign: on every path they are singular",
            )
        )
    if _weights_apply(net):
        routes.append(
            Route(
                net,
                partial(_sign_of_weights, net),
                lambda theta: net.layers(theta).inner.double(),
                lambda: _least_with_singular_weights(net),
                f"There are as many hidden units as inputs ({net.units}), and the determinant of their weights "
                "changes its sign: on every path they are collinear",
            )
        )
    return routes


def _of_linear_layers(problem: Traceable) -> list[Route]:
    """By each square product of linear layers."""
    net = read_linear(problem) if may_apply(problem) else None
    if net is None or max(net.widths) > WIDEST or len(net.inputs) > MOST_EXAMPLES:
        return []
    return [_of_square(net, i, j) for i, j in net.squares]


def _of_square(net: LinearLayers, i: int, j: int) -> Route:
    rank = net.widths[i]
    layers = f"layer {j}, which is square," if j == i + 1 else f"the product of layers {i + 1} to {j}, which is square,"
    return Route(
        net,
        lambda theta: sign(determinant(net.exact(theta, i, j))),
        lambda theta: net.rounded(theta, i, j),
        lambda: net.least(rank - 1),
        f"The network is linear, and the determinant of {layers} changes its sign: on every path it is singular, and "
        f"the product of all layers of rank at most {rank - 1},",
    )


def swapped_triangle(points: Float64[Tensor, "3 2"] | None = None) -> ModuleProblem:
    r"""Appendix E: the network 2-3-2 with one ReLU layer and no biases that maps x1 → x2 → x3 → x1.

    For the equilateral triangle with circumradius 1 about the origin every path from θ to its copy with two hidden
    units swapped climbs to 1/6; a 3-cycle of units changes no sign.

    Args:
        points: other triangles.

    >>> swapped_triangle().size
    12
    """
    if points is None:
        angles = torch.tensor([math.pi / 2 + 2 * math.pi * k / 3 for k in range(3)], dtype=torch.float64)
        points = torch.stack([angles.cos(), angles.sin()], 1)
    net = nn.Sequential(nn.Linear(2, 3, bias=False), nn.ReLU(), nn.Linear(3, 2, bias=False)).double()
    recipe = Recipe("adam", {"lr": 0.02}, check_every=10, max_steps=2_000)
    return ModuleProblem(
        net, squared_distance, (points, points.roll(-1, 0)), batch_size=None, recipe=recipe, engine="stack"
    )


def swapped_ends(
    triangle: ModuleProblem, units: Sequence[int] = (1, 0, 2), sizes: Sequence[float] | None = None
) -> tuple[Theta, Theta]:
    """A model of loss 0 for :func:`swapped_triangle`, one unit an example, and its copy with permuted hidden units.

    Args:
        triangle: the problem.
        units: the permutation.
        sizes: norms of the units' input weights, which their output weights make up for.

    Raises:
        InvalidSetting: the origin is not inside the triangle, so that no unit sees one example alone.
    """
    parts = OneHidden.of(triangle)
    points = parts.inputs
    # Unit i is orthogonal to the next example and sees its own; the origin is inside, so the third lies behind it.
    across = points.roll(-1, 0) @ torch.tensor([[0.0, 1.0], [-1.0, 0.0]], dtype=torch.float64)
    inner = across * (across * points).sum(1, keepdim=True).sign()
    if sizes is not None:
        norms = torch.tensor(sizes, dtype=torch.float64) / torch.linalg.vector_norm(inner, dim=1)
        inner = inner * norms.unsqueeze(1)
    seen = inner @ points.T
    behind = [float(seen[i, i - 1]) for i in range(3)]
    if not bool((seen.diagonal() > 0).all()) or max(behind) >= 0:
        raise InvalidSetting(f"swapped_ends: the origin is not inside the triangle {points.tolist()}; move it there")
    outer = (parts.targets / seen.diagonal().unsqueeze(1)).T
    order = list(units)
    pairs = [(inner, outer), (inner[order], outer[:, order])]
    first, last = (torch.cat([w.flatten(), beta.flatten()]) for w, beta in pairs)
    return first, last
