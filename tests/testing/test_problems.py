"""Ours keep what is asked of an outsider's problem, and one that does not is found out."""

from __future__ import annotations

import pytest
import torch
from torch import nn

import weightstring as ws
from weightstring.problem.surfaces import Maze, Ring, Spike, TwoWells, shifted
from weightstring.protocol import Gradient
from weightstring.testing.problems import check_problem

pytestmark = pytest.mark.usefixtures("unchecked")

SURFACES = {
    "wells": TwoWells(size=3),
    "ring": Ring(ridge=0.25, size=4),
    "maze": Maze(),
    "shifted ring": shifted(Ring(), torch.tensor([2.0, -1.0], dtype=torch.float64), lift=0.5),
    "spike in float32": Spike(dtype=torch.float32, width=0.5, height=1.0, stiffness=1.0),
}


@pytest.mark.parametrize("name", SURFACES)
def test_surfaces_keep_it(name):
    surface = SURFACES[name]
    noise = torch.randn(3, surface.size, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    thetas = surface.ends[0] + 0.3 * noise.to(surface.dtype)
    assert {"Curved", "Enclosed"} <= set(check_problem(surface, thetas))


def module(**settings: object) -> ws.ModuleProblem:
    torch.manual_seed(3)
    net = nn.Sequential(nn.Linear(2, 5), nn.Tanh(), nn.Linear(5, 3))
    x = 1 + torch.randn(23, 2)
    data = (x, torch.arange(23) % 3), (x[:11], torch.arange(11) % 3)
    return ws.ModuleProblem(net, nn.functional.cross_entropy, *data, dtype=torch.float64, batch_size=7, **settings)


@pytest.mark.parametrize("settings", [{"engine": "stack"}, {"engine": "vmap", "chunk": 5}], ids=str)
def test_modules_keep_it(settings):
    problem = module(**settings)
    offered = check_problem(problem, torch.stack([problem.initial(seed) for seed in range(3)]))
    assert offered == ("Along", "Screened", "Independent", "Curved", "Engined", "PerExample", "Traceable")


class Broken(Ring):
    """A ring with one fault."""

    fault = ""

    def measure(self, thetas, quantities=("loss",)):
        found = super().measure(thetas, quantities)
        match self.fault:
            case "float32":
                return {name: values.float() for name, values in found.items()}
            case "company":
                return {name: values + 0.001 * len(thetas) for name, values in found.items()}
        return found

    def gradient(self, thetas, rows=None):
        losses, gradients = super().gradient(thetas, rows)
        return Gradient(losses, gradients * (1.01 if self.fault == "gradient" else 1.0))

    def hessian_products(self, theta, vectors, rows=None):
        products = super().hessian_products(theta, vectors, rows)
        return products * (1.01 if self.fault == "hessian" else 1.0)

    def upper_bounds(self, a, b, low, high):
        return super().upper_bounds(a, b, low, high) - (0.5 if self.fault == "bound" else 0.0)

    def fingerprint(self):
        return str(torch.rand(1)) if self.fault == "fingerprint" else super().fingerprint()


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        ("float32", "measure returns loss as .*float32"),
        ("company", "loss of models measured one by one differ by"),
        ("gradient", "slopes of the training loss on the whole training set differ from finite differences"),
        ("hessian", "by hessian_products, differ"),
        ("bound", "over its bound"),
        ("fingerprint", r"fingerprint\(\) changes"),
    ],
)
def test_a_problem_that_breaks_it_is_found_out(fault, words, monkeypatch):
    problem = Broken()
    check_problem(problem)
    monkeypatch.setattr(Broken, "fault", fault)
    with pytest.raises(AssertionError, match=words):
        check_problem(problem)


def test_what_is_no_problem_is_told_what_it_lacks():
    with pytest.raises(AssertionError, match=r"^int has no size, dtype, .*gradient\(\): see weightstring.protocol"):
        check_problem(3)
