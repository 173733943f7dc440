"""Curvature across a segment: known saddles, slopes and passes, dense Hessians, and the ways round what is missing."""

from __future__ import annotations

import json
from dataclasses import asdict, replace

import pytest
import torch
from torch import Tensor, nn

from weightstring.errors import InvalidCheckpoint, InvalidSetting
from weightstring.path import Segment, curvature, lanczos
from weightstring.path.curvature import Curvature, curvature_across
from weightstring.problem import ModuleProblem
from weightstring.problem.surfaces import Ring, Surface, TwoWells, shifted, stretched
from weightstring.protocol import Curved

WELLS = TwoWells(size=7)
SADDLE = (0.0, 0.5 * 1.0 * 1.4)
"""Where TwoWells has its saddle."""
DOWN = -12 / (1.4**3 * (1.4 + 2)) * 1.4 + 4 * 0.2**2
"""∂²L/∂x² there: −k·left·right + c·v′(0)²."""


def through(surface: Surface, *direction: float, place: tuple[float, ...] = SADDLE) -> Segment:
    """A segment with its middle at a place."""
    middle, arm = surface._point(*place), surface._point(*direction)
    return Segment(middle - arm, middle + arm)


def draw(seed: int, *shape: int) -> Tensor:
    return 0.5 + torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def network(count: int = 40, dtype: torch.dtype = torch.float64) -> ModuleProblem:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(5, 6), nn.Tanh(), nn.Linear(6, 2))
    data = draw(0, count, 5), draw(1, count, 2).sin()
    return ModuleProblem(net, nn.functional.mse_loss, data, dtype=dtype, engine="loop")


def dense(problem: ModuleProblem, segment: Segment, t: float, rows: Tensor | None = None) -> Tensor:
    """The whole Hessian at a position."""
    theta = segment.point(t)
    return problem.hessian_products(theta, torch.eye(problem.size, dtype=theta.dtype), rows).double()


def lowest_across(matrix: Tensor, segment: Segment) -> float:
    """The smallest eigenvalue on the hyperplane, by a basis of it."""
    direction = (segment.b - segment.a).double()
    basis = torch.linalg.svd(direction[None]).Vh[1:]
    return float(torch.linalg.eigvalsh(basis @ matrix @ basis.T)[0])


@pytest.mark.parametrize("size", [3, 7, 60])
def test_a_pass_curves_up_across_and_down_along(size):
    surface = TwoWells(size=size)
    found = curvature_across(surface, through(surface, 0.3), 0.5)
    assert found.verdict == "none"
    assert found.smallest == pytest.approx(surface.stiffness, abs=1e-9)
    assert found.along == pytest.approx(DOWN, abs=1e-12)
    assert found.along < 0
    assert found.across == pytest.approx(0, abs=1e-14)
    assert found.residual < 1e-6
    assert str(found).startswith("no way down across the string")


@pytest.mark.parametrize("size", [2, 3, 60])
def test_a_saddle_across_is_curvature(size):
    surface = TwoWells(size=size)
    found = curvature_across(surface, through(surface, 0.0, 0.3), 0.5)
    assert found.verdict == "curvature"
    assert found.smallest == pytest.approx(DOWN, abs=1e-9)
    assert found.along == pytest.approx(4, abs=1e-12)
    assert "push the model off at random" in str(found)


def test_a_ridge_is_a_slope():
    found = curvature_across(WELLS, Segment(*WELLS.ends), 1 / 2.4)
    # On the chord y = 0 the slope across is c·v(0); a step of a tenth of the chord, 0.24, stays on the quadratic.
    assert found.across == pytest.approx(4 * 0.7, rel=1e-12)
    assert found.gain == pytest.approx(0.24 * 2.8 - 4 * 0.24**2 / 2, rel=1e-12)
    assert found.barrier == pytest.approx(1.98, rel=1e-12)
    assert found.verdict == "gradient"
    assert "descend further from here" in str(found)


