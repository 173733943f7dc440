"""Small networks on small data, off the origin, and every engine's answers to the same questions."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from weightstring.problem import ModuleProblem

MakeProblem = Callable[..., ModuleProblem]


def make_problem(
    net: nn.Module, *shape: int, count: int = 29, dtype: torch.dtype = torch.float64, **settings: object
) -> ModuleProblem:
    """Three classes of inputs of a shape; cross-entropy."""
    generator = torch.Generator().manual_seed(2)
    inputs = 1 + torch.randn(count, *shape, generator=generator)
    targets = torch.randint(3, (count,), generator=generator)
    return ModuleProblem(net, functional.cross_entropy, (inputs, targets), dtype=dtype, **settings)


def mlp(*between: nn.Module) -> nn.Sequential:
    """2-5-3, what is asked for in the middle."""
    return nn.Sequential(nn.Linear(2, 5), *(between or (nn.Tanh(),)), nn.Linear(5, 3))


def all_answers(problem: ModuleProblem, thetas: Tensor, rows: Tensor | None) -> tuple[Tensor, Tensor, Tensor]:
    """Measured losses (B, 1), training losses (B, 1) and gradients (B, P)."""
    losses, gradients = problem.gradient(thetas, rows)
    return problem.measure(thetas)["loss"][:, None], losses[:, None], gradients


@pytest.fixture(scope="session")
def problem_of() -> MakeProblem:
    return make_problem


@pytest.fixture(scope="session")
def plain() -> Callable[..., nn.Sequential]:
    return mlp


@pytest.fixture(scope="session")
def answers() -> Callable[..., tuple[Tensor, Tensor, Tensor]]:
    return all_answers


@pytest.fixture(scope="session")
def norm_mlp() -> Callable[[], nn.Module]:
    """A module that is no stack."""
    return lambda: nn.Sequential(nn.Linear(2, 5), nn.LayerNorm(5), nn.GELU(), nn.Linear(5, 3))


@pytest.fixture(scope="session")
def convolution() -> Callable[[], nn.Module]:
    layers = (nn.Conv1d(1, 3, 2), nn.BatchNorm1d(3), nn.ReLU(), nn.MaxPool1d(2), nn.Flatten(), nn.Linear(6, 3))
    return lambda: nn.Sequential(*layers)


@pytest.fixture(scope="session")
def dropping() -> Callable[[], nn.Module]:
    return lambda: nn.Sequential(nn.Linear(2, 40), nn.Dropout(0.5), nn.Linear(40, 3))
