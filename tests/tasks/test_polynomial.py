"""The polynomial task: the paper's targets at known points, random ones inside [0, 1], every option."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

import weightstring as ws
from weightstring.tasks.polynomial import polynomial, random_target

GRID = torch.linspace(0, 1, 2001, dtype=torch.float64)


def at(coefficients: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
    """Horner's scheme, in float64."""
    value = torch.zeros_like(x)
    for coefficient in coefficients.double().flip(0):
        value = value * x + coefficient
    return value


def curve(problem: ws.ModuleProblem, name: str = "train") -> tuple[torch.Tensor, torch.Tensor]:
    examples = problem._parts.data[name]
    return examples.leaves[0][:, 0], examples.targets[:, 0]


class TestTargets:
    @pytest.mark.parametrize(
        ("target", "values"),
        [
            ("quadratic", {0.0: 0.1, 0.25: 0.19375, 0.5: 0.35, 0.75: 0.56875, 1.0: 0.85}),
            ("cubic", {0.0: 0.0, 0.25: 0.25, 0.5: 0.0, 0.75: 0.0, 1.0: 1.0}),
        ],
    )
    def test_known_points(self, target, values):
        x, y = curve(polynomial(target=target, samples=5))
        assert dict(zip(x.tolist(), y.tolist(), strict=True)) == pytest.approx(values, abs=1e-6)

    def test_the_evaluation_set_lies_between_the_training_points(self):
        problem = polynomial(samples=7)
        train, between = curve(problem)[0], curve(problem, "evaluate")[0]
        assert len(train) == len(between) == 7
        assert torch.allclose(between, (torch.arange(7) + 0.5) / 7)
        assert not set(train.tolist()) & set(between.tolist()) - {0.5}
        x, y = curve(problem, "evaluate")
        assert torch.allclose(y.double(), at(torch.tensor([0.1, 0.25, 0.5]), x.double()), atol=1e-6)

    @pytest.mark.parametrize("degree", range(7))
    def test_random_targets_stay_within_the_unit_interval(self, degree):
        for seed in range(50):
            coefficients = random_target(degree, seed)
            assert coefficients.shape == (degree + 1,)
            values = at(coefficients, GRID)
            assert values.min() >= -1e-12
            assert values.max() <= 1 + 1e-12

    def test_random_targets_against_the_bernstein_basis(self):
        """On a grid Σ b_k C(n, k) x^k (1 − x)^{n−k}, with b_k recovered from the power basis."""
        coefficients, n = random_target(5, 3), 5
        bernstein = [
            sum(math.comb(k, j) / math.comb(n, j) * coefficients[j].item() for j in range(k + 1)) for k in range(n + 1)
        ]
        assert all(0 <= b <= 1 for b in bernstein)
        values = sum(b * math.comb(n, k) * GRID**k * (1 - GRID) ** (n - k) for k, b in enumerate(bernstein))
        assert torch.allclose(values, at(coefficients, GRID), atol=1e-12)

    def test_random_targets_differ_by_seed_and_have_their_degree(self):
        assert torch.equal(random_target(4, 7), random_target(4, 7))
        assert not torch.equal(random_target(4, 7), random_target(4, 8))
        assert all(random_target(4, seed)[-1].abs() > 1e-3 for seed in range(3))

    def test_a_random_target_is_what_is_fitted(self):
        x, y = curve(polynomial(target="random", degree=4, target_seed=9, samples=33))
        assert torch.allclose(y.double(), at(random_target(4, 9), x.double()), atol=1e-6)


class TestOptions:
    @pytest.mark.parametrize(("activation", "unit"), [("relu", nn.ReLU), ("sigmoid", nn.Sigmoid)])
    @pytest.mark.parametrize("output", ["linear", "sigmoid"])
    @pytest.mark.parametrize(("loss", "criterion"), [("squared", nn.MSELoss), ("absolute", nn.L1Loss)])
    def test_the_network_and_its_loss(self, activation, unit, output, loss, criterion):
        problem = polynomial(activation=activation, output=output, loss=loss, width=3, samples=20)
        tail = [nn.Sigmoid()] if output == "sigmoid" else []
        net = nn.Sequential(nn.Linear(1, 3), unit(), nn.Linear(3, 3), unit(), nn.Linear(3, 1), *tail)
        theta = problem.initial(2)
        net.load_state_dict(problem.unflatten(theta))
        for quantity, name in (("loss", "evaluate"), ("train_loss", "train")):
            x, y = curve(problem, name)
            expected = criterion()(net(x[:, None]), y[:, None]).item()
            assert problem.measure(theta[None], (quantity,))[quantity].item() == pytest.approx(expected, rel=1e-6)

    @pytest.mark.parametrize("optimizer", ["rmsprop", "adam"])
    def test_the_optimizer_is_the_recipe_and_trains(self, optimizer):
        problem = polynomial(optimizer=optimizer, lr=0.01, samples=32, batch_size=32)
        assert (problem.recipe.optimizer, problem.recipe.options["lr"]) == (optimizer, 0.01)
        problem.use_engine("loop")
        theta = problem.fit(seed=1, until=0.02)
        assert problem.measure(theta[None])["loss"].item() <= 0.02

    def test_the_same_options_give_the_same_fingerprint(self):
        assert polynomial().fingerprint() == polynomial().fingerprint()

    @pytest.mark.parametrize(
        "changed",
        [
            {"target": "cubic"},
            {"target": "random"},
            {"activation": "sigmoid"},
            {"output": "sigmoid"},
            {"optimizer": "adam"},
            {"lr": 0.02},
            {"loss": "absolute"},
            {"samples": 100},
            {"batch_size": 32},
            {"width": 5},
        ],
    )
    def test_every_option_is_in_the_fingerprint(self, changed):
        assert polynomial(**changed).fingerprint() != polynomial().fingerprint()

    @pytest.mark.parametrize(
        ("options", "says"),
        [
            ({"target": "quartic"}, r"target='quartic' \(did you mean quadratic\?\): choose one of .*cubic, random"),
            ({"activation": "tanh"}, "activation='tanh': choose one of relu, sigmoid"),
            ({"output": "relu"}, "output='relu': choose one of linear, sigmoid"),
            ({"loss": "cubed"}, "loss='cubed': choose one of squared, absolute"),
            ({"samples": 1}, "samples=1: at least 2 are needed"),
            ({"width": 0}, "width=0: must be positive"),
            ({"target": "random", "degree": -1}, "degree=-1: must not be negative"),
        ],
    )
    def test_out_of_range(self, options, says):
        with pytest.raises(ws.InvalidSetting, match=f"^polynomial: {says}$"):
            polynomial(**options)
