"""Pairs of networks trained on real digits: every one is connected, also on a check four times as fine."""

from __future__ import annotations

from itertools import pairwise

import pytest
import torch

import weightstring as ws
from weightstring.tasks import load_task

PAIRS = 4
MARGIN = 1.02
CHECK = torch.linspace(0, 1, 401, dtype=torch.float64)


@pytest.fixture(scope="module")
def problem() -> ws.ModuleProblem:
    return load_task("digits")


@pytest.mark.slow
@pytest.mark.parametrize("pair", range(PAIRS))
def test_a_pair_is_connected(problem, digits_end, pair):
    a, b = digits_end(2 * pair), digits_end(2 * pair + 1)
    threshold = MARGIN * problem.measure(torch.stack([a, b]))["loss"].max().item()
    result = ws.connect(problem, a, b, threshold)
    assert result.connected, result
    beads = result.string.beads
    assert torch.equal(beads[0], a)
    assert torch.equal(beads[-1], b)
    for left, right in pairwise(beads):
        assert ws.loss_curve(problem, left, right, CHECK).max() <= threshold
