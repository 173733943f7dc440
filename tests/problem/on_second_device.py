"""What is computed on a second device, beside the same on the CPU; run as a program, by ``test_devices.py``."""

from __future__ import annotations

import json
from functools import cache

import torch
from torch import Tensor, nn

import weightstring as ws
from tests.problem.second_device import register, waits

INPUTS = torch.randn(120, 4, generator=torch.Generator().manual_seed(0))
CLASSES = (INPUTS[:, 0] * INPUTS[:, 1] > 0).long()


def error(output: Tensor, targets: Tensor) -> Tensor:
    return (output.argmax(1) != targets).double().mean()


def sighted(output: Tensor, targets: Tensor, inputs: Tensor) -> Tensor:
    return (output.sum() * inputs.sum()).abs()


NETS = {
    "stack": lambda: nn.Sequential(nn.Linear(4, 16), nn.Tanh(), nn.Linear(16, 2)),
    "vmap": lambda: nn.Sequential(nn.Linear(4, 16), nn.LayerNorm(16), nn.GELU(), nn.Linear(16, 2)),
    "loop": lambda: nn.Sequential(  # without a bias, whose gradient is rounding alone, which Adam would follow
        nn.utils.parametrizations.spectral_norm(nn.Linear(4, 16, bias=False)),
        nn.BatchNorm1d(16),
        nn.Tanh(),
        nn.Linear(16, 2),
    ),
    "dropout": lambda: nn.Sequential(nn.Linear(4, 16), nn.Tanh(), nn.Dropout(0.1), nn.Linear(16, 2)).bfloat16(),
}


@cache
def pair_of(name: str, device: torch.device) -> tuple[ws.ModuleProblem, ws.ModuleProblem]:
    """A problem on the CPU, and there; they are built once."""
    torch.manual_seed(0)
    net = NETS[name]()
    engine = name if name in ("stack", "vmap") else "loop"
    problems = [
        ws.ModuleProblem(
            net,
            nn.CrossEntropyLoss(weight=torch.tensor([1.0, 2.0])),
            (INPUTS, CLASSES),
            (INPUTS[:60], CLASSES[:60]),
            metrics={"error": error, "sighted": sighted},
            recipe=ws.Recipe("adam", {"lr": 0.02}, clip=5.0),
            device=each,
            engine=engine,
            batch_size=32,
        )
        for each in ("cpu", device)
    ]
    return problems[0], problems[1]


def apart(first: Tensor, second: Tensor) -> float:
    first, second = first.cpu().double(), second.cpu().double()
    return float((first - second).norm() / first.norm()) if first.shape == second.shape else float("inf")


def compared(name: str, device: torch.device) -> dict[str, float]:
    """How far what is computed there is from what is computed on the CPU."""
    here, there = pair_of(name, device)
    a, b = (here.fit(seed, 0.4) for seed in (0, 1))
    far_a, far_b = a.to(device), b.to(device)
    rows = torch.arange(32).flip(0)[None]
    found = {
        "initial": apart(here.initial(3), there.initial(3)),
        "fitted": apart(a, there.fit(0, 0.4)),
        "measured": max(
            apart(one, other)
            for one, other in zip(
                here.measure(torch.stack([a, b]), here.quantities).values(),
                there.measure(torch.stack([far_a, far_b]), there.quantities).values(),
                strict=True,
            )
        ),
        "gradient": apart(here.gradient(a[None], rows).gradients, there.gradient(far_a[None], rows).gradients),
        "whole gradient": apart(here.gradient(a[None], None).gradients, there.gradient(far_a[None], None).gradients),
        "each": apart(here.measure_each(a), there.measure_each(far_a)),
        "curvature": apart(
            here.hessian_products(a, b[None], rows[0]), there.hessian_products(far_a, far_b[None], rows[0])
        ),
        "saved": apart(here.flatten(here.unflatten(a)), there.flatten(there.unflatten(far_a))),
    }
    if name in ("stack", "vmap"):
        found["aligned"] = apart(ws.align(here, a, b).theta, ws.align(there, far_a, far_b).theta)
    one, other = (ws.connect(problem, *ends, 0.6) for problem, ends in ((here, (a, b)), (there, (far_a, far_b))))
    return {**found, "string": apart(one.string.beads, other.string.beads)}


def waiting(name: str, device: torch.device, **recipe: object) -> float:
    """How often the CPU waits in one gradient step."""
    _, there = pair_of(name, device)
    there.initial(0)  # what is looked at once is looked at now
    counts = []
    for steps in (10, 30):
        waits.clear()
        try:
            there.fit(0, 1e-9, steps, recipe=ws.Recipe(check_every=1000, **recipe))
        except ws.LevelNotReached:
            counts.append(len(waits))
    return (counts[1] - counts[0]) / 20


if __name__ == "__main__":
    place = register()
    recipes = {
        "adam": {"optimizer": "adam", "options": {"lr": 0.01}, "clip": 1.0},
        "sgd": {"optimizer": "sgd", "options": {"lr": 0.01, "momentum": 0.9}, "schedule": "cosine", "warmup": 3},
    }
    print(
        json.dumps(
            {
                "apart": {name: compared(name, place) for name in NETS},
                "waits": {f"{name}, {of}": waiting(name, place, **own) for name in NETS for of, own in recipes.items()},
            }
        )
    )
