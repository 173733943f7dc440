"""The bootstrap interval of a string's maximum, and where there is none."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

import weightstring as ws
from weightstring import WeightString
from weightstring.study.sweep.sampling import maximum_interval

INPUTS = torch.randn(60, 2, generator=torch.Generator().manual_seed(0))
CLASSES = torch.arange(60) % 3


def root_of_mean(output: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    return (output - target).square().mean().sqrt()


def string(problem: ws.ModuleProblem) -> WeightString:
    return WeightString(problem, torch.stack([problem.initial(0), problem.initial(1)]))


@pytest.mark.parametrize(
    "loss_fn", [nn.CrossEntropyLoss(weight=torch.tensor([10.0, 1.0, 0.1])), nn.CrossEntropyLoss(ignore_index=0)]
)
def test_a_weighted_loss_has_an_interval_of_its_ratio(loss_fn: nn.Module) -> None:
    own = string(ws.ModuleProblem(nn.Linear(2, 3), loss_fn, (INPUTS, CLASSES)))
    found = maximum_interval(own)
    assert found.value == own.max_loss
    assert found.low < found.value < found.high


def test_a_metric_that_is_no_mean_has_none_while_the_loss_has_one() -> None:
    data = (INPUTS, INPUTS[:, :1])
    own = string(ws.ModuleProblem(nn.Linear(2, 1), nn.MSELoss(), data, metrics={"root": root_of_mean}))
    assert math.isnan(maximum_interval(own, "root").low)
    found = maximum_interval(own)
    assert found.low < found.value < found.high


@pytest.mark.parametrize("scale", [1.0, 1e-4])
def test_rounding_of_single_numbers_does_not_count(scale: float) -> None:
    x = torch.randn(5000, 2, generator=torch.Generator().manual_seed(1))
    own = string(ws.ModuleProblem(nn.Linear(2, 1), nn.MSELoss(), (scale * x, scale * x[:, :1])))
    assert math.isfinite(maximum_interval(own).low)
