"""κ against the Hessian's own eigenvalues."""

from __future__ import annotations

import warnings
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from weightstring.errors import InvalidCheckpoint, InvalidSetting, Unsupported
from weightstring.path.sharpness import sharpness
from weightstring.problem import ModuleProblem
from weightstring.problem.surfaces import Ring


def normal(*shape: int, seed: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


INPUTS, TARGETS = normal(13, 3, seed=1), normal(13, 2, seed=2)


def problem(width: int) -> ModuleProblem:
    net = nn.Sequential(nn.Linear(3, width), nn.Tanh(), nn.Linear(width, 2)).double()
    return ModuleProblem(net, nn.functional.mse_loss, (INPUTS, TARGETS), batch_size=5)


def eigenvalues(posed: ModuleProblem, theta: Tensor) -> Tensor:
    """Of the dense Hessian, of the loss written out."""

    def loss(own: Tensor) -> Tensor:
        views = posed.layout.views(own)
        hidden = torch.tanh(INPUTS @ views["0.weight"].T + views["0.bias"])
        return (hidden @ views["2.weight"].T + views["2.bias"] - TARGETS).square().mean()

    with warnings.catch_warnings():  # torch.func is itself built with what torch warns of
        warnings.simplefilter("ignore", DeprecationWarning)
        return torch.linalg.eigvalsh(torch.func.hessian(loss)(theta))


class TestCurvature:
    @pytest.mark.many(quick=2)
    @pytest.mark.parametrize("width", [2, 3, 4, 9, 20])  # 14 and 20 parameters densely, 26 to 122 by Lanczos
    def test_it_is_the_largest_eigenvalue_of_the_dense_hessian(self, width: int) -> None:
        posed = problem(width)
        for seed in range(3):
            theta = 2 * posed.initial(seed)
            found, exact = sharpness(posed, theta, seed), eigenvalues(posed, theta)
            assert found.kappa == pytest.approx(float(exact[-1]), rel=1e-3)
            assert found.kappa <= float(exact[-1]) * (1 + 1e-12)
            assert float((exact - found.kappa).abs().min()) <= found.residual + 1e-12
            assert found.products > 0

    def test_it_is_the_largest_not_the_largest_in_size(self) -> None:
        class Bowl(nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.x = nn.Parameter(torch.ones(40, dtype=torch.float64))

            def forward(self, scales: Tensor) -> Tensor:
                return scales @ self.x.square() / 2

        scales = torch.linspace(-7, 2, 40, dtype=torch.float64)[None]
        posed = ModuleProblem(Bowl(), lambda output, _: output.mean(), (scales, torch.zeros(1, 1).double()))
        assert sharpness(posed, torch.ones(40).double()).kappa == pytest.approx(2, rel=1e-2)
        below = ModuleProblem(Bowl(), lambda output, _: output.mean(), (scales - 3, torch.zeros(1, 1).double()))
        assert sharpness(below, torch.ones(40).double()).kappa == pytest.approx(-1, rel=1e-2)

    def test_a_loss_without_curvature_has_none(self) -> None:
        posed = ModuleProblem(
            nn.Linear(30, 1).double(),
            lambda output, _: output.mean(),
            (normal(4, 30, seed=1), torch.zeros(4, 1).double()),
        )
        assert sharpness(posed, posed.initial(0))[:2] == (0.0, 0.0)

    def test_problems_without_a_hessian_are_refused(self, refused: Callable, watched: type) -> None:
        ring = Ring()
        with refused(Unsupported, "a Watched has no hessian_products"):
            sharpness(watched(ring), ring.ends[0])

    def test_operations_that_are_differentiable_once_are_refused(self, refused: Callable) -> None:
        class Once(torch.autograd.Function):
            @staticmethod
            def forward(context, x):
                context.save_for_backward(x)
                return x**2

            @staticmethod
            @torch.autograd.function.once_differentiable
            def backward(context, slope):
                return 2 * context.saved_tensors[0] * slope

        posed = ModuleProblem(
            nn.Linear(3, 1).double(),
            lambda output, _: Once.apply(output).square().mean(),
            (normal(4, 3, seed=1), torch.zeros(4, 1).double()),
            engine="loop",
        )
        with refused(Unsupported, "cannot differentiate the training loss twice .*once_differentiable"):
            sharpness(posed, posed.initial(0))

    def test_products_that_are_not_finite_are_refused(self, refused: Callable) -> None:
        posed = problem(4)
        with refused(InvalidSetting, "a product of the Hessian at this θ is not finite"):
            sharpness(posed, torch.full((posed.size,), 1e200, dtype=torch.float64))

    def test_models_of_another_problem_are_refused(self, refused: Callable) -> None:
        with refused(InvalidCheckpoint, r"the model has shape \(3,\)"):
            sharpness(problem(4), torch.zeros(3, dtype=torch.float64))