def test_a_step_down_ends_at_the_bottom_where_that_is_near():
    found = curvature_across(WELLS, through(WELLS, 0.3, place=(0.0, 0.7 + 0.01)), 0.5)
    assert found.gain == pytest.approx(4 * 0.01**2 / 2, rel=1e-6)
    assert found.verdict == "none"


@pytest.mark.parametrize("lift", [0.0, 1e4])
@pytest.mark.parametrize("unit", [1e-4, 1.0, 1e4])
def test_neither_units_nor_a_constant_change_the_verdict(lift, unit):
    surface = shifted(
        stretched(WELLS, torch.full((7,), unit, dtype=torch.float64)),
        torch.full((7,), 3 * unit, dtype=torch.float64),
        lift,
    )
    verdicts = []
    for at, arm in (((0.0, 0.7), (0.3, 0.0)), ((0.0, 0.7), (0.0, 0.3)), ((0.0, 0.2), (1.0, 0.0))):
        middle = unit * (3 + WELLS._point(*at))
        segment = Segment(middle - unit * WELLS._point(*arm), middle + unit * WELLS._point(*arm))
        verdicts.append(curvature_across(surface, segment, 0.5).verdict)
    assert verdicts == ["none", "curvature", "gradient"]


def test_off_the_axes_the_hyperplane_is_that_of_the_segment():
    ring = Ring(size=2, radii=(1.0, 1.0))  # H = −4 at the centre, in every direction
    for direction in ((0.3, -0.4), (-0.3, -0.4), (0.0, 1e-3)):
        found = curvature_across(ring, through(ring, *direction, place=(0.0, 0.0)), 0.5)
        assert found.smallest == pytest.approx(-4, abs=1e-12)
        assert found.along == pytest.approx(-4, abs=1e-12)
        assert found.evaluations == 2


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-5), (torch.float32, 1e-4)])
def test_a_network_has_the_smallest_eigenvalue_of_its_dense_hessian(dtype, tolerance):
    problem = network(dtype=dtype)
    segment = Segment(problem.initial(1), problem.initial(2))
    found = curvature_across(problem, segment, 0.4)
    matrix = dense(problem, segment, 0.4)
    direction = torch.nn.functional.normalize((segment.b - segment.a).double(), dim=0)
    slope = problem.gradient(segment.point(0.4)[None], None).gradients[0].double()
    expected = lowest_across(matrix, segment)
    assert expected < 0
    assert found.smallest == pytest.approx(expected, rel=tolerance, abs=tolerance)
    assert found.smallest >= expected - 1e-6
    assert found.along == pytest.approx(float(direction @ matrix @ direction), rel=tolerance, abs=tolerance)
    assert found.gradient == pytest.approx(float(slope.norm()), rel=tolerance)
    assert found.across == pytest.approx(float((slope - (slope @ direction) * direction).norm()), rel=tolerance)
    assert found.residual <= 3e-4 * found.largest
    assert found.exact
    assert found.examples == 40


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_without_kept_vectors_it_is_the_same(dtype, monkeypatch):
    """What a large model has in place of twenty vectors."""
    problem = network(dtype=dtype)
    segment = Segment(problem.initial(1), problem.initial(2))
    whole = curvature_across(problem, segment, 0.4)
    monkeypatch.setattr(curvature, "KEPT_BYTES", 0)
    found = curvature_across(problem, segment, 0.4)
    for name in ("gradient", "across", "along", "gain", "barrier", "length"):
        assert getattr(found, name) == pytest.approx(getattr(whole, name), rel=1e-3)
    assert abs(found.smallest - whole.smallest) <= found.residual + 1e-5
    assert found.residual < 0.05 * found.largest
    assert found.largest == pytest.approx(whole.largest, rel=0.02)
    assert found.verdict == whole.verdict


