"""Section III.A: deep linear networks, whose models are connected in closed form below any level.

The model is P = W_K ⋯ W_1, W_k of shape h_k × h_{k−1}, with any loss that is convex in P. Let m = min(h_0, h_K). With
every hidden width at least m + 1 no two models have a barrier between them (``connect``); for hidden widths equal to m
and a ridge on the weights see ``deep_linear_barrier``. Below m = h_K ≤ h_0; else the chain W_1ᵀ ⋯ W_Kᵀ is meant.
"""

# ruff: noqa: N803, N806 (the symbols of the paper are capitals)

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor, nn

from weightstring.arrays import Theta
from weightstring.errors import InvalidSetting
from weightstring.problem import ModuleProblem
from weightstring.theory.curve import Curve, Piece
from weightstring.theory.full_rank import Matrix, through_full_rank
from weightstring.theory.squares import squared_distance

Weights = tuple[Matrix, ...]
"""W_1 … W_K, W_k of shape h_k × h_{k−1}: the order of ``network(widths).parameters()``."""

ProductLoss = Callable[[Tensor], float]
"""A loss of the product P (h_K, h_0) alone."""

Motion = Callable[[float], Weights]
"""Weights at u ∈ [0, 1], continuous."""

FLOOR = 0.1
"""A singular value of T_k under this share of its largest is raised to it before the ends are joined."""


def network(widths: Sequence[int]) -> nn.Sequential:
    """The module whose weights are W_1 … W_K: linear layers in float64 without biases.

    Raises:
        InvalidSetting: fewer than two widths, or one under 1.

    >>> network((3, 4, 2))(torch.zeros(5, 3, dtype=torch.float64)).shape
    torch.Size([5, 2])
    """
    if len(widths) < 2 or any(width < 1 for width in widths):
        raise InvalidSetting(f"widths={tuple(widths)}: give at least h_0 and h_K, each 1 or more")
    return nn.Sequential(*(nn.Linear(low, high, bias=False, dtype=torch.float64) for low, high in pairwise(widths)))


def product(weights: Sequence[Matrix]) -> Matrix:
    """P = W_K ⋯ W_1 (h_K, h_0).

    >>> product((torch.full((2, 1), 3.0).double(), torch.ones(1, 2).double()))
    tensor([[6.]], dtype=torch.float64)
    """
    return tails(weights)[0]


def flatten(weights: Sequence[Matrix]) -> Theta:
    """θ (P,), the weights one after another, each row by row: the order of ``network(widths).parameters()``."""
    return torch.cat([weight.reshape(-1) for weight in weights])


def unflatten(theta: Theta, widths: Sequence[int]) -> Weights:
    """W_1 … W_K of θ (P,).

    Raises:
        InvalidSetting: θ does not have as many entries as the widths ask for.

    >>> [tuple(weight.shape) for weight in unflatten(torch.zeros(20).double(), (3, 4, 2))]
    [(4, 3), (2, 4)]
    """
    sizes = [low * high for low, high in pairwise(widths)]
    if len(theta) != sum(sizes):
        raise InvalidSetting(f"θ has {len(theta)} entries, widths={tuple(widths)} need {sum(sizes)}")
    parts = zip(torch.split(theta, sizes), pairwise(widths), strict=True)
    return tuple(part.reshape(high, low) for part, (low, high) in parts)


@dataclass(frozen=True, eq=False)
class SquaredLoss:
    """ℓ(P) = ‖PX − Y‖²/N (Frobenius): squared distances summed over outputs, averaged over examples.

    That is h_K times ``nn.functional.mse_loss``, which averages over outputs too. ``problem`` measures the same loss.

    Args:
        X: inputs (h_0, N), an example a column.
        Y: targets (h_K, N).

    Raises:
        InvalidSetting: X and Y hold different numbers of examples, or none.

    >>> SquaredLoss(torch.eye(2).double(), torch.zeros(1, 2).double())(torch.tensor([[3.0, 1.0]]).double())
    5.0
    """

    X: Matrix
    Y: Matrix

    def __post_init__(self) -> None:
        if self.X.shape[1] != self.Y.shape[1] or not self.X.shape[1]:
            raise InvalidSetting(
                f"X {tuple(self.X.shape)} and Y {tuple(self.Y.shape)}: give both one column per example, at least one"
            )

    def __call__(self, P: Matrix) -> float:
        """ℓ(P) of P (h_K, h_0)."""
        return float((P @ self.X - self.Y).square().sum() / self.X.shape[1])


