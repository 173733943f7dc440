"""What torch holds for a thread, such as inference mode and autocast, is left as found and changes no number."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, contextmanager

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

import weightstring as ws
from weightstring.memory import DoesNotFit


@contextmanager
def float64_by_default():
    torch.set_default_dtype(torch.float64)
    try:
        yield
    finally:
        torch.set_default_dtype(torch.float32)


SURROUNDINGS: dict[str, Callable[[], AbstractContextManager[object]]] = {
    "inference mode": torch.inference_mode,
    "no grad": torch.no_grad,
    "autocast": lambda: torch.autocast("cpu", torch.bfloat16),
    "another default dtype": float64_by_default,
    "another default device": lambda: torch.device("meta"),
}


def found() -> tuple[object, ...]:
    return (
        torch.is_grad_enabled(),
        torch.is_inference_mode_enabled(),
        torch.is_autocast_enabled("cpu"),
        torch.get_default_dtype(),
        torch.get_default_device(),
        torch.get_num_threads(),
        torch.are_deterministic_algorithms_enabled(),
    )


INPUTS = torch.linspace(-1, 2, 60).view(20, 3)
DATA = (INPUTS, INPUTS.sin() @ torch.ones(3, 2) + 0.3)


def net() -> nn.Module:
    torch.manual_seed(3)
    return nn.Sequential(nn.Linear(3, 5), nn.BatchNorm1d(5), nn.Tanh(), nn.Dropout(0.2), nn.Linear(5, 2))


def built(engine: str = "loop", make: Callable[[], nn.Module] = net) -> ws.ModuleProblem:
    return ws.ModuleProblem(make(), functional.mse_loss, DATA, batch_size=8, engine=engine, buffers=None)


@pytest.mark.parametrize("engine", ["loop", "vmap"])
@pytest.mark.parametrize("name", SURROUNDINGS)
def test_numbers_are_the_same_and_the_surroundings_as_they_were(name, engine):
    problem = built(engine)
    rows = torch.arange(8)[None]

    def numbers() -> list[Tensor]:
        theta = problem.initial(3)
        fit = problem.fit(seed=1, until=1e3)
        found = problem.gradient(theta[None], rows)
        values = problem.measure(theta[None], problem.quantities)
        state = problem.unflatten(theta)
        return [theta, fit, found.gradients, found.losses, *values.values(), *state.values(), problem.flatten(state)]

    expected = numbers()
    with SURROUNDINGS[name]():
        before = found()
        inside = numbers()
        assert found() == before
    for one, other in zip(expected, inside, strict=True):
        assert torch.equal(one, other)
        assert one.dtype == other.dtype
        assert one.device == other.device


@pytest.mark.many(quick=2)
@pytest.mark.parametrize("name", SURROUNDINGS)
def test_a_search_is_the_same_and_so_is_its_certificate(name):
    def make() -> nn.Module:
        torch.manual_seed(3)
        return nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 2))

    problem = built("auto", make)
    a, b = problem.initial(0), problem.initial(1)
    level = float(problem.measure(torch.stack([a, b]))["loss"].max()) * 1.2
    expected = ws.connect(problem, a, b, level, certify=True)
    with SURROUNDINGS[name]():
        before = found()
        inside = ws.connect(problem, a, b, level, certify=True)
        aligned = ws.align(problem, a, b)
        assert found() == before
    assert torch.equal(expected.string.beads, inside.string.beads)
    assert expected.certificate.holds
    assert expected.certificate.loosest == inside.certificate.loosest
    assert torch.equal(aligned.theta, ws.align(problem, a, b).theta)


@pytest.mark.parametrize("name", ["inference mode", "no grad", "autocast"])
def test_a_problem_may_be_built_anywhere(name):
    expected, rows = built(), torch.arange(8)[None]
    theta = expected.initial(3)
    with SURROUNDINGS[name]():
        problem = built()
        inside = problem.initial(3)
    assert torch.equal(inside, theta)
    assert torch.equal(problem.gradient(inside[None], rows).gradients, expected.gradient(theta[None], rows).gradients)
    assert problem.fingerprint() == expected.fingerprint()


class Padded(nn.Linear):
    """Makes a tensor of the default dtype in its forward pass, as code written for one dtype does."""

    def forward(self, inputs: Tensor) -> Tensor:
        return torch.cat([super().forward(inputs), torch.full((len(inputs), 1), 1 / 3)], dim=1)


def test_a_net_finds_the_default_dtype_with_which_its_problem_was_built():
    with float64_by_default():
        inputs = torch.linspace(-1, 1, 12).view(6, 2)
        problem = ws.ModuleProblem(
            Padded(2, 1), lambda output, targets: output.square().mean(), (inputs, inputs), engine="loop"
        )
        theta = problem.initial(0)
        expected = problem.measure(theta[None])["loss"]
    assert torch.equal(problem.measure(theta[None])["loss"], expected)


@pytest.mark.parametrize("engine", ["loop", "vmap", "stack"])
def test_models_made_in_inference_mode_have_gradients(engine):
    problem = ws.ModuleProblem(nn.Linear(3, 2), functional.mse_loss, DATA, engine=engine)
    with torch.inference_mode():
        theta = torch.linspace(-1, 1, problem.size)
    plain = torch.linspace(-1, 1, problem.size)
    rows = torch.arange(8)[None]
    assert torch.equal(problem.gradient(theta[None], rows).gradients, problem.gradient(plain[None], rows).gradients)
    other = theta + 0.1
    level = float(problem.measure(torch.stack([theta, other]))["loss"].max()) * 1.1
    assert ws.connect(problem, theta, other, level).connected


@pytest.mark.parametrize("mode", [True, False])
def test_lack_of_memory_is_told_by_the_call_that_was_made_and_blamed_on_no_model(refused, mode):
    class Net(nn.Linear):
        def forward(self, x: Tensor) -> Tensor:
            if self.training is mode:
                raise RuntimeError(
                    "DefaultCPUAllocator: can't allocate memory: you tried to allocate 8000000000 bytes."
                )
            return super().forward(x)

    with refused(DoesNotFit, r"^ModuleProblem does not fit into memory \(8.0 GB more were asked for\)"):
        ws.ModuleProblem(Net(2, 1), functional.mse_loss, (torch.ones(4, 2), torch.ones(4, 1)))
