"""Spectra against eigenvalues that are known, and flat shares against ranks that are proved."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from weightstring.errors import InvalidCheckpoint, InvalidSetting, Unsupported
from weightstring.path.flatness import EXACT, HessianSpectrum, hessian_spectrum
from weightstring.path.sharpness import sharpness
from weightstring.problem import ModuleProblem
from weightstring.problem.surfaces import Ring

from .test_sharpness import INPUTS, eigenvalues, normal, problem


class Bowl(nn.Module):
    """½ Σ cᵢ xᵢ², whose Hessian has the eigenvalues c everywhere."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.x = nn.Parameter(torch.ones(size, dtype=torch.float64))

    def forward(self, scales: Tensor) -> Tensor:
        return scales @ self.x.square() / 2


def bowl(scales: Tensor) -> ModuleProblem:
    data = scales[None], torch.zeros(1, 1, dtype=torch.float64)
    return ModuleProblem(Bowl(len(scales)), lambda output, _: output.mean(), data, engine="loop")


@pytest.mark.parametrize("width", [2, 5, 11])
def test_small_networks_have_every_eigenvalue_of_the_dense_hessian(width: int) -> None:
    posed = problem(width)
    theta = 2 * posed.initial(1)
    found, known = hessian_spectrum(posed, theta), eigenvalues(posed, theta)
    assert found.exact
    assert found.products == posed.size
    torch.testing.assert_close(found.values, known, rtol=1e-9, atol=1e-10)
    assert found.weights.tolist() == pytest.approx([1 / posed.size] * posed.size)
    assert found.values[-1] == pytest.approx(sharpness(posed, theta).kappa, rel=1e-3)
    for cut in (1e-3, 0.1):
        expected = (known.abs() <= cut * known.abs().max()).double().mean()
        assert found.flat_share(cut) == pytest.approx(float(expected))


def test_a_density_of_few_values_is_found_with_its_shares_to_the_draw() -> None:
    """Lanczos ends by itself once it has met every value."""
    scales = torch.cat([torch.zeros(900), torch.full((250,), 2.0), torch.full((50,), -1.5)]).double()
    posed = bowl(scales)
    assert len(scales) > EXACT
    found = hessian_spectrum(posed, torch.ones(1200, dtype=torch.float64), probes=12, steps=20)
    assert not found.exact
    assert found.products == 12 * 3
    assert float(found.weights.sum()) == pytest.approx(1)
    assert found.largest == pytest.approx(2)
    assert found.flat_share(1e-6) == pytest.approx(0.75, abs=0.03)
    assert found.negative_share(1e-6) == pytest.approx(50 / 1200, abs=0.02)
    # Moments up to twice the steps are those of the probes' own vectors, hence near the spectrum's.
    assert float(found.weights @ found.values) == pytest.approx(float(scales.mean()), abs=0.05)


@pytest.mark.slow
def test_a_density_finds_the_flat_share_of_a_real_network() -> None:
    posed = problem(20)
    theta = 2 * posed.initial(0)
    whole, density = (hessian_spectrum(posed, theta, exact=exact, probes=16, steps=40) for exact in (True, False))
    assert density.exact is False
    assert density.largest == pytest.approx(whole.largest, rel=1e-6)
    assert density.flat_share(1e-2) == pytest.approx(whole.flat_share(1e-2), abs=0.06)


def test_at_an_exact_fit_no_more_directions_count_than_there_are_numbers_to_fit() -> None:
    """H = 2 JᵀJ/n there, of rank at most examples × outputs."""
    net = nn.Sequential(nn.Linear(3, 12), nn.Tanh(), nn.Linear(12, 2)).double()
    posed = ModuleProblem(net, nn.functional.mse_loss, (INPUTS[:5], normal(5, 2, seed=3)), engine="loop")
    theta = posed.initial(0)
    with torch.no_grad():
        nn.utils.vector_to_parameters(theta, net.parameters())
        targets = net(INPUTS[:5])
    fitted = ModuleProblem(net, nn.functional.mse_loss, (INPUTS[:5], targets), engine="loop")
    found = hessian_spectrum(fitted, theta)
    assert found.flat_share(1e-9) == pytest.approx(1 - 10 / fitted.size)
    assert found.negative_share(1e-9) == 0


def test_shares_do_not_depend_on_the_loss_s_unit() -> None:
    scales = torch.linspace(-1, 5, 40, dtype=torch.float64)
    spectra = [hessian_spectrum(bowl(unit * scales), torch.ones(40, dtype=torch.float64)) for unit in (1.0, 1e-6)]
    assert spectra[0].flat_share(0.1) == spectra[1].flat_share(0.1) > 0
    assert spectra[0].flat_below(0.5) < spectra[1].flat_below(0.5) == 1


def test_a_loss_without_curvature_is_flat_throughout() -> None:
    for size in (3, EXACT + 1):
        found = hessian_spectrum(bowl(torch.zeros(size, dtype=torch.float64)), torch.ones(size, dtype=torch.float64))
        assert found.flat_share(0.0) == pytest.approx(1)


def test_misuse_is_refused(refused: Callable, watched: type) -> None:
    posed = problem(2)
    theta, ring = posed.initial(0), Ring()
    for name in ("probes", "steps"):
        with refused(InvalidSetting, rf"hessian_spectrum\({name}=0\): give a whole number"):
            hessian_spectrum(posed, theta, **{name: 0})
    with refused(InvalidCheckpoint, r"the model has shape \(3,\)"):
        hessian_spectrum(posed, torch.zeros(3, dtype=torch.float64))
    with refused(Unsupported, "hessian_spectrum: a Watched has no hessian_products"):
        hessian_spectrum(watched(ring), ring.ends[0])
    one = torch.ones(1, dtype=torch.float64)
    for share in (-0.1, 1.0):
        with refused(InvalidSetting, r"flat_share: relative = .* is not in \[0, 1\)"):
            HessianSpectrum(one, one, True, 1).flat_share(share)