def problem(widths: Sequence[int], X: Matrix, Y: Matrix) -> ModuleProblem:
    """``SquaredLoss(X, Y)`` of ``network(widths)`` as a problem, so that strings are measured and certified on it.

    Args:
        widths: h_0 … h_K.
        X: inputs (h_0, N).
        Y: targets (h_K, N).

    >>> X, Y = torch.eye(2).double(), torch.zeros(1, 2).double()
    >>> weights = (torch.tensor([[3.0, 1.0]]).double(), torch.ones(1, 1).double())
    >>> problem((2, 1, 1), X, Y).measure(flatten(weights)[None])["loss"].tolist()
    [5.0]
    """
    SquaredLoss(X, Y)
    return ModuleProblem(network(widths), squared_distance, (X.T.contiguous(), Y.T.contiguous()), batch_size=None)


def connect(A: Sequence[Matrix], B: Sequence[Matrix], loss: ProductLoss | None = None) -> Curve:
    """A path on which every convex loss of the product stays at most (1 − t)ℓ(P_A) + tℓ(P_B).

    With T_k = W_K ⋯ W_k: ``lift`` makes every T_k, k ≥ 2, of full row rank at a constant product, from either end.
    Between the lifted ends ``between`` moves T_1 = P straight and every other T_k through matrices of full row rank,
    from which W_k follows by W_k = W + T_{k+1}⁺(T_k − T_{k+1}W), W moving straight. Nothing is random or sampled.

    Args:
        A: W_1 … W_K of the first end, float64.
        B: those of the other, of the same shapes.
        loss: a convex loss of the product; None: the bound is inf.

    Returns:
        A path of θ (P,) with both ends exact and ``bound = max(ℓ(P_A), ℓ(P_B))``.

    Raises:
        InvalidSetting: a hidden width under m + 1, shapes that do not fit, or another dtype.

    >>> A, B = [(torch.full((2, 1), sign).double(), torch.full((1, 2), sign).double()) for sign in (1.0, -1.0)]
    >>> middle = unflatten(connect(A, B).at(0.5), (1, 2, 1))
    >>> round(product(middle).item(), 12)
    2.0
    """
    require_same_widths(A, B)
    require_hidden(A, spare=1)
    (a, flipped), (b, _) = orient(A), orient(B)
    outward, a = lift(a)
    inward, b = lift(b)
    return as_curve([*outward, between(a, b)], inward, flipped, larger(loss, A, B))


def require_same_widths(A: Sequence[Matrix], B: Sequence[Matrix]) -> None:
    """Both ends are float64 chains of the same finite matrices' shapes.

    Raises:
        InvalidSetting: they are not.
    """
    for name, weights in (("A", A), ("B", B)):
        if not weights or any(weight.ndim != 2 or weight.dtype != torch.float64 for weight in weights):
            raise InvalidSetting(f"{name} is no chain of float64 matrices W_1 … W_K: pass a tuple, cast with .double()")
        if any(after.shape[1] != before.shape[0] for before, after in pairwise(weights)):
            shapes = [tuple(weight.shape) for weight in weights]
            raise InvalidSetting(f"{name} has the shapes {shapes}: W_k must be h_k × h_(k−1), W_1 first")
        if not all(bool(weight.isfinite().all()) for weight in weights):
            raise InvalidSetting(f"{name} holds a value that is not finite: no path leads there")
    if [weight.shape for weight in A] != [weight.shape for weight in B]:
        raise InvalidSetting(f"A has the widths {widths_of(A)}, B {widths_of(B)}: give two models of one network")


def require_hidden(weights: Sequence[Matrix], spare: int) -> None:
    """Every hidden width is at least m + spare.

    Raises:
        InvalidSetting: one is not.
    """
    widths = widths_of(weights)
    m = min(widths[0], widths[-1])
    if any(width < m + spare for width in widths[1:-1]):
        raise InvalidSetting(
            f"widths={widths}: a hidden width is under {m + spare}, with min(h_0, h_K) = {m}; at {m} the sign of a "
            "determinant can separate two models (ask deep_linear_barrier.barrier), below it nothing is proved"
        )


def widths_of(weights: Sequence[Matrix]) -> tuple[int, ...]:
    """h_0 … h_K."""
    return (weights[0].shape[1], *(weight.shape[0] for weight in weights))


def orient(weights: Sequence[Matrix]) -> tuple[Weights, bool]:
    """The chain with h_K ≤ h_0, and whether it had to be transposed."""
    flipped = weights[-1].shape[0] > weights[0].shape[1]
    return (_transposed(weights) if flipped else tuple(weights)), flipped


def tails(weights: Sequence[Matrix]) -> list[Matrix]:
    """T_1 … T_K and T_{K+1} = I, where T_k = W_K ⋯ W_k (h_K, h_{k−1})."""
    products = [torch.eye(len(weights[-1]), dtype=weights[-1].dtype)]
    for weight in weights[::-1]:
        products.append(products[-1] @ weight)
    return products[::-1]


