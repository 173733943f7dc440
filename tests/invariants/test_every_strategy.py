"""Every strategy against every loss whose Γ is known: none may tunnel, and the easy passes are found.

What a search accepts is sampled: between samples the loss may be higher by what the peaks' refinement leaves over,
stated here as a share of Γ. A certificate leaves nothing over.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import pytest
import torch
from torch import Tensor

import weightstring as ws
from weightstring.problem.surfaces import Maze, Ring, Spike, TwoWells, shifted
from weightstring.protocol import LossProblem
from weightstring.recipe import Recipe
from weightstring.search import Strategy
from weightstring.search.stopping import StopRule
from weightstring.theory import deep_linear
from weightstring.theory.deep_linear_barrier import barrier
from weightstring.theory.quartic import Quartic, ReluQuartic
from weightstring.theory.triangle import swapped_ends, swapped_triangle

STRATEGIES: dict[str, Strategy] = {
    "greedy": ws.Greedy(),
    "constrained": ws.Constrained(),
    "breadth-first": ws.BreadthFirst(),
    "bezier": ws.Bezier(),
    "poly-chain": ws.PolyChain(),
    "autoneb": ws.AutoNEB(),
}

FIXED = {"bezier", "poly-chain"}
"""Curves with a fixed number of bends, which cannot follow every valley however easy."""

HARD = {
    "maze",
    "quartic, one unit",
    "one ReLU unit",
    "two ReLU units",
    "deep linear 1-1-1",
    "deep linear 2-2-2",
    "triangle",
}
"""Losses whose pass not every search need find. In deep linear networks the gradient vanishes there."""

DISCRETISATION = 1e-3
"""By what share of Γ a sampled maximum may lie under it."""


ENOUGH = ws.MaxBeads(24) | ws.MaxSteps(20_000)
HOPELESS = ws.MaxBeads(12) | ws.MaxSteps(6_000)
"""How long searches go on that can only fail: into several beads' full descents, which a tunnel would need."""


@dataclass(frozen=True)
class Known:
    """A loss, two ends, and Γ between them."""

    problem: LossProblem
    ends: tuple[Tensor, Tensor]
    gamma: float
    recipe: Recipe | None = None


def of_surface(surface: ws.problem.surfaces.Surface) -> Known:
    return Known(surface, surface.ends, surface.gamma(*surface.ends))


def deep_line() -> Known:
    """1-1-1: both signs of w2 at the minimum, and λ* between them."""
    x = torch.tensor([[1.0, -2.0, 0.7]], dtype=torch.float64)
    y = torch.tensor([[1.3, -2.4, 1.1]], dtype=torch.float64)
    a, b = ([torch.tensor([[s * 1.1]]).double(), torch.tensor([[s * 1.2]]).double()] for s in (1.0, -1.0))
    problem = deep_linear.problem((1, 1, 1), x, y)
    return Known(problem, (deep_linear.flatten(a), deep_linear.flatten(b)), barrier(a, b, x, y).gamma, SGD)


def deep_plane() -> Known:
    """2-2-2, two units exchanged: det W_2 changes its sign."""
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(2, 9, generator=generator, dtype=torch.float64)
    y = torch.diag(torch.tensor([1.5, 0.8]).double()) @ x
    w1 = torch.tensor([[1.2, 0.1], [0.2, 0.9]], dtype=torch.float64)
    w2 = torch.diag(torch.tensor([1.5, 0.8]).double()) @ torch.linalg.inv(w1)
    a, b = [w1, w2], [w1[[1, 0]], w2[:, [1, 0]]]
    problem = deep_linear.problem((2, 2, 2), x, y)
    return Known(problem, (deep_linear.flatten(a), deep_linear.flatten(b)), barrier(a, b, x, y).gamma, SGD)


def triangle() -> Known:
    problem = swapped_triangle()
    return Known(problem, swapped_ends(problem), 1 / 6)


SGD = Recipe("sgd", {"lr": 0.02}, check_every=5, patience=20, max_steps=2_000)

KNOWN: dict[str, Callable[[], Known]] = {
    "two wells": lambda: of_surface(TwoWells()),
    "two wells elsewhere": lambda: of_surface(shifted(TwoWells(size=3, left=1.3), torch.tensor([0.4, -2.0, 1.0]))),
    "ring": lambda: of_surface(Ring()),
    "ring with a ridge": lambda: of_surface(Ring(ridge=0.2)),
    "maze": lambda: of_surface(Maze()),
    "quartic, one unit": lambda: of_surface(Quartic(target=(1.5, -0.5), width=1)),
    "quartic, three units": lambda: of_surface(Quartic(target=(1.5, -0.5), width=3)),
    "one ReLU unit": lambda: of_surface(ReluQuartic(x=(1.0, -1.3), y=(1.0, 0.8))),
    "two ReLU units": lambda: of_surface(ReluQuartic(x=(1.0, -1.0), y=(2.0, 1.0), width=2)),
    "deep linear 1-1-1": deep_line,
    "deep linear 2-2-2": deep_plane,
    "triangle": triangle,
}


def search(known: Known, strategy: str, threshold: float, stop: StopRule = ENOUGH) -> ws.Result:
    return ws.connect(
        known.problem,
        *known.ends,
        threshold,
        strategy=STRATEGIES[strategy],
        stop=stop,
        recipe=known.recipe,
        progress=False,
        disprove=False,
    )


@pytest.mark.slow
class TestEveryStrategy:
    @pytest.mark.parametrize("strategy", [name for name in STRATEGIES if name != "poly-chain"])  # as a Bézier curve is
    @pytest.mark.parametrize("name", KNOWN)
    def test_never_connects_below_the_barrier(self, name: str, strategy: str) -> None:
        known = KNOWN[name]()
        ends = float(known.problem.measure(torch.stack(known.ends))["loss"].max())
        if known.gamma <= ends + 1e-9:
            found = search(known, strategy, ends + 0.05)
            assert found.largest >= known.gamma
            return
        found = search(known, strategy, max(ends, 0.9 * known.gamma), HOPELESS)
        assert not found.connected
        assert found.largest >= (1 - DISCRETISATION) * known.gamma

    @pytest.mark.parametrize("strategy", STRATEGIES)
    @pytest.mark.parametrize("name", [name for name in KNOWN if name not in HARD])
    def test_connects_over_an_easy_pass(self, name: str, strategy: str) -> None:
        known = KNOWN[name]()
        found = search(known, strategy, 1.1 * known.gamma + 0.05)
        assert found.connected or strategy in FIXED
        assert found.largest >= (1 - DISCRETISATION) * known.gamma
        assert ws.certify(known.problem, found.string).upper_bound >= known.gamma

    @pytest.mark.parametrize("strategy", STRATEGIES)
    def test_what_no_sample_sees_no_certificate_passes(self, strategy: str) -> None:
        spike = Spike()
        threshold = 0.9 * spike.gamma(*spike.ends)
        known = of_surface(spike)
        found = search(known, strategy, threshold)
        certificate = ws.certify(spike, found.string, threshold=threshold)
        assert not certificate.holds
        assert certificate.upper_bound >= known.gamma
