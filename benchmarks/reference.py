"""The plain way to do it, against which weightstring is timed: what one would write in an afternoon.

Eager PyTorch, one bead at a time, 25-point grids on the whole evaluation set, torch.optim.Adam, a
check every 20 steps, and the same patience rule as the library: the best state counts, and a bead that
stops improving above α·L0 but under L0 is kept.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import nn
from torch.nn.utils import parameters_to_vector, vector_to_parameters

import weightstring as ws
from benchmarks.setting import GRID, Setting


@dataclass
class Plain(Setting):
    """Greedy Dynamic String Sampling (Section II.B) as a recursion over segments."""

    lr: float = 1e-3
    check_every: int = 20
    patience: int = 20
    max_steps: int = 10_000
    alpha: float = 0.95
    max_depth: int = 10

    @classmethod
    def of(cls, problem: ws.ModuleProblem, loss_fn: nn.Module, bind: str = "evaluate") -> Plain:
        """The network and data of a problem; the set on which the threshold holds is the one that is bound."""
        net, *_ = problem.traceable("loss")
        train, evaluate = problem.fitted()[0], problem.observed()
        data = train if bind == "train" else evaluate
        sets = ((each.leaves[0], each.targets) for each in (train, data))
        return cls(net, loss_fn, *sets, batch_size=problem.batch_size or problem.train_size)

    def descend(self, theta: torch.Tensor, threshold: float) -> torch.Tensor | None:
        """Adam from ``theta`` until the evaluation loss is at most α·L0; the best state if that is at most L0."""
        vector_to_parameters(theta, self.net.parameters())
        optimizer = torch.optim.Adam(self.net.parameters(), lr=self.lr)
        best, best_value, reference, stale = theta.clone(), math.inf, math.inf, 0
        self._drawn = 0
        for step in range(self.max_steps + 1):
            if step % self.check_every == 0:
                value = self.loss(parameters_to_vector(self.net.parameters()).detach())
                if value < best_value:
                    best, best_value = parameters_to_vector(self.net.parameters()).detach().clone(), value
                improved = value < reference * (1 - 1e-4)
                reference, stale = (value, 0) if improved else (reference, stale + 1)
                if best_value <= self.alpha * threshold or stale >= self.patience or not math.isfinite(value):
                    break
                self.net.train()
            x, y = self.minibatch()
            optimizer.zero_grad()
            self.loss_fn(self.net(x), y).backward()
            optimizer.step()
            self.gradients += 1
        return best if best_value <= threshold else None

    def connect(self, a: torch.Tensor, b: torch.Tensor, threshold: float, depth: int = 0) -> list[torch.Tensor] | None:
        """The beads from ``a`` to ``b``, both included; None where it fails."""
        curve = self.curve(lambda t: torch.lerp(a, b, t))
        if max(curve) <= threshold:
            return [a, b]
        if depth == self.max_depth:
            return None
        top = min(max(curve.index(max(curve)), 1), GRID - 2)
        bead = self.descend(torch.lerp(a, b, top / (GRID - 1)), threshold)
        if bead is None:
            return None
        left = self.connect(a, bead, threshold, depth + 1)
        right = None if left is None else self.connect(bead, b, threshold, depth + 1)
        return None if left is None or right is None else left[:-1] + right