def test_where_all_curves_up_the_direction_of_the_segment_is_no_eigenvalue(cloud):
    problem = cloud()  # H = diag(0.5², …, 1.5²)
    segment = Segment(draw(1, 5), draw(2, 5))
    found = curvature_across(problem, segment, 0.3)
    expected = lowest_across(torch.diag(problem.scales.square()), segment)
    assert 0.25 < expected < 0.6
    assert found.smallest == pytest.approx(expected, rel=1e-8)


@pytest.mark.slow
def test_the_sample_of_a_large_training_set_is_fixed_by_the_seed():
    problem = network(count=90)
    segment = Segment(problem.initial(1), problem.initial(2))
    one, again, other = (curvature_across(problem, segment, 0.5, examples=30, seed=seed) for seed in (3, 3, 4))
    assert one == again
    assert one.examples == 30
    assert other.gradient != one.gradient
    assert curvature_across(problem, segment, 0.5, seed=3).examples == 90


def test_a_problem_without_products_is_differentiated_by_differences(watched):
    problem = network()
    segment = Segment(problem.initial(1), problem.initial(2))
    bare = watched(problem)
    assert not isinstance(bare, Curved)
    found, exact = curvature_across(bare, segment, 0.4), curvature_across(problem, segment, 0.4)
    assert not found.exact
    assert found.smallest == pytest.approx(exact.smallest, rel=1e-4)
    assert found.along == pytest.approx(exact.along, rel=1e-4)
    assert (found.gradient, found.across) == (exact.gradient, exact.across)
    assert bare.gradients == 3 + 2 * found.evaluations


def test_differences_are_good_enough_in_float32(watched):
    problem = network(dtype=torch.float32)
    segment = Segment(problem.initial(1), problem.initial(2))
    found, exact = curvature_across(watched(problem), segment, 0.4), curvature_across(problem, segment, 0.4)
    assert found.smallest == pytest.approx(exact.smallest, abs=1e-3 * exact.largest)
    assert found.verdict == exact.verdict


class Cube(torch.autograd.Function):
    """x³, differentiable once."""

    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x**3

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, slope):
        return 3 * ctx.saved_tensors[0] ** 2 * slope


class Cubes(nn.Linear):
    plain = False

    def forward(self, inputs: Tensor) -> Tensor:
        outputs = super().forward(inputs)
        return outputs**3 if self.plain else Cube.apply(outputs)


class PlainCubes(Cubes):
    plain = True


def test_a_module_without_second_derivative_is_differentiated_by_differences():
    data = draw(0, 20, 4), draw(1, 20, 2)
    once, twice = (
        ModuleProblem(kind(4, 2).double(), nn.functional.mse_loss, data, engine="loop") for kind in (Cubes, PlainCubes)
    )
    segment = Segment(draw(2, once.size), draw(3, once.size))
    found, exact = curvature_across(once, segment, 0.5), curvature_across(twice, segment, 0.5)
    assert not found.exact
    assert exact.exact
    assert found.smallest == pytest.approx(exact.smallest, rel=1e-4)
    assert found.verdict == exact.verdict


class Kinked(nn.Linear):
    """|0|^(3/2): its second derivative is not a number, its first is."""

    def forward(self, inputs: Tensor) -> Tensor:
        outputs = super().forward(inputs)
        return outputs + (outputs * 0.0).abs().pow(1.5)


def test_a_second_derivative_that_is_no_number_is_replaced_by_differences():
    problem = ModuleProblem(Kinked(3, 2).double(), nn.functional.mse_loss, (draw(0, 9, 3), draw(1, 9, 2)))
    found = curvature_across(problem, Segment(draw(2, 8), draw(3, 8)), 0.5)
    assert not found.exact
    assert found.smallest > 0


