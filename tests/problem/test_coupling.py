"""Full-batch gradients of modules whose examples meet: those of one pass, however small the chunks are."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional

import weightstring as ws
from weightstring.problem import dispatcher

N = 23


class Centred(nn.Module):
    """Subtracts the mean of its batch while training."""

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        return inputs - inputs.mean(0) if self.training else inputs


def problem(middle: nn.Module, chunk: int, **options: object) -> ws.ModuleProblem:
    torch.manual_seed(2)
    net = nn.Sequential(nn.Linear(3, 5), middle, nn.Tanh(), nn.Linear(5, 2)).double()
    data = 0.5 + torch.randn(N, 3, dtype=torch.float64), torch.randn(N, 2, dtype=torch.float64)
    return ws.ModuleProblem(net, functional.mse_loss, data, batch_size=None, chunk=chunk, engine="loop", **options)


@pytest.mark.parametrize("engine", ["loop", "vmap"])
@pytest.mark.parametrize("middle", [lambda: nn.BatchNorm1d(5), Centred], ids=["batch norm", "own"])
def test_a_full_batch_whose_examples_meet_is_one_pass(middle, engine):
    parts, whole = problem(middle(), 8), problem(middle(), N)
    thetas = torch.stack([parts.initial(seed) for seed in range(3)])
    parts.use_engine(engine)
    found, wanted = parts.gradient(thetas, None), whole.gradient(thetas, None)
    torch.testing.assert_close(found.losses, wanted.losses, rtol=1e-12, atol=0)
    torch.testing.assert_close(found.gradients, wanted.gradients, rtol=1e-10, atol=1e-14)


def test_batch_norm_beside_dropout_is_one_pass_too():
    """Where two gradients always differ, the layers are asked."""
    parts = problem(nn.Sequential(nn.BatchNorm1d(5), nn.Dropout(1e-9)), 8)
    whole = problem(nn.BatchNorm1d(5), N)
    theta = whole.initial(1)[None]
    torch.testing.assert_close(parts.gradient(theta, None).gradients, whole.gradient(theta, None).gradients)


def test_what_adds_up_is_computed_in_parts(monkeypatch):
    tried = []
    original = dispatcher.couples
    monkeypatch.setattr(dispatcher, "couples", lambda *given: tried.append(original(*given)) or tried[-1])
    plain = problem(nn.LayerNorm(5), 8)
    theta = plain.initial(1)[None]
    for _ in range(2):
        plain.gradient(theta, None)
        plain.gradient(theta, torch.arange(4)[None])
    assert tried == [False]


@pytest.mark.parametrize("rows", [None, torch.arange(2, 19)])
def test_the_hessian_is_that_of_one_pass_too(rows):
    parts, whole = problem(Centred(), 8), problem(Centred(), N)
    theta = whole.initial(1)
    vectors = torch.randn(2, whole.size, dtype=torch.float64)
    found, wanted = parts.hessian_products(theta, vectors, rows), whole.hessian_products(theta, vectors, rows)
    torch.testing.assert_close(found, wanted, rtol=1e-9, atol=1e-12)
