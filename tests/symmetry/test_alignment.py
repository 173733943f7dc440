"""Alignment recovers the copies whose answer is known, and says what it did."""

from __future__ import annotations

import pytest

import weightstring as ws

from .zoo import ZOO, scattered

EVERY = [
    "mlp, relu",
    "mlp, tanh",
]


@pytest.mark.parametrize("name", ZOO)
@pytest.mark.parametrize("method", ["weights", "activations"])
def test_permuted_copies_are_recovered(name, method):
    problem = ZOO[name].problem()
    theta = scattered(problem)
    found = [ws.align(problem, theta, ws.permuted_copy(problem, theta, seed), methods=[method]) for seed in range(2)]
    assert [float((each.theta - theta).abs().max()) for each in found] == [0.0, 0.0]
