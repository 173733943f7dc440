"""Which part of two models raises the line between them."""

from __future__ import annotations

import pytest
import torch
from torch import nn

import weightstring as ws
from weightstring.errors import InvalidSetting
from weightstring.problem.surfaces import Ring


def of_two_layers(x: torch.Tensor | None = None) -> ws.ModuleProblem:
    """y = w2 w1 x, whose loss is (1 − w1 w2)² where x is 1."""
    net = nn.Sequential(nn.Linear(1, 1, bias=False), nn.Linear(1, 1, bias=False))
    x = torch.ones(4, 1) if x is None else x
    return ws.ModuleProblem(net, nn.functional.mse_loss, (x, x), engine="loop")


def test_a_part_that_differs_alone_is_the_whole_line():
    problem = of_two_layers()
    found = ws.blame(problem, torch.tensor([1.0, 3.0]), torch.tensor([1.0, -1.0]), at=[0.25, 0.5, 0.75])
    same, other = found.parts
    rises = [(1 - (3 - 4 * t)) ** 2 - 4 for t in (0.25, 0.5, 0.75)]
    assert same.alone == pytest.approx((0.0, 0.0))
    assert same.without == pytest.approx((max(rises),) * 2)
    assert other.alone == pytest.approx((max(rises),) * 2)
    assert other.without == pytest.approx((0.0, 0.0))
    assert (same.length, same.cosine, other.length, other.cosine) == (0.0, 1.0, 4.0, -1.0)


def test_each_part_is_measured_from_both_ends():
    """By hand: ends (1, 1) and (2, ½), both of loss 0, in the middle of the line."""
    found = ws.blame(of_two_layers(), torch.tensor([1.0, 1.0]), torch.tensor([2.0, 0.5]), at=[0.5])
    first, second = found.parts
    assert first.alone == pytest.approx(((1 - 1.5) ** 2, (1 - 1.5 * 0.5) ** 2))
    assert first.without == pytest.approx(((1 - 0.75) ** 2, (1 - 2 * 0.75) ** 2))
    assert second.alone == pytest.approx(first.without)
    assert second.without == pytest.approx(first.alone)
    assert found.worst.costs == pytest.approx(0.25)
    assert found.most_saving.leaves == pytest.approx(0.0625)


def test_outputs_of_a_layer_that_both_share_agree_entirely():
    problem = of_two_layers(torch.randn(64, 1, generator=torch.Generator().manual_seed(0)))
    found = ws.blame(problem, torch.tensor([1.0, 1.0]), torch.tensor([1.0, -1.0]))
    assert [part.correlation for part in found.parts] == pytest.approx([1.0, -1.0])


def test_it_refuses_what_has_no_parts():
    ring = Ring()
    with pytest.raises(InvalidSetting, match="blame takes a loss whose parts have names"):
        ws.blame(ring, *ring.ends)
    problem = of_two_layers()
    for wrong in ({"depth": 0}, {"at": [1.0]}, {"parts": {"x": ["none.*"]}}, {"parts": {"x": ["0.*"], "y": ["0.w*"]}}):
        with pytest.raises(InvalidSetting):
            ws.blame(problem, torch.ones(2), -torch.ones(2), **wrong)


def test_a_line_that_never_rises_is_measured_in_its_middle():
    found = ws.blame(of_two_layers(), torch.tensor([1.0, 2.0]), torch.tensor([1.0, -1.0]))
    assert found.at == (0.5,)
    assert str(found).startswith("nothing to blame")
