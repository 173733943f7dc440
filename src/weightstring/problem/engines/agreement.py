"""When two ways to compute agree: models to compare them on, and what rounding explains."""

from __future__ import annotations

import torch
from torch import Tensor

from weightstring.arrays import Theta, Thetas

TOLERANCE = {torch.float64: 1e-9, torch.float32: 1e-4, torch.float16: 1e-2, torch.bfloat16: 5e-2}
"""Relative difference between the engines that rounding explains: of half precision some units in the last place."""


def tolerance_of(dtype: torch.dtype) -> float:
    """The largest relative difference between two ways to compute that rounding explains.

    >>> tolerance_of(torch.float64), tolerance_of(torch.float32)
    (1e-09, 0.0001)
    """
    return TOLERANCE[dtype]


def near(theta: Theta, count: int, share: float = 0.1, seed: int = 0) -> Thetas:
    """Models (count, P) near θ: θ plus noise of a share of its size, always the same for a seed."""
    draw = torch.Generator().manual_seed(seed)
    noise = torch.empty(count, len(theta), dtype=torch.float32, device="cpu")
    # A large θ takes longer to allocate than to fill: what is squared takes the place of what is drawn afterwards.
    squares = noise[0] if theta.dtype == noise.dtype and theta.device == noise.device else torch.empty_like(theta)
    scale = share * torch.square(theta, out=squares).mean().sqrt()
    return noise.normal_(generator=draw).to(theta).mul_(scale).add_(theta)


def relative(found: Tensor, expected: Tensor) -> float:
    """The largest difference in any row, relative to the row's largest number; NaN if either holds NaN."""
    scale = expected.abs().amax(dim=1).clamp_min(torch.finfo(expected.dtype).tiny)
    return float(((found - expected).abs().amax(dim=1) / scale).amax())
