"""A task small enough to be swept in every test."""

from __future__ import annotations

import torch
from torch import nn

import weightstring as ws


def line(activation: type[nn.Module], hidden: int = 6) -> ws.ModuleProblem:
    """|x − .3| by one hidden layer; the evaluation set lies between the training points."""
    x = torch.linspace(-1, 2, 21).unsqueeze(1)
    between = x[:-1] + 0.07
    return ws.ModuleProblem(
        nn.Sequential(nn.Linear(1, hidden), activation(), nn.Linear(hidden, 1)),
        nn.functional.mse_loss,
        (x, (x - 0.3).abs()),
        (between, (between - 0.3).abs()),
        batch_size=None,
        engine="loop",
        recipe=ws.Recipe("adam", {"lr": 0.02}, check_every=10, max_steps=600),
    )
