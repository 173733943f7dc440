"""What a threshold binds, and which θ are refused."""

from __future__ import annotations

import math
from dataclasses import dataclass

import pytest
import torch

from weightstring.errors import InvalidCheckpoint, InvalidSetting
from weightstring.path import Objective, check_theta
from weightstring.problem.surfaces import Ring


@pytest.mark.parametrize(
    ("bind", "names"),
    [
        ("evaluate", ("loss",)),
        ("train", ("train_loss",)),
        ("both", ("loss", "train_loss")),
        ("spread", ("spread",)),
        ("train_loss", ("train_loss",)),
    ],
)
def test_height_is_the_largest_of_the_bound_quantities(cloud, bind, names):
    problem = cloud(dtype=torch.float32)
    thetas = 3 + torch.randn(6, 5, generator=torch.Generator().manual_seed(1))
    bound = Objective(problem, bind)
    assert bound.names == names
    measured = problem.measure(thetas, problem.quantities)
    assert bound(thetas).tolist() == [max(measured[name][i].item() for name in names) for i in range(6)]


@pytest.mark.parametrize("bind", ["evaluate", "train", "both"])
def test_without_a_train_loss_every_choice_is_the_one_loss(bind):
    bound = Objective(Ring(), bind)
    assert bound.names == ("loss",)
    assert bound(torch.zeros(2, 2, dtype=torch.float64)).tolist() == [1.0, 1.0]


@dataclass(frozen=True)
class Broken:
    """A problem whose quantities are what they are told to be."""

    loss: float
    train_loss: float
    quantities = ("loss", "train_loss")
    size, dtype, device, evaluation = 1, torch.float64, torch.device("cpu"), "evaluate"
    recipe, train_size, batch_size = None, 1, None

    def fingerprint(self):
        return "broken"

    def gradient(self, thetas, rows):
        raise AssertionError

    def measure(self, thetas, quantities=("loss",)):
        return {name: torch.full((len(thetas),), getattr(self, name), dtype=torch.float64) for name in quantities}


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_a_loss_that_is_not_finite_is_infinitely_high_whichever_of_them_it_is(value):
    theta = torch.ones(1, 1, dtype=torch.float64)
    assert Objective(Broken(value, 1.0))(theta).tolist() == [math.inf]
    assert Objective(Broken(1.0, value), "train")(theta).tolist() == [math.inf]
    if value != -math.inf:
        assert Objective(Broken(1.0, value), "both")(theta).tolist() == [math.inf]
        assert Objective(Broken(value, 1.0), "both")(theta).tolist() == [math.inf]


def test_an_unknown_quantity_is_refused_with_the_choices(refused):
    choices = "evaluate, train, both, loss"
    with refused(InvalidSetting, rf"^bind='error': this problem does not measure it; choose one of {choices}$"):
        Objective(Ring(), "error")


@pytest.mark.parametrize(
    ("theta", "message"),
    [
        (torch.zeros(3), r"^bead 7 has shape \(3,\), the problem's θ has \(2,\): is it .* makes a θ$"),
        (torch.zeros(1, 2), r"^bead 7 has shape \(1, 2\)"),
        (torch.zeros(2), r"^bead 7 is torch.float32, the problem torch.float64: convert one of them$"),
        (torch.zeros(2, dtype=torch.int64), r"^bead 7 is torch.int64, the problem torch.float64"),
        (torch.zeros(2, dtype=torch.float64, device="meta"), r"^bead 7 is on meta, the problem on cpu: move it with "),
        (torch.tensor([math.nan, 1.0], dtype=torch.float64), r"^bead 7 has 1 entries that are NaN or infinite$"),
        (torch.tensor([math.inf, -math.inf], dtype=torch.float64), r"^bead 7 has 2 entries that are NaN or infinite$"),
    ],
)  # fmt: skip
def test_a_theta_of_another_problem_is_refused(refused, theta, message):
    with refused(InvalidCheckpoint, message):
        check_theta(Ring(), theta, "bead 7")


def test_a_theta_of_the_problem_passes():
    assert check_theta(Ring(size=3, dtype=torch.float32), torch.zeros(3), "it") is None
