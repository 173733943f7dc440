"""What it costs to make a problem: forward passes on a probe of at most 64 examples, and hardly any larger one."""

from __future__ import annotations

from typing import ClassVar

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

import weightstring as ws

PROBE = 64
BEFORE_PURITY_WAS_TESTED = 6
"""Passes that shapes, means and determinism take; what a pass may write to and depend on takes at most five more."""


class Counted(nn.Module):
    """Notes how many examples each pass of any copy has."""

    passes: ClassVar[list[int]] = []

    def __init__(self, middle: nn.Module) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(3, 5), middle, nn.Linear(5, 2))

    def forward(self, inputs: Tensor) -> Tensor:
        Counted.passes.append(len(inputs))
        return self.layers(inputs)


@pytest.mark.parametrize("examples", [50, 400])
@pytest.mark.parametrize("middle", [nn.Tanh, lambda: nn.BatchNorm1d(5), nn.Dropout], ids=["tanh", "norm", "dropout"])
def test_construction_takes_at_most_five_probes_more(middle, examples):
    data = [(torch.randn(count, 3), torch.randn(count, 2)) for count in (examples, examples - 10)]
    Counted.passes.clear()
    ws.ModuleProblem(Counted(middle()), functional.mse_loss, *data, batch_size=16, metrics={"l1": functional.l1_loss})
    assert len([size for size in Counted.passes if size <= PROBE]) <= BEFORE_PURITY_WAS_TESTED + 5
    assert len([size for size in Counted.passes if size > PROBE]) <= 1
