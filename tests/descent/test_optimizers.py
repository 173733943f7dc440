"""Many models in one optimizer against a torch.optim of their own for each."""

from __future__ import annotations

import pytest
import torch

from weightstring.descent import OPTIMIZERS
from weightstring.descent.optimizers import Optimizers
from weightstring.errors import InvalidSetting
from weightstring.recipe import Recipe

SIZES = (5, 3, 8)
JOINS = (0, 4, 4)
LEAVES = (20, 13, 20)
RATES = (1.0, 0.3, 1.0)


def leaf(i: int, dtype: torch.dtype = torch.float64) -> torch.Tensor:
    theta = 2 + torch.randn(SIZES[i], generator=torch.Generator().manual_seed(i), dtype=torch.float64)
    return theta.to(dtype).requires_grad_()


def slope(theta: torch.Tensor) -> torch.Tensor:
    """Gradient of Σ cosh(θ_i − 1)/i, uneven and nowhere constant."""
    return (theta.detach() - 1).sinh() / torch.arange(1, len(theta) + 1, dtype=theta.dtype)


def together(recipe: Recipe, dtype: torch.dtype = torch.float64) -> list[torch.Tensor]:
    """Three models that join and leave at different steps, two learning rates."""
    optimizers, thetas = Optimizers(recipe), [leaf(i, dtype) for i in range(3)]
    for step in range(20):
        for i, theta in enumerate(thetas):
            if step == JOINS[i]:
                optimizers.add(theta, RATES[i])
            if step == LEAVES[i]:
                optimizers.remove(theta)
            theta.grad = slope(theta)
        optimizers.step()
    return [theta.detach() for theta in thetas]


def alone(recipe: Recipe, i: int, dtype: torch.dtype = torch.float64) -> torch.Tensor:
    theta = leaf(i, dtype)
    options = {**recipe.options, "lr": RATES[i] * recipe.options["lr"]}
    optimizer = OPTIMIZERS[recipe.optimizer]([theta], **options)
    for _ in range(LEAVES[i] - JOINS[i]):
        theta.grad = slope(theta)
        optimizer.step()
    return theta.detach()


MOMENTUM = [
    Recipe("sgd", {"lr": 0.03, "momentum": 0.9, "nesterov": True}),
    Recipe("rmsprop", {"lr": 0.03, "momentum": 0.5, "centered": True}),
    Recipe("adam", {"lr": 0.03, "amsgrad": True, "weight_decay": 0.1}),
    Recipe("adam", {"lr": 0.03, "fused": False}),
    Recipe("adam", {"lr": 0.03, "foreach": False}),
]


@pytest.mark.parametrize(
    "recipe", [*(Recipe(name, {"lr": 0.03}) for name in sorted(OPTIMIZERS)), *MOMENTUM], ids=lambda r: r.optimizer
)
def test_a_model_in_company_equals_one_on_its_own(recipe):
    rtol = 1e-7 if recipe.optimizer == "asgd" else 1e-12  # foreach keeps ASGD's step sizes in float32
    for i, theta in enumerate(together(recipe)):
        assert not torch.equal(theta, leaf(i))
        torch.testing.assert_close(theta, alone(recipe, i), rtol=rtol, atol=1e-13)


ELEMENTWISE = [name for name in sorted(OPTIMIZERS) if Optimizers(Recipe(name, {"lr": 0.03})).stacks]


def rows_of_a_leaf() -> torch.Tensor:
    return 2 + torch.randn(4, 5, generator=torch.Generator().manual_seed(8), dtype=torch.float64)


@pytest.mark.parametrize(
    "recipe", [*(Recipe(name, {"lr": 0.03}) for name in ELEMENTWISE), *MOMENTUM], ids=lambda r: r.optimizer
)
def test_rows_that_stay_when_others_leave_equal_a_model_on_its_own(recipe):
    optimizers, beginning = Optimizers(recipe), rows_of_a_leaf()
    leaf, other = beginning.clone().requires_grad_(), beginning[:2].clone().requires_grad_()
    rows, ended = [0, 1, 2, 3], {}
    optimizers.add(leaf)
    for step in range(20):
        if step == 4:
            optimizers.add(other, 0.5)  # which joins those that are under way
        if step in (6, 13):
            stay = [0, 2, 3] if step == 6 else [2, 1]
            ended |= {row: (step, leaf[i].detach()) for i, row in enumerate(rows) if i not in stay}
            leaf, rows = optimizers.keep(leaf, stay), [rows[i] for i in stay]
            assert leaf.is_leaf
        if step == 15:
            optimizers.remove(other)
        leaf.grad, other.grad = (torch.stack([slope(row) for row in one]) for one in (leaf, other))
        optimizers.step()
    ended |= {row: (20, leaf[i].detach()) for i, row in enumerate(rows)}
    rtol = 1e-7 if recipe.optimizer == "asgd" else 1e-12
    assert {row: step for row, (step, _) in ended.items()} == {0: 13, 1: 6, 2: 20, 3: 20}
    for row, (steps, theta) in ended.items():
        own = beginning[row].clone().requires_grad_()
        optimizer = OPTIMIZERS[recipe.optimizer]([own], **recipe.options)
        for _ in range(steps):
            own.grad = slope(own)
            optimizer.step()
        torch.testing.assert_close(theta, own.detach(), rtol=rtol, atol=1e-13)


