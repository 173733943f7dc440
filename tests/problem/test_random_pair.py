"""Two random models to grow a string between."""

from __future__ import annotations

import pytest
import torch

import weightstring as ws
from weightstring.errors import InvalidSetting
from weightstring.tasks import load_task


@pytest.fixture(scope="module")
def problem():
    return load_task("digits")


def test_they_are_random_and_determined_by_the_seed(problem):
    a, b = ws.random_pair(problem, seed=3)
    again = ws.random_pair(problem, seed=3)
    assert torch.equal(a, again[0])
    assert torch.equal(b, again[1])
    assert not torch.equal(a, b)
    assert not torch.equal(a, ws.random_pair(problem, seed=4)[0])


def test_a_radius_bounds_their_distance(problem):
    a, b = ws.random_pair(problem, radius=0.5)
    assert float((a - b).norm()) == pytest.approx(0.5, rel=1e-5)
    far, other = ws.random_pair(problem, radius=1e9)
    assert torch.equal(other, ws.random_pair(problem)[1])
    assert torch.equal(far, a)


def test_their_losses_may_be_asked_to_be_close(problem, refused):
    losses = problem.measure(torch.stack(ws.random_pair(problem, within=0.005)))["loss"]
    assert abs(float(losses[0] - losses[1])) <= 0.005
    with refused(InvalidSetting, r"^random_pair\(within=0\): of 100 random models the nearest in loss differs by "):
        ws.random_pair(problem, within=0.0)
    with refused(InvalidSetting, r"^random_pair\(radius=0\.0\): must be positive"):
        ws.random_pair(problem, radius=0.0)
