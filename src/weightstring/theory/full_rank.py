"""Paths of matrices of full row rank."""

# ruff: noqa: N806 (the symbols of the paper are capitals)

from __future__ import annotations

from collections.abc import Callable

import scipy.linalg
import torch
from jaxtyping import Float64
from torch import Tensor

Matrix = Float64[Tensor, "_ _"]


def through_full_rank(x: Matrix, y: Matrix) -> Callable[[float], Matrix]:
    """From x to y (m, h), both of full row rank: T = SΩ, S = (TTᵀ)^½ straight, the rows of Ω turned within SO(h).

    The least singular value is that of S(t), concave in t: nowhere smaller than at the smaller end.
    """
    m = len(x)
    (U_x, sigma_x, V_x), (U_y, sigma_y, V_y) = torch.linalg.svd(x), torch.linalg.svd(y)
    S_x, S_y = (U_x * sigma_x) @ U_x.T, (U_y * sigma_y) @ U_y.T
    frame = U_x @ V_x[:m]
    turn = _turn(torch.cat([frame, V_x[m:]]), torch.cat([U_y @ V_y[:m], V_y[m:]]), m)
    return lambda t: torch.lerp(S_x, S_y, t) @ frame @ turn(t)


def _turn(x: Matrix, y: Matrix, m: int) -> Callable[[float], Matrix]:
    """A rotation (h, h) for each t, the identity at 0, that takes the first m rows of x to y's at 1; x, y ∈ O(h).

    The other rows of y are free: they are turned towards those of x, and reflected where det(xᵀy) asks for it.
    """
    if len(x) > m:
        left, _, right = torch.linalg.svd(x[m:] @ y[m:].T)
        if torch.linalg.det(x.T @ y) * torch.linalg.det(left @ right) < 0:
            left[:, -1] *= -1  # the smallest singular value: the reflection that costs least
        y = torch.cat([y[:m], left @ right @ y[m:]])
    form, basis = (torch.from_numpy(part) for part in scipy.linalg.schur((x.T @ y).numpy(), output="real"))
    below = form.diagonal(-1).nonzero().flatten().tolist()  # where a block of 2 × 2 begins
    within = {*below, *(i + 1 for i in below)}
    flipped = [i for i in range(len(form)) if i not in within and form[i, i] < 0]  # eigenvalues −1: an even number
    first = torch.tensor(below + flipped[::2], dtype=torch.int64)
    second = torch.tensor([i + 1 for i in below] + flipped[1::2], dtype=torch.int64)
    sines, cosines = form[second, first] - form[first, second], form[first, first] + form[second, second]
    angle = torch.atan2(sines, cosines)

    def at(t: float) -> Matrix:
        blocks = torch.eye(len(form), dtype=form.dtype)
        blocks[first, first] = blocks[second, second] = (t * angle).cos()
        blocks[second, first], blocks[first, second] = (t * angle).sin(), -(t * angle).sin()
        return basis @ blocks @ basis.T

    return at
