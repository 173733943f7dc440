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

from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property, partial

from torch import Tensor

from weightstring.arrays import Theta
from weightstring.errors import Unsupported
from weightstring.problem import Traceable
from weightstring.problem.once import once
from weightstring.theory.collinear_weights import least_with_collinear_weights
from weightstring.theory.exact import Whole, determinant, sign
from weightstring.theory.linear_layers import LinearLayers, may_apply, read_linear
from weightstring.theory.reading import SquaredSum, Squares, read
from weightstring.theory.singular_features import least_with_singular_features, preactivations, sign_of_determinant

LARGEST = 64
"""Sides of the determinants that are looked at."""

WIDEST = 16
"""Linear layers whose proofs are computed: in whole numbers this takes seconds."""

MOST_INPUTS = 2
"""For which collinear weights are searched."""

MOST_EXAMPLES = 20_000
"""Of which each changes sides at an angle of its own."""


@dataclass(frozen=True, eq=False)
class Route:
    """One way to prove a bound for a problem whose assumptions hold, but for the signs.

    Args:
        net: what the problem computes.
        sign: of a model's determinant, exact; 0: it is 0, or not known.
        rounded: the matrix in floating arithmetic, which proves nothing.
        bound: computes :attr:`least`.
        words: the argument, but for the bound.
    """

    net: SquaredSum
    sign: Callable[[Theta], int]
    rounded: Callable[[Theta], Tensor]
    bound: Callable[[], Fraction]
    words: str

    @cached_property
    def least(self) -> Fraction:
        """No more than Σ (f(x) − y)² wherever the determinant is 0. It depends on the data alone."""
        return self.bound()


@once
def routes(problem: Traceable) -> list[Route]:
    """All ways that apply to a problem's loss."""
    return [*_of_one_hidden(problem), *_of_linear_layers(problem)] if _fits(problem) else []


def _fits(problem: Traceable) -> bool:
    """Whether shapes leave room for a proof: quicker than reading the problem, and needed for every pair."""
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
