"""Section III.A, with hidden widths equal to m: where deep linear networks have barriers, and how high they are.

Let λ* be the least loss over products of rank at most m − 1. Below λ* every T_k = W_K ⋯ W_k has rank m, so that for
h_{k−1} = m the sign of det T_k never changes along a path; and where all signs agree the construction of
``deep_linear.connect`` works. At λ* all signs can be changed. So Γ is known. A ridge on two layers brings no barrier.
"""

# ruff: noqa: N803, N806 (the symbols of the paper are capitals)

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from weightstring.errors import InvalidSetting
from weightstring.theory.curve import Curve
from weightstring.theory.deep_linear import (
    Motion,
    ProductLoss,
    SquaredLoss,
    Weights,
    as_curve,
    between,
    flatten,
    larger,
    lift,
    orient,
    product,
    replaced,
    require_hidden,
    require_same_widths,
    straight_to,
    tails,
    widths_of,
    with_ends,
)
from weightstring.theory.exact import Whole, rank
from weightstring.theory.full_rank import Matrix, through_full_rank

CLEAR = 1e-8
"""A singular value of X over this share of its largest counts; smaller ones must be 0 in exact arithmetic."""

DEFICIENT = 1e-12
"""``ridge_path`` takes a product's singular value under this share of its largest for zero."""


@dataclass(frozen=True)
class Barrier:
    """Γ(A, B), exactly, and why.

    Args:
        gamma: the least height of a path between the two ends, in units of the loss.
        lambda_star: λ*, the least loss of a product of rank at most m − 1; no sign changes below it.
        signs_a: sign det T_k of A for each k ≥ 2 with h_{k−1} = m, k rising, of the chain with h_K ≤ h_0.
        signs_b: those of B.
        same_component: whether no path needs to rise over the larger end.
    """

    gamma: float
    lambda_star: float
    signs_a: tuple[int, ...]
    signs_b: tuple[int, ...]
    same_component: bool


def barrier(A: Sequence[Matrix], B: Sequence[Matrix], X: Matrix, Y: Matrix) -> Barrier:
    """Γ(A, B) of ``SquaredLoss(X, Y)``: the larger end, or λ* where that is higher and a sign differs.

    λ* = (‖Y(I − X⁺X)‖² + σ_m(YX⁺X)²)/N by Eckart and Young, for X of any rank. An end with a zero determinant has a
    product of rank at most m − 1, so a loss of at least λ*: then Γ is the larger end whatever the signs.

    Args:
        A: W_1 … W_K of the first end, float64, every hidden width at least m = min(h_0, h_K).
        B: those of the other, of the same shapes.
        X: inputs (h_0, N).
        Y: targets (h_K, N).

    Raises:
        InvalidSetting: a hidden width under m, shapes that do not fit, or an X that is nearly, but not exactly, of
            lower rank.

    >>> one = torch.ones(1, 1).double()
    >>> barrier((one, one), (-one, -one), X=one, Y=one)  # (w_2 w_1 − 1)²
    Barrier(gamma=1.0, lambda_star=1.0, signs_a=(1,), signs_b=(-1,), same_component=False)
    """
    loss = _require(A, B, X, Y)
    ends = larger(loss, A, B)
    _, lambda_star = _nearest_deficient(loss)
    (a, _), (b, _) = orient(A), orient(B)
    signs_a, signs_b = _signs(a), _signs(b)
    same = signs_a == signs_b or ends >= lambda_star
    return Barrier(ends if same else lambda_star, lambda_star, signs_a, signs_b, same)


def through_barrier(A: Sequence[Matrix], B: Sequence[Matrix], X: Matrix, Y: Matrix) -> Curve:
    """A path from A to B that is nowhere higher than Γ(A, B), so no path is better: ``bound`` is ``barrier``'s gamma.

    Where a sign differs or an end is at λ* or above, it leads through the best product P* of rank at most m − 1. To P*
    only W_1 moves. There, with uᵀP* = 0, W_j ← W_j − s T_{j+1}⁺u uᵀT_{j+1}W_j, s: 0 → 2, changes the signs of T_2 … T_j
    at a constant product.

    Args:
        A: W_1 … W_K of the first end, float64, every hidden width at least m = min(h_0, h_K).
        B: those of the other, of the same shapes.
        X: inputs (h_0, N).
        Y: targets (h_K, N).

    Raises:
        InvalidSetting: as ``barrier``.

    >>> one = torch.ones(1, 1).double()
    >>> path = through_barrier((one, one), (-one, -one), X=one, Y=one)
    >>> path.bound, round(max(float((path.at(s / 99).prod() - 1) ** 2) for s in range(100)), 12)
    (1.0, 1.0)
    """
    lowest = barrier(A, B, X, Y)
    (a, flipped), (b, _) = orient(A), orient(B)
    outward, a = lift(a)
    inward, b = lift(b)
    if _signs(a) == _signs(b) and larger(SquaredLoss(X, Y), A, B) < lowest.lambda_star:
        bridge = [between(a, b)]
    else:
        P, _ = _nearest_deficient(SquaredLoss(X, Y))
        P = P.T if flipped else P
        a_star, b_star = _with_product(a, P), _with_product(b, P)
        turns, turned = _change_signs(a_star, _signs(b_star), P)
        bridge = [straight_to(a, a_star), *turns, between(turned, b_star), straight_to(b_star, b)]
    return as_curve([*outward, *bridge], inward, flipped, lowest.gamma)