def test_adafactor_looks_at_whole_tensors_and_is_not_stacked():
    assert {"sgd", "adam", "adamw", "rmsprop", "adagrad"} <= set(ELEMENTWISE)
    assert "adafactor" not in ELEMENTWISE


def test_the_usual_optimizers_are_there():
    assert {"sgd", "adam", "adamw", "rmsprop", "adagrad"} <= OPTIMIZERS.keys()
    assert not {"optimizer", "lbfgs", "sparseadam"} & OPTIMIZERS.keys()


def test_case_is_ignored():
    upper, lower = (together(Recipe(name, {"lr": 0.03})) for name in ("RMSprop", "rmsprop"))
    assert all(torch.equal(p, q) for p, q in zip(upper, lower, strict=True))


def test_float32_stays_float32():
    for recipe in (Recipe("adam", {"lr": 0.03}), Recipe("sgd", {"lr": 0.03, "momentum": 0.9})):
        for i, theta in enumerate(together(recipe, torch.float32)):
            assert theta.dtype == torch.float32
            torch.testing.assert_close(theta, alone(recipe, i, torch.float32), rtol=1e-5, atol=1e-6)


def test_a_model_that_left_is_moved_no_more_and_leaves_no_state_behind():
    optimizers = Optimizers(Recipe("sgd", {"lr": 0.1, "momentum": 0.9}))
    staying, leaving = leaf(0), leaf(1)
    for theta in (staying, leaving):
        optimizers.add(theta)
        theta.grad = torch.ones_like(theta)
    optimizers.step()
    optimizers.remove(leaving)
    where = leaving.detach().clone()
    leaving.grad = torch.zeros_like(leaving)  # under momentum, no gradient is no rest
    optimizers.step()
    assert torch.equal(leaving.detach(), where)
    optimizers.add(leaving)
    leaving.grad = torch.ones_like(leaving)
    optimizers.step()
    torch.testing.assert_close(leaving.detach(), where - 0.1, rtol=1e-12, atol=0)


def test_a_step_of_nobody_does_nothing():
    for name in sorted(OPTIMIZERS):
        optimizers, theta = Optimizers(Recipe(name, {"lr": 0.1})), leaf(0)
        optimizers.step()
        optimizers.add(theta)
        optimizers.remove(theta)
        optimizers.step()
        assert torch.equal(theta, leaf(0))


@pytest.mark.parametrize(
    ("recipe", "message"),
    [
        (Recipe("adamm", {"lr": 0.1}), r"^unknown optimizer 'adamm' \(did you mean adam\w*\?\): choose .*adam, .*sgd"),
        (Recipe("lbfgs", {"lr": 0.1}), r"^unknown optimizer 'lbfgs'"),
        (Recipe("adam", {}), r"^optimizer 'adam' needs a learning rate: options={'lr': ...}$"),
        (Recipe("SGD", {"lr": 0.1, "beta": 1.0}), r"^optimizer 'SGD' has no option 'beta': it takes lr, momentum, .*"),
        (Recipe("adam", {"lr": -1.0}), r"^optimizer 'adam' refuses its options: Invalid learning rate: -1.0$"),
        (Recipe("sgd", {"lr": 0.1, "nesterov": True}), r"^optimizer 'sgd' refuses its options: Nesterov momentum req"),
        (Recipe("adam", {"lr": 0.1, "betas": 0.9}), r"^optimizer 'adam' refuses its options: "),
        (Recipe("adam", {"lr": 0.1, "fused": True, "foreach": True}), r"^optimizer 'adam' refuses its options: "),
    ],
)
def test_recipes_that_no_optimizer_follows_are_refused(refused, recipe, message):
    with refused(InvalidSetting, message):
        Optimizers(recipe)


@pytest.mark.parametrize("rate", [True, (0.1, 0.2)])
def test_a_learning_rate_that_is_no_number_is_refused(rate: object) -> None:
    with pytest.raises(InvalidSetting, match="is not a learning rate"):
        Optimizers(Recipe("rmsprop", {"lr": rate}))  # type: ignore[dict-item]
