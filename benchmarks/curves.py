"""Rivals as one writes them from their paper: Bézier curves and polygonal chains between two models.

T. Garipov et al., "Loss Surfaces, Mode Connectivity, and Fast Ensembling of DNNs", 2018, arXiv:1802.10026: the ends
stay, control points begin on the straight line, and each step follows the gradient of a minibatch's loss at a point of
the curve, t uniform in [0, 1], by SGD with momentum .9.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from benchmarks.setting import Setting

MOMENTUM = 0.9
Weights = Callable[[float], Tensor]
"""What each control point contributes at t: (K,), of sum 1."""


def bezier(points: int) -> Weights:
    """Bernstein polynomials."""
    degree = points - 1
    binomials = [math.comb(degree, k) for k in range(points)]
    return lambda t: torch.tensor([c * t**k * (1 - t) ** (degree - k) for k, c in enumerate(binomials)])


def chain(points: int) -> Weights:
    """Hat functions."""
    return lambda t: (1 - (t * (points - 1) - torch.arange(points)).abs()).clamp(min=0)


def straight(a: Tensor, b: Tensor, points: int) -> Tensor:
    """Points (K, P) of the line, evenly spaced."""
    return torch.stack([torch.lerp(a, b, i / (points - 1)) for i in range(points)])


def fitted(
    setting: Setting, ends: tuple[Tensor, Tensor], threshold: float, weights: Weights,
    points: int, lr: float, every: int, most: int,
) -> Tensor | None:  # fmt: skip
    """Control points (K, P) of a curve whose grid is under the threshold, with a look each ``every`` steps."""
    controls = straight(*ends, points)
    velocity = torch.zeros_like(controls[1:-1])
    for step in range(1, most + 1):
        shares = weights(float(torch.rand(())))
        _, gradient = setting.gradient(shares @ controls)
        velocity.mul_(MOMENTUM).addr_(shares[1:-1], gradient)
        controls[1:-1].sub_(velocity, alpha=lr)
        if step % every == 0 and setting.under(lambda t: weights(t) @ controls, threshold):
            return controls
    return None
