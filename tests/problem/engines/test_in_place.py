"""Models of a segment that the module itself makes in its parameters."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from weightstring import ModuleProblem
from weightstring.problem import dispatcher
from weightstring.problem.flat import Own
from weightstring.problem.live import Live


def problem_of(net: nn.Module, **settings: object) -> ModuleProblem:
    """A loss by one model at a time, and one more metric that sees inputs."""
    draw = torch.Generator().manual_seed(0)
    x, y = torch.randn(12, 6, generator=draw), torch.randint(3, (12,), generator=draw)
    seen = {"seen": lambda output, targets, inputs: (output.mean(1) * inputs[:, 0]).sum()}
    return ModuleProblem(net, nn.CrossEntropyLoss(), (x, y), (x[:7], y[:7]), metrics=seen, engine="loop", **settings)


@pytest.mark.parametrize(
    "net",
    [
        nn.Sequential(nn.Linear(6, 5), nn.Tanh(), nn.Linear(5, 3)),
        nn.Sequential(nn.Linear(6, 5), nn.BatchNorm1d(5), nn.Linear(5, 3)),
        nn.Sequential(nn.utils.parametrizations.spectral_norm(nn.Linear(6, 3))),
        nn.Sequential(nn.Linear(6, 5), nn.Linear(5, 3).to(torch.bfloat16)).bfloat16(),
    ],
)
def test_models_made_in_the_module_measure_what_models_made_before_do(
    net: nn.Module, monkeypatch: pytest.MonkeyPatch
) -> None:
    problem = problem_of(net)
    assert not problem.shares_along  # so small a θ is made as fast as it is copied
    monkeypatch.setattr(dispatcher, "LARGE_BYTES", 0)
    a, b, ts = problem.initial(1), problem.initial(2), torch.tensor([0.0, 0.3, 0.7, 1.0], dtype=torch.float64)
    assert problem.shares_along
    along = problem.measure_along(a, b, ts, problem.quantities)
    before = problem.measure(torch.lerp(a, b, ts.to(a).unsqueeze(1)), problem.quantities)
    for name in problem.quantities:
        assert torch.equal(along[name], before[name]), name
    # What the module held then is no other model's.
    assert torch.equal(problem.measure(b[None])["loss"], along["loss"][-1:])


def test_a_module_that_rests_takes_no_memory_and_computes_the_same_afterwards() -> None:
    problem = problem_of(nn.Sequential(nn.Linear(6, 5), nn.Tanh(), nn.Linear(5, 3)))
    theta, computing = problem.initial(1), problem.evaluating
    before = problem.measure(theta[None])["loss"]
    assert isinstance(computing, Live)
    with computing.resting(problem.initial(2)):
        assert all(parameter.untyped_storage().nbytes() == 4 for parameter in computing.parameters)
        assert all(parameter.isnan().all() for parameter in computing.parameters)
    assert torch.equal(computing.layout.joined(computing.parameters, problem.device), problem.initial(2))
    assert torch.equal(problem.measure(theta[None])["loss"], before)


def test_numbers_of_another_module_stand_for_a_model_without_a_copy() -> None:
    net = nn.Sequential(nn.Linear(6, 5), nn.Linear(5, 3))
    problem = problem_of(net)
    computing, examples = problem.evaluating, problem.observed()
    assert isinstance(computing, Live)
    with computing.written(Own(net, computing.layout).pieces) as theta, torch.no_grad():
        assert not theta.numel()
        assert torch.equal(computing(theta, examples), net(*examples.leaves))
