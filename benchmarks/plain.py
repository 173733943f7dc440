"""What a search does, as a plain PyTorch script would: no search, no checks, no record."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

Loss = Callable[[Tensor, Tensor], Tensor]
Data = tuple[Tensor, Tensor]


def walked(net: nn.Module, loss: Loss, data: Data, a: Tensor, b: Tensor, ts: Sequence[float]) -> list[float]:
    """Losses at positions of the segment between two models (P,)."""
    inputs, targets = data
    net.eval()
    losses = []
    with torch.no_grad():
        for t in ts:
            nn.utils.vector_to_parameters(torch.lerp(a, b, t), net.parameters())
            losses.append(float(loss(net(inputs), targets)))
    return losses


def descended(net: nn.Module, loss: Loss, data: Data, until: float, most: int) -> int:
    """Train ``net`` by Adam until its loss is at most ``until``; returns the steps that it took."""
    inputs, targets = data
    net.train()
    optimizer, value = torch.optim.Adam(net.parameters(), lr=1e-3), math.inf
    for step in range(most):
        optimizer.zero_grad()
        value = loss(net(inputs), targets)
        if value.item() <= until:
            return step
        value.backward()
        optimizer.step()
    return most


def multiplied(net: nn.Module, loss: Loss, data: Data, count: int) -> None:
    """Products of the Hessian of the loss with ``count`` random vectors, all by one graph."""
    inputs, targets = data
    net.eval()
    parameters = list(net.parameters())
    with sdpa_kernel(SDPBackend.MATH):  # fused attention has no second derivative
        slopes = torch.autograd.grad(loss(net(inputs), targets), parameters, create_graph=True)
    for _ in range(count):
        vectors = [torch.randn_like(parameter) for parameter in parameters]
        torch.autograd.grad(slopes, parameters, vectors, retain_graph=True)
