"""Gradient steps a second of a 1-4-4-1 network on 256 samples: many beads side by side against one.

    python -m benchmarks steps

A step is loss, gradient and Adam. ``floor`` is the arithmetic limit: the operations of a step (counted by
torch) at the rate this thread reaches on a large matrix product.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn

from benchmarks.measuring import alternating, asked, keep, parser, peak
from weightstring.descent import Optimizers
from weightstring.problem.engines.threads import BACKWARD
from weightstring.protocol import Recipe
from weightstring.tasks.polynomial import polynomial

SAMPLES = 256
REPEATS = 15
STEPS = 20


def library(engine: str, beads: int):
    """Steps of ``beads`` models, as a descent makes them."""
    problem = polynomial(samples=SAMPLES, batch_size=SAMPLES, optimizer="adam")
    problem.use_engine(engine)
    leaf = torch.stack([problem.initial(seed) for seed in range(beads)]).requires_grad_()
    optimizers = Optimizers(Recipe("adam", {"lr": 1e-3}))
    optimizers.add(leaf)

    def run() -> None:
        for _ in range(STEPS):
            leaf.grad = problem.gradient(leaf.detach(), None).gradients
            optimizers.step()

    return run, problem.engine_choice().flops


def plain():
    """Steps of one model in eager PyTorch."""
    problem = polynomial(samples=SAMPLES)
    net = nn.Sequential(nn.Linear(1, 4), nn.ReLU(), nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 1))
    net.load_state_dict(problem.unflatten(problem.initial(0)))
    x = torch.linspace(0, 1, SAMPLES).unsqueeze(1)
    y = 0.5 * x**2 + 0.25 * x + 0.1
    optimizer = torch.optim.Adam(net.parameters(), lr=1e-3)
    loss_fn = nn.MSELoss()

    def run() -> None:
        for _ in range(STEPS):
            optimizer.zero_grad()
            loss_fn(net(x), y).backward()
            optimizer.step()

    return run


def main(arguments: Sequence[str]) -> None:
    chosen = asked(parser(__doc__), arguments)
    sides = {"plain": (plain(), 1)}
    flops = 0.0
    for engine in ("vmap", "stack", "compiled"):
        for beads in (32,) if chosen.quick else (256, 2048):
            run, flops = library(engine, beads)
            sides[f"{engine}, {beads} beads"] = (run, beads)
    found = alternating({name: run for name, (run, _) in sides.items()}, REPEATS)
    each = {name: 1e6 * cost.cpu / STEPS / sides[name][1] for name, cost in found.items()}
    floor = 1e6 * BACKWARD * flops * SAMPLES / peak()
    keep(
        "steps",
        {
            "CPU microseconds a bead-step": {name: round(value, 2) for name, value in each.items()},
            "times plain": {name: round(each["plain"] / value, 1) for name, value in each.items()},
            "floor, microseconds": round(floor, 2),
        },
        chosen.quick,
    )