def test_dropout_keeps_its_masks_while_gradients_are_compared(watched):
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(4, 5), nn.Tanh(), nn.Dropout(0.5), nn.Linear(5, 2)).double()
    problem = ModuleProblem(net, nn.functional.mse_loss, (draw(0, 20, 4), draw(1, 20, 2)), engine="loop")
    segment = Segment(problem.initial(1), problem.initial(2))
    found, exact = curvature_across(watched(problem), segment, 0.4), curvature_across(problem, segment, 0.4)
    assert exact.exact
    assert found.smallest == pytest.approx(exact.smallest, rel=1e-4)


def test_a_single_parameter_has_no_hyperplane():
    data = torch.ones(3, 1).double(), torch.zeros(3, 1).double()
    problem = ModuleProblem(nn.Linear(1, 1, bias=False).double(), nn.functional.mse_loss, data, engine="loop")
    found = curvature_across(problem, Segment(torch.tensor([-1.0]).double(), torch.tensor([3.0]).double()), 0.5)
    assert found.along == pytest.approx(2)
    assert (found.smallest, found.residual, found.across, found.largest) == (None, None, 0.0, 0.0)
    assert found.verdict == "none"
    assert str(found).startswith("no slope across the string, and no smallest curvature found")


def test_a_plain_has_no_curvature(plateau):
    for size in (3, 40):
        surface = replace(plateau, size=size)
        found = curvature_across(surface, Segment(surface._point(20.0), surface._point(30.0)), 0.5)
        assert (found.smallest, found.residual, found.gradient, found.gain) == (0.0, 0.0, 0.0, 0.0)
        assert found.verdict == "none"


@pytest.mark.slow
def test_without_convergence_there_is_no_smallest(monkeypatch):
    problem = network()
    segment = Segment(problem.initial(1), problem.initial(2))
    monkeypatch.setattr(lanczos, "TOLERANCES", (1e-15, 1e-15))
    monkeypatch.setattr(lanczos, "RESTARTS", 1)
    found = curvature_across(problem, segment, 0.4)
    assert (found.smallest, found.residual) == (None, None)
    assert found.largest > 0
    assert found.across == curvature_across(problem, segment, 0.4).across


def test_lanczos_is_tried_again_less_strictly(monkeypatch):
    numbers = torch.linspace(-1, 9, 301, dtype=torch.float64)
    strict = lanczos.spectrum(lambda x: numbers * x, 301, seed=0)
    assert strict.smallest == pytest.approx(-1, abs=1e-4)
    monkeypatch.setattr(lanczos, "TOLERANCES", (0.0, 1e-2))
    monkeypatch.setattr(lanczos, "RESTARTS", 3)
    loose = lanczos.spectrum(lambda x: numbers * x, 301, seed=0)
    assert -1 <= loose.smallest < -0.8
    assert strict.residual < loose.residual < 0.5


def test_noisy_products_prove_no_negative_curvature():
    common = (0.0, 0.0, -1.0, -0.01, 0.02, 5.0, 0.0, 1.0, 2.0, 10, 7)
    assert Curvature(*common, exact=True).verdict == "curvature"
    assert Curvature(*common, exact=False).verdict == "none"


def test_it_is_written_as_json():
    found = curvature_across(WELLS, Segment(*WELLS.ends), 0.4)
    assert Curvature(**json.loads(json.dumps(asdict(found)))) == found


def test_what_cannot_be_measured_is_refused(refused):
    a, b = WELLS.ends
    segment = Segment(a, b)
    with refused(InvalidSetting, r"^t=1.5 is not on the segment"):
        curvature_across(WELLS, segment, 1.5)
    with refused(InvalidSetting, r"^examples=0"):
        curvature_across(WELLS, segment, 0.5, examples=0)
    with refused(InvalidSetting, "ends are one model"):
        curvature_across(WELLS, Segment(a, a.clone()), 0.5)
    with refused(InvalidCheckpoint, "the segment's first end has shape"):
        curvature_across(TwoWells(size=3), segment, 0.5)
    with refused(InvalidSetting, "curvature needs finite numbers"):
        curvature_across(WELLS, Segment(a, b * 1e200), 0.5)
