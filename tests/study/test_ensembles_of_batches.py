"""Ensembles of losses that call the module themselves, against values by hand."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

import weightstring as ws
from weightstring.study.merge import merge


def noise(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def classes(*shape: int, count: int = 3) -> Tensor:
    return torch.randint(count, shape, generator=torch.Generator().manual_seed(9))


def merged(problem: ws.ModuleProblem, **settings: object) -> ws.Merging:
    string = ws.WeightString(problem, torch.stack([3 * problem.initial(seed) for seed in (0, 1)]))
    return merge(problem, string, points=2, **settings)


def of_batches(net: nn.Module, loss) -> ws.ModuleProblem:
    batches = [{"x": noise(n, 4, seed=n), "y": classes(n)} for n in (3, 2)]
    return ws.ModuleProblem.from_batches(net, batches, loss=loss)


def test_batches_by_hand():
    def loss(net: nn.Module, batch: dict[str, Tensor]) -> tuple[Tensor, int]:
        return functional.cross_entropy(net(batch["x"]), batch["y"], reduction="sum"), len(batch["y"])

    problem = of_batches(nn.Linear(4, 3), loss)
    ensemble = merged(problem).ensemble
    nets = []
    for seed in (0, 1):
        nets.append(nn.Linear(4, 3))
        nets[-1].load_state_dict(problem.unflatten(3 * problem.initial(seed)))
    x, y = (torch.cat([source(3), source(2)]) for source in (lambda n: noise(n, 4, seed=n), classes))
    mean = torch.stack([net(x).detach().double().softmax(1) for net in nets]).mean(0)
    assert ensemble.average == "probabilities"
    assert ensemble.values["loss"] == pytest.approx(float(functional.nll_loss(mean.log(), y)), rel=1e-5)


def test_batches_of_which_more_of_a_model_enters_are_refused():
    def loss(net: nn.Module, batch: dict[str, Tensor]) -> tuple[Tensor, int]:
        sure = net(batch["x"]).softmax(1).amax(1).detach()  # which no gradient shows
        each = functional.cross_entropy(net(batch["x"]), batch["y"], reduction="none")
        return (sure * each).sum(), len(batch["y"])

    missing = merged(of_batches(nn.Linear(4, 3), loss)).missing
    assert missing.endswith("the loss depends on more of a model than the predictions that torch's loss functions take")


def test_batches_without_a_loss_function_of_torchs_are_refused():
    problem = of_batches(nn.Linear(4, 1), lambda net, batch: ((net(batch["x"])).square().sum(), len(batch["y"])))
    missing = merged(problem).missing
    assert missing.startswith(
        "the loss calls the module itself with a batch, and has no output; the loss calls none of"
    )
