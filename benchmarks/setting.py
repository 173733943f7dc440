"""What every plain method works on: a network, its training examples, and those on which a threshold must hold."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn
from torch.nn.utils import parameters_to_vector, vector_to_parameters

GRID = 25
BLOCK = 1000
"""Images in one forward pass of an evaluation; ten thousand at once are slower."""
Examples = tuple[Tensor, Tensor]


@dataclass
class Setting:
    """Losses and gradients of one network in eager PyTorch, counted.

    Args:
        net: the module; a copy is used.
        loss_fn: the mean over examples.
        train: inputs and targets.
        evaluate: the same, of the set on which the threshold holds.
        whole: a look measures all 25 points of the grid, as the papers' code does, and stops at none.
    """

    net: nn.Module
    loss_fn: nn.Module
    train: Examples
    evaluate: Examples
    batch_size: int = 128
    whole: bool = False
    gradients: int = field(default=0, init=False)
    evaluations: int = field(default=0, init=False)
    _drawn: int = field(default=0, init=False)
    _highest: int = field(default=GRID // 2, init=False)

    def __post_init__(self) -> None:
        self.net = copy.deepcopy(self.net)

    def loss(self, theta: Tensor) -> float:
        """The evaluation loss."""
        self.evaluations += 1
        vector_to_parameters(theta, self.net.parameters())
        self.net.eval()
        inputs, targets = self.evaluate
        total = 0.0
        with torch.no_grad():
            for x, y in zip(inputs.split(BLOCK), targets.split(BLOCK), strict=True):
                total += float(self.loss_fn(self.net(x), y)) * len(x)
        return total / len(inputs)

    def minibatch(self) -> Examples:
        """The next one of the epoch; a new order when it is over."""
        inputs, targets = self.train
        start = self._drawn * self.batch_size % (len(inputs) - self.batch_size + 1)
        if start < self.batch_size:
            self._order = torch.randperm(len(inputs))
        self._drawn += 1
        rows = self._order[start : start + self.batch_size]
        return inputs[rows], targets[rows]

    def gradient(self, theta: Tensor) -> tuple[float, Tensor]:
        """Loss and gradient (P,) on the next minibatch."""
        self.gradients += 1
        vector_to_parameters(theta, self.net.parameters())
        self.net.train()
        x, y = self.minibatch()
        value = self.loss_fn(self.net(x), y)
        return value.item(), parameters_to_vector(torch.autograd.grad(value, [*self.net.parameters()]))

    def curve(self, at: Callable[[float], Tensor]) -> list[float]:
        """The evaluation loss at 25 points of a curve, both ends among them."""
        return [self.loss(at(i / (GRID - 1))) for i in range(GRID)]

    def under(self, at: Callable[[float], Tensor], threshold: float) -> bool:
        """Whether the grid is under the threshold; the ends are known, and the first point that is over ends the look.

        The one that was over last time comes first, so that a look costs hardly more than one evaluation until the
        last.
        """
        if self.whole:
            return max(self.curve(at)) <= threshold
        for i in sorted(range(1, GRID - 1), key=lambda i: abs(i - self._highest)):
            if not self.loss(at(i / (GRID - 1))) <= threshold:
                self._highest = i
                return False
        return True

    def trained(self, theta: Tensor, until: float, check_every: int = 20, most: int = 20_000) -> Tensor:
        """Adam from ``theta`` until the evaluation loss is at most ``until``."""
        theta = theta.clone()
        optimizer = torch.optim.Adam([theta], lr=1e-3)
        for step in range(most):
            if step % check_every == 0 and self.loss(theta) <= until:
                return theta
            theta.grad = self.gradient(theta)[1]
            optimizer.step()
        raise RuntimeError(f"no network of an evaluation loss of {until} after {most} steps of Adam")


def normalized_length(points: Iterable[Tensor]) -> float:
    """Of the polygon through points (P,), over the distance of its ends."""
    steps, first, last = [], None, None
    for point in points:
        first = point if first is None else first
        steps.append(0.0 if last is None else (point - last).norm().item())
        last = point
    return math.fsum(steps) / (last - first).norm().item()
