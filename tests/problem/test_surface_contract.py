"""What every analytic surface has in common: the contract of a loss, moves, fingerprints, refusals."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from weightstring.errors import InvalidCheckpoint, InvalidSetting
from weightstring.problem.surfaces import Maze, Ring, Spike, Surface, TwoWells, shifted, stretched
from weightstring.protocol import LossProblem

SURFACES = [TwoWells(), Ring(ridge=0.25), Spike(width=0.3, stiffness=4.0), Maze()]


def ids(surface: Surface) -> str:
    return type(surface).__name__


def losses(surface: Surface, thetas: Tensor) -> Tensor:
    return surface.measure(thetas)["loss"]


def scattered(surface: Surface, count: int) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.randn(count, surface.size, generator=generator, dtype=torch.float64).to(surface.dtype)


@pytest.mark.parametrize("surface", SURFACES, ids=ids)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_surface_is_a_loss_problem_in_its_own_dtype(surface: Surface, dtype: torch.dtype) -> None:
    problem = shifted(replace(surface, size=3, dtype=dtype), torch.tensor([0.7, -0.8, -2.3]))
    assert isinstance(problem, LossProblem)
    assert (problem.size, problem.dtype, problem.device) == (3, dtype, torch.device("cpu"))
    assert (problem.quantities, problem.evaluation) == (("loss",), "evaluate")
    assert (problem.train_size, problem.batch_size) == (1, None)
    assert problem.recipe.optimizer == "sgd"
    a, b = problem.ends
    assert a.shape == b.shape == (3,)
    assert a.dtype == b.dtype == dtype
    found = problem.gradient(torch.stack((a, b, a)))
    assert found.gradients.shape == (3, 3)
    assert found.gradients.dtype == found.losses.dtype == dtype
    assert losses(problem, a[None]).dtype == torch.float64
    assert problem.gamma(a, b) == pytest.approx(surface.gamma(*surface.ends), rel=1e-3, abs=1e-5)


@pytest.mark.parametrize("surface", SURFACES, ids=ids)
def test_rows_of_a_batch_are_measured_as_if_alone_and_theta_is_left_alone(surface: Surface) -> None:
    large = replace(surface, size=5)
    thetas = scattered(large, 7)
    before = thetas.clone()
    with torch.no_grad():
        batch = large.gradient(thetas)
    alone = [large.gradient(theta[None]) for theta in thetas]
    torch.testing.assert_close(batch.losses, torch.cat([one.losses for one in alone]), rtol=1e-14, atol=1e-14)
    torch.testing.assert_close(batch.gradients, torch.cat([one.gradients for one in alone]), rtol=1e-12, atol=1e-12)
    assert torch.equal(thetas, before)
    assert not thetas.requires_grad


def test_shifted_by_a_power_of_two_keeps_every_bit_of_the_loss() -> None:
    surface = TwoWells(size=3, left=1.0, right=1.5)
    moved = shifted(surface, torch.tensor([4.0, -2.0, 0.5]))
    assert torch.equal(torch.stack(moved.ends), torch.tensor([[3.0, -2.0, 0.5], [5.5, -2.0, 0.5]]).double())
    dyadic = scattered(surface, 50).mul(256).round().div(256)
    assert torch.equal(losses(moved, dyadic + torch.tensor([4.0, -2.0, 0.5])), losses(surface, dyadic))
    untouched = stretched(surface, torch.ones(3))
    thetas = scattered(surface, 9)
    assert torch.equal(losses(untouched, thetas), losses(surface, thetas))


def test_descent_commutes_with_a_shift() -> None:
    surface = Ring(size=3)
    offset = torch.tensor([4.0, -2.0, 0.5], dtype=torch.float64)
    moved = shifted(surface, offset, lift=3.0)
    assert moved.recipe == surface.recipe
    thetas = scattered(surface, 5)
    expected = surface.gradient(thetas).gradients
    torch.testing.assert_close(moved.gradient(thetas + offset).gradients, expected, rtol=1e-12, atol=1e-12)


def test_stretching_slows_descent_by_the_smallest_scale() -> None:
    moved = stretched(Ring(), torch.tensor([0.5, 2.0]))
    assert moved.recipe.options["lr"] == pytest.approx(Ring().recipe.options["lr"] / 4)


def test_fingerprint_tells_surfaces_apart_and_repeats() -> None:
    offsets = [torch.tensor([1.0, 2.0]), torch.tensor([1.0, 2.5])]
    surfaces = [
        *SURFACES,
        replace(SURFACES[0], size=3),
        replace(SURFACES[0], dtype=torch.float32),
        *(shifted(SURFACES[0], offset) for offset in offsets),
        shifted(SURFACES[0], offsets[0], lift=1.0),
        stretched(SURFACES[0], offsets[0]),
    ]
    prints = [surface.fingerprint() for surface in surfaces]
    assert len(set(prints)) == len(surfaces)
    assert prints[0] == TwoWells().fingerprint()
    assert all(len(found) == 64 and int(found, 16) >= 0 for found in prints)


@pytest.mark.parametrize(
    "thetas",
    [torch.zeros(2, dtype=torch.float64), torch.zeros(4, 3, dtype=torch.float64), torch.zeros(4, 2)],
    ids=["a vector", "wrong P", "wrong dtype"],
)
def test_models_of_another_surface_are_refused(thetas: Tensor) -> None:
    surface = Spike()
    message = (
        rf"^Spike: θ has shape \({thetas.shape[0]},.*\) and dtype {thetas.dtype}, expected models as rows \(B, 2\)"
    )
    for use in (surface.measure, surface.gradient):
        with pytest.raises(InvalidCheckpoint, match=message):
            use(thetas)
    with pytest.raises(InvalidCheckpoint, match=r"^Spike: θ has shape \(1, 5\)"):
        surface.gamma(torch.zeros(5, dtype=torch.float64), surface.ends[1])


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Ring(size=1), r"^Ring: size = 1, but a surface needs P >= 2; give size=2 or more$"),
        (lambda: Maze(dtype=torch.int64), r"^Maze: dtype = torch.int64 is not floating; give torch.float64 or"),
        (
            lambda: shifted(Ring(), torch.zeros(3)),
            r"^shifted: offset has shape \(3,\), the surface's θ has \(2,\); give",
        ),
        (lambda: shifted(Ring(), torch.zeros(2), math.nan), r"^shifted: lift = nan is not finite; give a number"),
        (lambda: stretched(Ring(), torch.tensor([1.0, math.inf])), r"^stretched: scales = .*inf.* is not finite"),
        (lambda: stretched(Ring(), torch.tensor([1.0, 0.0])), r"^stretched: the smallest scale is 0.0; give scales"),
        (lambda: Ring().measure(torch.zeros(1, 2, dtype=torch.float64), ("error",)), r"^Ring cannot measure 'error'"),
    ],
)
def test_misuse_is_refused_with_the_values(make: object, message: str) -> None:
    assert callable(make)
    with pytest.raises(InvalidSetting, match=message):
        make()