def ridge_path(A: Sequence[Matrix], B: Sequence[Matrix], ridge: float, loss: ProductLoss | None = None) -> Curve:
    """A path of two layers on which ℓ(W_2 W_1) + ridge (‖W_1‖² + ‖W_2‖²)/2 stays at most its larger end.

    The least of (‖W_1‖² + ‖W_2‖²)/2 over the factors of P is its nuclear norm, which is convex. So each end first
    moves, at a constant product and with a norm that does not grow, to the least factors W_2 = [UΣ^½Uᵀ, 0],
    W_1 = [UΣ^½Vᵀ; 0] of its product UΣVᵀ. These are continuous in P, and follow the segment from P_A to P_B.

    Args:
        A: W_1, W_2 of the first end, float64.
        B: those of the other, of the same shapes.
        ridge: at least 0.
        loss: a convex loss of the product; None: the bound is inf.

    Returns:
        A path of θ (P,) with both ends exact; its bound is the larger *regularised* loss of the ends.

    Raises:
        InvalidSetting: not two layers, a hidden width under m + 1, a negative ridge, or what ``connect`` refuses.

    >>> A, B = [(torch.full((2, 1), sign).double(), torch.full((1, 2), sign).double()) for sign in (1.0, -1.0)]
    >>> round(float(ridge_path(A, B, ridge=0.5).at(0.5).square().sum()), 12)  # 2‖P‖_*, which is the least
    4.0
    """
    require_same_widths(A, B)
    require_hidden(A, spare=1)
    if len(A) != 2 or not ridge >= 0:
        raise InvalidSetting(
            f"ridge_path of {len(A)} layers, ridge={ridge}: it needs two layers and a ridge of at least 0"
        )
    (a, flipped), (b, _) = orient(A), orient(B)
    outward, a = _shrink(a)
    inward, b = _shrink(b)
    P_A, P_B, h = product(a), product(b), len(a[0])
    follow = with_ends(lambda t: _least_factors(torch.lerp(P_A, P_B, t), h), a, b)

    def regularised(weights: Sequence[Matrix]) -> float:
        assert loss is not None
        return loss(product(weights)) + ridge / 2 * float(flatten(weights).square().sum())

    bound = float("inf") if loss is None else max(regularised(A), regularised(B))
    return as_curve([*outward, follow], inward, flipped, bound)


def _require(A: Sequence[Matrix], B: Sequence[Matrix], X: Matrix, Y: Matrix) -> SquaredLoss:
    require_same_widths(A, B)
    require_hidden(A, spare=0)
    widths = widths_of(A)
    if len(X) != widths[0] or len(Y) != widths[-1]:
        raise InvalidSetting(
            f"X has {len(X)} rows and Y {len(Y)}, the network {widths[0]} inputs and {widths[-1]} outputs: "
            "give one column per example, X (h_0, N) and Y (h_K, N)"
        )
    return SquaredLoss(X, Y)


def _nearest_deficient(loss: SquaredLoss) -> tuple[Matrix, float]:
    """P* (h_K, h_0), the best of rank at most m − 1, and λ*."""
    X, Y = loss.X, loss.Y
    m = min(len(X), len(Y))
    sizes = torch.linalg.svdvals(X)
    clear = int((sizes > CLEAR * sizes[0]).sum())
    # λ* jumps where the rank of X does: what floats cannot tell apart from a lower rank is no ground for a claim.
    if clear < len(sizes) and clear != rank(Whole.of(X).rows):
        raise InvalidSetting(
            f"X has rank {rank(Whole.of(X).rows)}, but singular values from {sizes[0]:.3g} down to {sizes[-1]:.3g}, "
            f"which nearly make it {clear}: Γ cannot be computed reliably; leave out inputs that are nearly "
            "combinations of others"
        )
    inverse = torch.linalg.pinv(X, rtol=CLEAR)
    Z = Y @ inverse @ X
    U, sigma, V = torch.linalg.svd(Z, full_matrices=False)
    P = (U[:, : m - 1] * sigma[: m - 1]) @ V[: m - 1] @ inverse
    # Fewer examples than m: Z has no m-th singular value, and a product of rank m − 1 attains the least loss of all.
    last = float(sigma[m - 1]) if m <= len(sigma) else 0.0
    return P, (float((Y - Z).square().sum()) + last**2) / X.shape[1]