def as_curve(outward: Sequence[Motion], inward: Sequence[Motion], flipped: bool, bound: float) -> Curve:
    """As a path of θ, the motions of oriented weights: those from A, then those from B backwards."""

    def piece(motion: Motion, back: bool) -> Piece:
        turned = _transposed if flipped else tuple
        return lambda u: flatten(turned(motion(1 - u if back else u)))

    pieces = [piece(motion, False) for motion in outward] + [piece(motion, True) for motion in inward[::-1]]
    return Curve(tuple(pieces), bound)


def lift(weights: Weights) -> tuple[list[Motion], Weights]:
    """Motions at a constant product after which T_K … T_2 have full row rank, and where they end.

    For k = K … 2 let T_k = UΣVᵀ. A small σ_i > 0 is raised to σ by W_k += T_{k+1}⁺u_i(σ − σ_i)v_iᵀ while the part of
    W_{k−1} along v_i shrinks by σ_i/σ: T_k W_{k−1} stays. Where σ_i = 0, that part is taken to zero first.
    """
    motions: list[Motion] = []
    for k in range(len(weights) - 1, 0, -1):  # weights[k] is W_{k+1}
        after, tail = tails(weights)[k + 1 : k - 1 : -1]
        U, sigma, V = torch.linalg.svd(tail)
        V, largest = V[: len(sigma)], float(sigma[0]) or 1.0
        low = sigma < FLOOR * largest
        if not low.any():
            continue
        zero = sigma <= torch.finfo(sigma.dtype).eps * max(tail.shape) * largest
        if zero.any():
            cleared = weights[k - 1] - V[zero].T @ (V[zero] @ weights[k - 1])
            motions.append(straight_to(weights, emptied := replaced(weights, {k - 1: cleared})))
            weights = emptied
        sigma = sigma.where(~zero, 0.0)
        motions.append(_raising(weights, k, torch.linalg.pinv(after) @ U, V, sigma, sigma.where(~low, FLOOR * largest)))
        weights = motions[-1](1.0)
    return motions, weights


def between(a: Weights, b: Weights) -> Motion:
    """From a to b with P straight and every T_k, k ≥ 2, of full row rank, as they have at both ends.

    Where h_{k−1} = m, det T_k must have the same sign at both.
    """
    tails_a, tails_b = tails(a), tails(b)
    turns = [through_full_rank(x, y) for x, y in zip(tails_a[1:-1], tails_b[1:-1], strict=True)]

    def at(t: float) -> Weights:
        T = [torch.lerp(tails_a[0], tails_b[0], t), *(turn(t) for turn in turns), tails_a[-1]]
        straight = [torch.lerp(x, y, t) for x, y in zip(a, b, strict=True)]
        return tuple(W + torch.linalg.pinv(T[k + 1]) @ (T[k] - T[k + 1] @ W) for k, W in enumerate(straight))

    return with_ends(at, a, b)


def _raising(weights: Weights, k: int, lever: Matrix, V: Matrix, sigma: Tensor, goal: Tensor) -> Motion:
    """Raise σ to goal, both (m,), geometrically, or straight from 0; ``lever`` is T_{k+1}⁺U (h_k, m)."""
    along = V @ weights[k - 1]

    def at(u: float) -> Weights:
        now = torch.where(sigma > 0, sigma ** (1 - u) * goal**u, u * goal)
        share = torch.where(sigma > 0, sigma / now, 1.0)
        shrunk = weights[k - 1] + V.T @ ((share - 1).unsqueeze(1) * along)
        return replaced(weights, {k: weights[k] + (lever * (now - sigma)) @ V, k - 1: shrunk})

    return at


def straight_to(a: Weights, b: Weights) -> Motion:
    """Every weight on its segment; a constant product where only one of two factors moves."""
    return lambda u: tuple(torch.lerp(x, y, u) for x, y in zip(a, b, strict=True))


def replaced(weights: Weights, new: Mapping[int, Matrix]) -> Weights:
    """The weights with some exchanged, by index from 0."""
    return tuple(new.get(k, weight) for k, weight in enumerate(weights))


def with_ends(motion: Motion, a: Weights, b: Weights) -> Motion:
    """The motion with its ends as given, not as rounding leaves them."""
    return lambda u: a if u == 0 else b if u == 1 else motion(u)


def larger(loss: ProductLoss | None, A: Sequence[Matrix], B: Sequence[Matrix]) -> float:
    """max(ℓ(P_A), ℓ(P_B)); inf without a loss."""
    return float("inf") if loss is None else max(loss(product(A)), loss(product(B)))


def _transposed(weights: Sequence[Matrix]) -> Weights:
    return tuple(weight.T for weight in weights[::-1])
