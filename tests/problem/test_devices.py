"""Devices other than the CPU: the same numbers there, no tensors of two devices in one operation, and no waiting."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional
from torch.utils import backend_registration
from torch.utils._python_dispatch import TorchDispatchMode

import weightstring as ws
from weightstring.devices import sent
from weightstring.problem import ModuleProblem
from weightstring.problem.datasets import hosted, sources
from weightstring.problem.datasets.stored import Stored
from weightstring.proof.enclose.intervals import Intervals, Weights

INPUTS = torch.randn(60, 4, generator=torch.Generator().manual_seed(0))
CLASSES = (INPUTS[:, 0] > 0).long()


class Waits(TorchDispatchMode):
    """Counts what a GPU's host would wait for: single numbers read by Python, and masks turned into indices."""

    def __init__(self) -> None:
        super().__init__()
        self.count = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: Any = None) -> Any:
        self.count += func.name() in ("aten::_local_scalar_dense", "aten::equal", "aten::nonzero")
        return func(*args, **(kwargs or {}))


def problem_of(engine: str, *layers: nn.Module) -> ModuleProblem:
    net = nn.Sequential(nn.Linear(4, 8), *layers, nn.Linear(8, 2))
    return ModuleProblem(net, functional.cross_entropy, (INPUTS, CLASSES), engine=engine, batch_size=16)


def waits_of(problem: ModuleProblem, steps: int, every: int, recipe: ws.Recipe) -> int:
    recipe = ws.Recipe(recipe.optimizer, recipe.options, check_every=every, clip=recipe.clip, schedule=recipe.schedule)
    with Waits() as waits, pytest.raises(ws.LevelNotReached):
        problem.fit(0, 1e-9, steps, recipe=recipe)
    return waits.count


@pytest.mark.many(quick=4)
@pytest.mark.parametrize("engine", ["loop", "vmap", "stack", "dropout"])
@pytest.mark.parametrize(
    "recipe", [ws.Recipe("adam", clip=1.0), ws.Recipe("sgd", {"lr": 0.01, "momentum": 0.9}, schedule="cosine")]
)
def test_gradient_steps_wait_for_nothing_and_checks_for_their_values(engine: str, recipe: ws.Recipe) -> None:
    layers = [nn.Dropout(0.2)] if engine == "dropout" else []
    problem = problem_of("loop" if layers else engine, nn.Tanh(), *layers)
    problem.initial(0)  # what is looked at once is looked at now
    few, many, often = (waits_of(problem, *steps, recipe) for steps in ((4, 40), (24, 40), (24, 6)))
    assert few == many
    assert often == many


def test_rows_of_draws_stay_where_they_are_hashed() -> None:
    problem = problem_of("loop", nn.Dropout(0.5))
    rows = torch.arange(16)[None]
    assert sent(rows, torch.device("cpu")) is rows
    first, second = (problem.gradient(problem.initial(1)[None], rows) for _ in range(2))
    assert torch.equal(first.gradients, second.gradients)


@pytest.mark.parametrize("engine", ["loop", "vmap", "stack"])
def test_data_without_room_on_the_device_stay_on_the_cpu_with_the_same_numbers(
    engine: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = problem_of(engine, nn.Tanh())
    for module in (sources, hosted):
        monkeypatch.setattr(module, "fits", lambda needed, device: False)
    there = problem_of(engine, nn.Tanh())
    assert isinstance(there._parts.train, Stored)
    theta, rows = here.initial(0)[None], torch.tensor([[7, 3, 59, 0]])
    assert torch.equal(here.measure(theta)["loss"], there.measure(theta)["loss"])
    for chosen in (rows, None):
        assert torch.equal(here.gradient(theta, chosen).gradients, there.gradient(theta, chosen).gradients)
    assert here.fingerprint() == there.fingerprint()


def test_a_device_without_float64_is_refused_in_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    zeros = torch.zeros

    def without_float64(*size: Any, dtype: torch.dtype | None = None, **more: Any) -> torch.Tensor:
        if dtype == torch.float64:
            raise TypeError(
                "Cannot convert a MPS Tensor to float64 dtype as the MPS framework doesn't support float64."
            )
        return zeros(*size, dtype=dtype, **more)

    monkeypatch.setattr(torch, "zeros", without_float64)
    with pytest.raises(ws.InvalidSetting, match="device='cpu' has no float64, in which losses are summed"):
        ModuleProblem(nn.Linear(4, 2), functional.cross_entropy, (INPUTS, CLASSES), device="cpu")


def test_bounds_take_intervals_to_where_the_weights_lie() -> None:
    at = torch.tensor([0.0, 0.5], dtype=torch.float64)
    there = Intervals(torch.tensor([0, 1]), at, at).to(torch.device("meta"))
    some = there.take(torch.tensor([1]))
    weights = Weights(torch.ones(3, 4, dtype=torch.float64, device="meta"))
    assert {tensor.device.type for tensor in (some.segments, some.low, weights.magnitude(some))} == {"meta"}


@pytest.mark.slow
@pytest.mark.skipif(
    not hasattr(backend_registration, "_setup_privateuseone_for_python_backend"),
    reason="this version of torch takes no backend written in Python",
)
def test_on_a_second_device_all_numbers_are_those_of_the_cpu_and_no_step_waits() -> None:
    root = Path(__file__).parents[2]
    run = subprocess.run(
        [sys.executable, "-m", "tests.problem.on_second_device"], capture_output=True, text=True, cwd=root, check=False
    )
    assert run.returncode == 0, run.stderr[-2000:]
    found = json.loads(run.stdout)
    assert found["waits"] == dict.fromkeys(found["waits"], 0)
    for name, apart in found["apart"].items():
        allowed = 1e-2 if name == "dropout" else 1e-4  # in bfloat16
        assert {what: value for what, value in apart.items() if value > allowed} == {}, name
        assert apart["initial"] == 0