def _signs(weights: Weights) -> tuple[int, ...]:
    """Sign det T_k for each k ≥ 2 with h_{k−1} = m."""
    square = [tail for tail in tails(weights)[1:-1] if tail.shape[0] == tail.shape[1]]
    return tuple(int(torch.linalg.slogdet(tail).sign) for tail in square)


def _with_product(weights: Weights, P: Matrix) -> Weights:
    """The weights with another W_1, so that the product is P; T_2 has full row rank."""
    tail, W = tails(weights)[1], weights[0]
    return replaced(weights, {0: W + torch.linalg.pinv(tail) @ (P - tail @ W)})


def _change_signs(weights: Weights, goal: tuple[int, ...], P: Matrix) -> tuple[list[Motion], Weights]:
    """Motions at the constant product P, of rank under m, after which the signs are those of ``goal``."""
    u = torch.linalg.svd(P)[0][:, -1]
    motions: list[Motion] = []
    for j in range(len(weights) - 1, 0, -1):  # weights[j] is W_{j+1}; it changes the signs of T_2 … T_{j+1}
        after, tail = tails(weights)[j + 1], tails(weights)[j]
        if tail.shape[0] != tail.shape[1]:
            continue
        squares = [len(lower) for lower in weights[:j]].count(len(P))  # how many square T_k, 2 ≤ k ≤ j + 1
        if _signs(weights)[squares - 1] == goal[squares - 1]:
            continue
        mirror = torch.outer(torch.linalg.pinv(after) @ u, u @ tail)
        mirrored = replaced(weights, {j: weights[j] - 2 * mirror})
        motions.append(straight_to(weights, mirrored))
        weights = mirrored
    return motions, weights


def _least_factors(P: Matrix, h: int) -> Weights:
    """W_1 = [UΣ^½Vᵀ; 0] (h, h_0) and W_2 = [UΣ^½Uᵀ, 0] (h_K, h), continuous in P = UΣVᵀ."""
    U, sigma, V = torch.linalg.svd(P, full_matrices=False)
    root = U * sigma.sqrt()
    W_1, W_2 = P.new_zeros(h, P.shape[1]), P.new_zeros(len(P), h)
    W_1[: len(P)], W_2[:, : len(P)] = root @ V, root @ U.T
    return W_1, W_2


def _shrink(weights: Weights) -> tuple[list[Motion], Weights]:
    """Motions at a constant product, of a norm that does not grow, to ``_least_factors`` of it.

    1. W_2 loses what is orthogonal to the columns of P, then W_1 what lies in ker W_2: now W_2 = CQᵀ and W_1 = QD,
       with C and D of full rank r.
    2. C = UΣ^½HO, H positive and O orthogonal: H^τ instead of H, τ: 1 → 0. The squared norm is
       tr Σ(H^{2τ} + H^{−2τ}), convex in τ and least at 0.
    3. QOᵀ (h, r) turns into [U; 0], for which r < h leaves room.
    """
    W_1, W_2 = weights
    U, sigma, _ = torch.linalg.svd(W_2 @ W_1)
    U = U[:, : int((sigma > DEFICIENT * sigma[0]).sum())]
    lean = (W_1, U @ (U.T @ W_2))
    Q = torch.linalg.svd(lean[1])[2][: U.shape[1]].T
    leaner = (Q @ (Q.T @ W_1), lean[1])
    motions = [straight_to(weights, lean), straight_to(lean, leaner)]
    if not U.shape[1]:
        return motions, leaner
    U, sigma, V = torch.linalg.svd(product(leaner), full_matrices=False)
    r = Q.shape[1]
    root = sigma[:r].sqrt()
    U, V = U[:, :r], root.unsqueeze(1) * V[:r]
    left, stretch, right = torch.linalg.svd((U / root).T @ leaner[1] @ Q)
    right = right @ Q.T  # Oᵀ and Q in one: (r, h)

    def balance(s: float) -> Weights:
        power = stretch ** (1 - s)
        return (right.T / power) @ left.T @ V, (U * root) @ (left * power) @ right

    target = torch.cat([U.T, U.new_zeros(U.shape[1], len(W_1) - len(U))], 1)
    turning = through_full_rank(left @ right, target)

    def turn(s: float) -> Weights:
        frame = turning(s)
        return frame.T @ V, (U * root) @ frame

    least = _least_factors(product(leaner), len(W_1))
    return [*motions, with_ends(balance, leaner, balance(1.0)), with_ends(turn, balance(1.0), least)], least
