"""How high the loss is on a whole curve, densely sampled, with first layers computed from those of the control points.

A linear or convolutional layer is affine in its parameters, so that on a curve θ(t) = Σ w_k(t) θ_k its output on an
image is Σ w_k(t) of the control points' outputs. That is most of a wide network's arithmetic, and changes nothing but
rounding.
"""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn
from torch.nn.utils import vector_to_parameters

from benchmarks.curves import Weights
from benchmarks.setting import BLOCK, Examples

POINTS = 401


@torch.no_grad()
def highest(net: nn.Sequential, controls: Tensor, weights: Weights, data: Examples, points: int = POINTS) -> float:
    """The largest mean cross-entropy at evenly spaced t of a curve with control points (K, P)."""
    net = copy.deepcopy(net).eval()
    rest, inputs, targets = net[1:], *data
    all_shares = [weights(i / (points - 1)) for i in range(points)]
    losses = torch.zeros(points, dtype=torch.float64)
    for x, y in zip(inputs.split(BLOCK), targets.split(BLOCK), strict=True):
        firsts = []
        for control in controls:
            vector_to_parameters(control, net.parameters())
            firsts.append(net[0](x))
        for i, shares in enumerate(all_shares):
            vector_to_parameters(shares @ controls, net.parameters())
            first = sum(float(share) * own for share, own in zip(shares, firsts, strict=True) if share)
            losses[i] += float(nn.functional.cross_entropy(rest(first), y, reduction="sum"))
    return float(losses.max()) / len(inputs)
