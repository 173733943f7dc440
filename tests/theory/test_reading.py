"""What a proof assumes of a net and a loss is read from what they compute, whatever they are called."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils import parametrize

import weightstring as ws
from weightstring.proof.disconnect import prove
from weightstring.theory.reading import read

X = torch.tensor([[1.0, 0.2], [-0.3, 1.1], [0.4, -1.2], [-1.0, -0.5]], dtype=torch.float64)
Y = torch.tensor([[1.0, 0.0], [0.3, 1.0], [-0.2, 0.8], [0.5, -1.0]], dtype=torch.float64)
SWAP = torch.eye(2, dtype=torch.float64)[[1, 0]]
W, BETA = torch.tensor([[1.0, 0.1], [0.0, 1.0]]).double(), torch.tensor([[0.6, 0.1], [0.2, 0.7]]).double()
A, B = torch.cat([W.flatten(), BETA.flatten()]), torch.cat([(SWAP @ W).flatten(), (BETA @ SWAP).flatten()])


def small(rho: nn.Module | None = None) -> nn.Sequential:
    return nn.Sequential(nn.Linear(2, 2, bias=False), rho or nn.ReLU(), nn.Linear(2, 2, bias=False)).double()


def problem_of(net: nn.Module, loss: Callable[..., Tensor]) -> ws.ModuleProblem:
    return ws.ModuleProblem(net.double(), loss, (X, Y), batch_size=None)


def hooked_loss() -> nn.Module:
    loss = nn.MSELoss()
    loss.register_forward_hook(lambda module, given, value: value.clamp(max=0.01))
    return loss


def loss_with_its_own_forward() -> nn.Module:
    loss = nn.MSELoss()
    loss.forward = lambda output, target: functional.l1_loss(output, target)  # type: ignore[method-assign]
    return loss


class Tame(nn.MSELoss):
    def forward(self, output: Tensor, target: Tensor) -> Tensor:
        return super().forward(output, target) / (1 + super().forward(output, target))


class Skip(nn.Sequential):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x) + x


class Bent(nn.Linear):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x).tanh()


class Halved(nn.Module):
    def forward(self, w: Tensor) -> Tensor:
        return w.tanh()


def hooked_layer() -> nn.Module:
    net = small()
    net[1].register_forward_hook(lambda module, given, value: value + 1)
    return net


def hooked_net() -> nn.Module:
    net = small()
    net.register_forward_pre_hook(lambda module, given: (given[0].flip(1).sin(),))
    return net


def instance_forward() -> nn.Module:
    net = small()
    net[2].forward = lambda x: functional.linear(x, net[2].weight) + x  # type: ignore[method-assign]
    return net


def parametrized() -> nn.Module:
    net = small()
    parametrize.register_parametrization(net[0], "weight", Halved())
    return net


def asks_whether_it_is_exported() -> nn.Module:
    class Shy(nn.Sequential):
        def forward(self, x: Tensor) -> Tensor:
            output: Tensor = super().forward(x)
            return output if torch.compiler.is_compiling() else output + x

    return Shy(*small())


class TestNotRecognised:
    @pytest.mark.many(quick=4)
    @pytest.mark.parametrize(
        "loss",
        [
            hooked_loss(),
            loss_with_its_own_forward(),
            Tame(),
            nn.L1Loss(),
            nn.HuberLoss(delta=0.1),
            lambda output, target: functional.mse_loss(output, target.flip(1)),
            lambda output, target: ((output - target) ** 4).mean(),
            lambda output, target: ((output - target) * (target - output)).mean(),
            lambda output, target: functional.mse_loss(output.relu(), target),
            lambda output, target: (output[:, :1] - target).square().mean(),
            lambda output, target: functional.mse_loss(output, target) + output.sum() * 0,
        ],
    )
    def test_a_loss_that_only_looks_squared_proves_nothing(self, loss: Callable[..., Tensor]) -> None:
        problem = problem_of(small(), loss)
        assert read(problem) is None
        assert prove(problem, A, B) is None

    @pytest.mark.many(quick=4)
    @pytest.mark.parametrize(
        "net",
        [
            hooked_layer(),
            hooked_net(),
            instance_forward(),
            parametrized(),
            Skip(*small()),
            nn.Sequential(Bent(2, 2, bias=False), nn.ReLU(), nn.Linear(2, 2, bias=False)),
            small(nn.Softplus()),
            small(nn.GELU()),
            small(nn.Sequential(nn.ReLU(), nn.ReLU6())),
            nn.Sequential(nn.Linear(2, 2, bias=False), nn.ReLU(), nn.Linear(2, 2)),
        ],
    )
    def test_a_net_that_only_looks_like_one_hidden_layer_proves_nothing(self, net: nn.Module) -> None:
        problem = problem_of(net, nn.MSELoss())
        assert read(problem) is None
        theta = problem.flatten(net)
        assert prove(problem, theta, theta.flip(0)) is None

    def test_what_was_traced_must_be_what_is_computed(self) -> None:
        assert prove(problem_of(asks_whether_it_is_exported(), nn.MSELoss()), A, B) is None

    @pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
    def test_half_precision_proves_nothing(self, dtype: torch.dtype) -> None:
        problem = ws.ModuleProblem(small().to(dtype), nn.MSELoss(), (X.to(dtype), Y.to(dtype)), batch_size=None)
        assert prove(problem, A.to(dtype), B.to(dtype)) is None


class TestRecognised:
    @pytest.mark.many(quick=2)
    @pytest.mark.parametrize(
        ("loss", "scale"),
        [
            (nn.MSELoss(), Fraction(1, 8)),
            (lambda output, target: (target - output).square().sum(1).mean() / 2, Fraction(1, 8)),
            (lambda output, target: 0.5 * ((output - target) * (output - target)).mean(), Fraction(1, 16)),
            (
                lambda output, target: functional.mse_loss(output, target, reduction="none").sum(-1).mean(),
                Fraction(1, 4),
            ),
        ],
    )
    def test_a_squared_loss_by_any_name(self, loss: Callable[..., Tensor], scale: Fraction) -> None:
        problem = problem_of(small(), loss)
        found = read(problem)
        assert found is not None
        assert found.scale == scale
        plain = prove(problem_of(small(), nn.MSELoss()), A, B)
        proof = prove(problem, A, B)
        assert proof is not None
        assert plain is not None
        assert proof.bound == pytest.approx(plain.bound * float(scale * 8), rel=1e-12)

    def test_a_hook_that_halves_the_loss_halves_the_bound(self) -> None:
        loss = nn.MSELoss()
        loss.register_forward_hook(lambda module, given, value: value / 2)
        proof, plain = prove(problem_of(small(), loss), A, B), prove(problem_of(small(), nn.MSELoss()), A, B)
        assert proof is not None
        assert plain is not None
        assert proof.bound == pytest.approx(plain.bound / 2, rel=1e-12)

    def test_a_module_of_ones_own_with_dropout_and_frozen_outer_weights(self) -> None:
        class Own(nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.w, self.v, self.drop = nn.Linear(2, 2, bias=False), nn.Linear(2, 2, bias=False), nn.Dropout(0.5)
                self.v.weight.requires_grad_(False)

            def forward(self, x: Tensor) -> Tensor:
                return 3 * self.v(self.drop(self.w(x).clamp(min=0)))

        net = Own().double()
        problem = ws.ModuleProblem(net, nn.MSELoss(), (X, Y), batch_size=None)
        found = read(problem)
        assert found is not None
        theta = problem.initial(1)
        value, _ = found.loss(theta[None])
        assert float(value) == pytest.approx(float(problem.measure(theta[None])["loss"]), rel=1e-12)
        proof, plain = prove(problem, W.flatten(), (SWAP @ W).flatten()), prove(problem_of(small(), nn.MSELoss()), A, B)
        assert proof is not None
        assert plain is not None
        assert proof.bound == plain.bound  # It holds for all outer weights, these among them.

    def test_tied_layers_only_restrict_the_paths(self) -> None:
        net = small()
        net[2].weight = net[0].weight
        proof, plain = (
            prove(problem_of(net, nn.MSELoss()), W.flatten(), (SWAP @ W).flatten()),
            prove(problem_of(small(), nn.MSELoss()), A, B),
        )
        assert proof is not None
        assert plain is not None
        assert proof.bound == plain.bound

    @pytest.mark.parametrize("rho", [nn.Sigmoid(), nn.Hardsigmoid(), nn.ReLU6(), nn.Hardtanh(0.5, 2.0)])
    def test_other_features_that_are_never_negative(self, rho: nn.Module) -> None:
        net = nn.Sequential(nn.Linear(2, 4), rho, nn.Linear(4, 4, bias=False)).double()
        problem = ws.ModuleProblem(net, nn.MSELoss(), (X, torch.eye(4, dtype=torch.float64)), batch_size=None)
        inner, bias = 2 * X, torch.tensor([0.1, 0.5, 0.3, 1.0], dtype=torch.float64)
        found = read(problem)
        assert found is not None
        thetas = []
        for order in ([0, 1, 2, 3], [1, 0, 2, 3]):
            part = {"0.weight": inner[order], "0.bias": bias[order], "2.weight": torch.zeros(4, 4).double()}
            theta = problem.layout.flatten(part)
            exact = {"2.weight": torch.linalg.inv(found.features(theta))}
            thetas.append(problem.layout.flatten({**part, **exact}))
        assert float(problem.measure(torch.stack(thetas))["loss"].max()) < 1e-20
        proof = prove(problem, *thetas)
        assert proof is not None
        assert proof.bound == pytest.approx(1 / 16, rel=1e-9)  # one example is missed
        assert prove(problem, thetas[0], thetas[0]) is None
