r"""Proofs that no path stays under a level: a determinant changes its sign on the way.

One hidden layer, f(x) = β ρ(Wx + b), with a squared loss and without output bias. If the number m of hidden units
equals the number of examples, the features H = ρ(WX + b) are square; if it equals the number of inputs and there is no
b, W is. Where the sign of its determinant differs at the ends, every path between them passes a point where the matrix
is singular. Γ is at least the least loss that is possible there.

- H singular and ρ ≥ 0: H c = 0 for some c ≠ 0, so that the output F = βH misses the direction c, and
  ‖F − Y‖² ≥ ‖Yc‖²/‖c‖². Rows of H are not negative: unless H vanishes on it, c has no strict sign. The least
  over such c is an eigenvalue (:func:`least_with_singular_features`).
- W singular: its rows are multiples of one v, and a ReLU unit is a multiple of ρ(v·x) or of ρ(−v·x). What is left is
  one angle to search (:func:`least_with_collinear_weights`).

An odd permutation of the hidden units is such a change of sign, and leaves the function as it is.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

import torch
from jaxtyping import Float64
from torch import Tensor, nn

from weightstring.arrays import Theta
from weightstring.errors import InvalidSetting, Unsupported
from weightstring.path import Proof
from weightstring.problem import ModuleProblem
from weightstring.protocol import LossProblem, Recipe
from weightstring.theory.one_hidden import OneHidden
from weightstring.theory.squares import scale_of, squared_distance

NOT_NEGATIVE = (nn.ReLU, nn.ReLU6, nn.Sigmoid, nn.Softplus, nn.Hardsigmoid)
"""Activations that never are below 0."""

HOMOGENEOUS = (nn.ReLU, nn.LeakyReLU)
"""ρ(az) = aρ(z) for a ≥ 0."""

MARGIN = 1e-9
"""Determinants below this share of Hadamard's bound have no sign that rounding could not change, and bounds are
lowered by this share of themselves."""

LARGEST = 64
"""Sides of the determinants that are looked at."""

MOST_INPUTS = 2
"""For which collinear weights are searched."""

PIECES = 256
"""Into which each sector of angles is cut."""


def prove(problem: LossProblem, a: Theta, b: Theta, quantity: str = "loss") -> Proof | None:
    """The highest bound that a change of sign proves for every path between two models; None: no proof applies.

    Args:
        problem: the loss.
        a: first end (P,).
        b: second end.
        quantity: what must stay under a level.

    >>> triangle = swapped_triangle()
    >>> proof = prove(triangle, *swapped_ends(triangle))
    >>> round(proof.bound, 6)  # 1/6
    0.166667
    """
    if not isinstance(problem, ModuleProblem) or quantity != "loss":
        return None
    try:
        _, criterion, examples, _ = problem.traceable("loss")
        targets = examples.targets
        scale = scale_of(criterion, *targets.shape) if targets.is_floating_point() and targets.ndim == 2 else None
        # Taking a problem apart copies its data, and this is asked of every pair: first what rules all proofs out.
        if scale is None or (len(examples) > LARGEST and examples.leaves[0].shape[-1] > MOST_INPUTS):
            return None
        parts = OneHidden.of(problem)
    except (InvalidSetting, Unsupported):
        return None
    if parts.outer_bias:
        return None
    found = [proof for proof in (_by_features(parts, a, b, scale), _by_weights(parts, a, b, scale)) if proof]
    return max(found, key=lambda proof: proof.bound, default=None)


def _by_features(parts: OneHidden, a: Theta, b: Theta, scale: float) -> Proof | None:
    weights = [parts.parts(theta)[0] for theta in (a, b)]
    units = len(weights[0])
    if units != len(parts.inputs) or units > LARGEST or not isinstance(parts.activation, NOT_NEGATIVE):
        return None
    signs = [sign_of_determinant(parts.features(inner)) for inner in weights]
    if signs[0] * signs[1] >= 0:
        return None
    bound = scale * least_with_singular_features(parts.targets.double().T) * (1 - MARGIN)
    return Proof(
        bound,
        f"There are as many hidden units as examples ({units}), and the determinant of the features changes its sign: "
        f"on every path they are singular somewhere, where the loss is at least {bound:.6g}.",
    )


def _by_weights(parts: OneHidden, a: Theta, b: Theta, scale: float) -> Proof | None:
    weights = [parts.parts(theta)[0] for theta in (a, b)]
    units = len(weights[0])
    if (
        units != parts.inputs.shape[1]
        or units > MOST_INPUTS
        or parts.inner_bias
        or not isinstance(parts.activation, HOMOGENEOUS)
    ):
        return None
    signs = [sign_of_determinant(inner.cpu().double()) for inner in weights]
    if signs[0] * signs[1] >= 0:
        return None
    targets = parts.targets.double()
    # One singular unit has weight 0, and the output is 0.
    least = float(targets.square().sum()) if units == 1 else least_with_collinear_weights(parts.inputs, targets)
    bound = scale * least * (1 - MARGIN)
    return Proof(
        bound,
        f"There are as many hidden units as inputs ({units}), and the determinant of their weights changes its sign: "
        f"on every path they are collinear somewhere, where the loss is at least {bound:.6g}.",
    )


def sign_of_determinant(matrix: Float64[Tensor, "m m"]) -> int:
    """±1; 0 where rounding leaves the sign open.

    >>> sign_of_determinant(torch.eye(3, dtype=torch.float64)[[1, 0, 2]])
    -1
    """
    sizes = torch.linalg.vector_norm(matrix, dim=1)
    if not bool((sizes > 0).all()) or not bool(sizes.isfinite().all()):
        return 0
    # Rows of length 1: Hadamard's bound of the determinant is 1.
    determinant = float(torch.linalg.det(matrix / sizes.unsqueeze(1)))
    return 0 if abs(determinant) < MARGIN else int(math.copysign(1, determinant))


def least_with_singular_features(targets: Float64[Tensor, "c N"]) -> float:
    r"""No more than ‖βH − Y‖² for any H (N, N) ≥ 0 that is singular and any β.

        min ‖Yc‖² over unit vectors c without a strict sign

    That is the smallest eigenvalue of G = YᵀY if its eigenvector has no strict sign. Otherwise a minimum inside
    the set would be another eigenvector, and those of the principal parts of G are lower (Cauchy's interlacing): the
    least is that of the smallest eigenvalues of G with one row and its column left out.

    >>> targets = torch.eye(2, dtype=torch.float64) * torch.tensor([1.0, 0.8], dtype=torch.float64)
    >>> round(least_with_singular_features(targets), 6)
    0.64
    """
    gram = targets.T @ targets
    count = len(gram)
    values, vectors = torch.linalg.eigh(gram)
    first = vectors[:, 0]
    strict = bool((first > 0).all()) or bool((first < 0).all())
    if count == 1 or not strict or float(values[1] - values[0]) <= MARGIN * float(values[-1]):
        return max(float(values[0]) - MARGIN * float(values[-1]), 0.0) if count > 1 else float(values[0])
    rest = [[i for i in range(count) if i != left_out] for left_out in range(count)]
    least = min(float(torch.linalg.eigvalsh(gram[keep][:, keep])[0]) for keep in rest)
    return max(least - 1e-13 * count * float(values[-1]), 0.0)


def least_with_collinear_weights(inputs: Float64[Tensor, "N 2"], targets: Float64[Tensor, "N c"]) -> float:
    r"""No more than ‖f(X) − Y‖² for f(x) = s₊ρ(v·x) + s₋ρ(−v·x) with any v ∈ R² and any s₊, s₋ ∈ R^c.

    For one v the examples on either side of it are fitted apart, and the fits explain

        R₊(v) + R₋(v),   R(v) = vᵀMv / vᵀSv,   S = Σ x xᵀ,   M = Σ (x yᵀ)(Σ x yᵀ)ᵀ over that side.

    While v turns and no example changes sides, M and S stay as they are. Each such sector is cut into pieces, on which
    the largest R₊ and the largest R₋ are added, wherever each of them is.

    >>> axes = torch.eye(2, dtype=torch.float64)
    >>> bool(least_with_collinear_weights(torch.cat([axes, -axes]), torch.cat([axes, 0 * axes])) > 0.29)
    True
    """
    # v turns by half a circle; then the sides only change their names.
    changes = torch.atan2(inputs[:, 0], -inputs[:, 1]) % math.pi
    edges = sorted({0.0, math.pi, *changes.tolist()})
    explained = 0.0
    for low, high in pairwise(edges):
        middle = (low + high) / 2
        side = inputs @ torch.tensor([math.cos(middle), math.sin(middle)], dtype=torch.float64) > 0
        angles = torch.linspace(low, high, PIECES + 1, dtype=torch.float64)
        # Where an example lies across v it counts for nothing, on whichever side rounding puts it.
        total = sum(_explained(inputs[which], targets[which], angles) for which in (side, ~side))
        explained = max(explained, float(torch.as_tensor(total).max()))
    whole = float(targets.square().sum())
    return max(whole - explained - 1e-12 * whole, 0.0)


def _explained(x: Float64[Tensor, "n 2"], y: Float64[Tensor, "n c"], angles: Float64[Tensor, " K"]) -> Tensor:
    """No less than R(v) for v between neighbouring angles (K − 1,)."""
    whole = float(y.square().sum())
    if not len(x):
        return torch.zeros(len(angles) - 1, dtype=torch.float64)
    second, cross = x.T @ x, x.T @ y
    pairs = cross @ cross.T

    def ratio(at: Tensor) -> Tensor:
        v = torch.stack([at.cos(), at.sin()], -1)
        numerator, denominator = (torch.einsum("ki,ij,kj->k", v, matrix, v) for matrix in (pairs, second))
        # Cauchy and Schwarz: no fit explains more than there is.
        return torch.where(denominator > 1e-14 * second.trace(), numerator / denominator, whole).clamp(max=whole)

    values = ratio(angles)
    highest = torch.maximum(values[:-1], values[1:])
    for top in _stationary(pairs, second):
        inside = (angles[:-1] <= top) & (top <= angles[1:])
        highest = torch.where(inside, ratio(torch.tensor([top], dtype=torch.float64)), highest)
    return highest


def _stationary(pairs: Tensor, second: Tensor) -> Sequence[float]:
    """Angles in [0, π) where vᵀMv / vᵀSv is largest or smallest: its two generalised eigenvectors."""
    lower, failed = torch.linalg.cholesky_ex(second)
    if failed:
        return ()  # One direction alone: the ratio is the same for every v.
    inverse = torch.linalg.inv(lower)
    _, vectors = torch.linalg.eigh(inverse @ pairs @ inverse.T)
    tops = inverse.T @ vectors
    return [float(torch.atan2(v[1], v[0]) % math.pi) for v in tops.T]


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
