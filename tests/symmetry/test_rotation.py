"""A permutation as the end of a rotation: its logarithm, the path, and what linear and other networks see of it."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from itertools import pairwise

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.linalg import logm
from torch import Tensor, nn

from weightstring.errors import InvalidCheckpoint, InvalidSetting
from weightstring.problem import Layout, ModuleProblem
from weightstring.symmetry.finding import find
from weightstring.symmetry.moves import Move, random_permutation
from weightstring.symmetry.rotation import RotationPath, rotation
from weightstring.symmetry.spec import Group, Spec, Symmetry

Build = Callable[[], nn.Module]


def normal(*shape: int, seed: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def linear(sizes: Sequence[int], bias: bool = True) -> nn.Sequential:
    return nn.Sequential(*(nn.Linear(m, n, bias) for m, n in pairwise(sizes)))


def posed(net: nn.Module, inputs: Tensor, outputs: int) -> ModuleProblem:
    data = inputs, normal(len(inputs), outputs, seed=2)
    return ModuleProblem(net.double(), nn.functional.mse_loss, data, batch_size=None)


def path(problem: ModuleProblem, seed: int) -> RotationPath:
    symmetry = find(problem)
    return RotationPath(symmetry, problem.initial(seed), random_permutation(symmetry, seed, even=True))


def losses(problem: ModuleProblem, found: RotationPath, steps: int = 8) -> Tensor:
    return problem.measure(torch.stack([found.at(i / steps) for i in range(steps + 1)]))["loss"]


class TestRotation:
    @given(st.permutations(range(9)))
    def test_it_is_a_skew_logarithm_of_the_permutation(self, order: list[int]) -> None:
        if _sign(order) < 0:
            order[0], order[1] = order[1], order[0]
        permutation = torch.tensor(order)
        generator = rotation(permutation)
        assert torch.equal(generator, -generator.T)
        matrix = torch.eye(9, dtype=torch.float64)[permutation]
        assert torch.allclose(torch.linalg.matrix_exp(generator), matrix, rtol=0, atol=1e-13)

    @pytest.mark.parametrize("size", [3, 5, 11])
    def test_a_cycle_of_odd_length_has_the_principal_logarithm(self, size: int) -> None:
        permutation = torch.arange(size).roll(-2)
        matrix = torch.eye(size, dtype=torch.float64)[permutation]
        assert torch.allclose(rotation(permutation), torch.from_numpy(logm(matrix.numpy()).real), atol=1e-12)

    def test_two_exchanges_are_half_a_turn(self) -> None:
        # Exchanges of 0 and 1, of 2 and 3: (e0 − e1)/√2 turns into (e2 − e3)/√2.
        u = torch.tensor([1.0, -1.0, 0.0, 0.0], dtype=torch.float64) / math.sqrt(2)
        v = torch.tensor([0.0, 0.0, 1.0, -1.0], dtype=torch.float64) / math.sqrt(2)
        expected = math.pi * (torch.outer(u, v) - torch.outer(v, u))
        assert torch.allclose(rotation(torch.tensor([1, 0, 3, 2])), expected, atol=1e-15)

    @pytest.mark.parametrize("lengths", [(1,), (1, 1, 3), (2, 4), (2, 2, 6, 4), (5, 3, 2, 8, 1)])
    def test_its_norm_is_that_of_the_angles_of_the_eigenvalues(self, lengths: tuple[int, ...]) -> None:
        # No logarithm is smaller: every eigenvalue exp(iφ) needs an angle of at least |φ|.
        starts = [sum(lengths[:i]) for i in range(len(lengths))]
        permutation = torch.cat([s + torch.arange(k).roll(-1) for s, k in zip(starts, lengths, strict=True)])
        angles = torch.cat([2 * math.pi * torch.arange(k).double() / k for k in lengths])
        least = torch.minimum(angles, 2 * math.pi - angles).norm()
        assert float(rotation(permutation).norm()) == pytest.approx(float(least), rel=1e-12, abs=1e-12)

    def test_the_identity_does_not_move(self) -> None:
        assert not rotation(torch.arange(4)).any()

    def test_large_ones_are_exact_too(self) -> None:
        permutation = torch.randperm(257, generator=torch.Generator().manual_seed(3))
        permutation = (
            permutation if _sign(permutation.tolist()) > 0 else torch.cat([permutation[:2].flip(0), permutation[2:]])
        )
        matrix = torch.eye(257, dtype=torch.float64)[permutation]
        assert float((torch.linalg.matrix_exp(rotation(permutation)) - matrix).abs().max()) < 1e-11

    def test_odd_permutations_are_refused(self, refused: Callable) -> None:
        with refused(
            InvalidSetting, r"\[1, 0, 2\] is an odd permutation.*determinant −1.*permuted_copy\(..., even=True\)"
        ):
            rotation(torch.tensor([1, 0, 2]))
        with refused(InvalidSetting, r"\[1, 2, 3, 4, 5, 6, 7, 8, …\] is an odd"):
            rotation(torch.arange(10).roll(-1))

    def test_what_is_no_permutation_is_refused(self, refused: Callable) -> None:
        with refused(InvalidSetting, r"\[0, 0, 2\] is no permutation of 0 to 2"):
            rotation(torch.tensor([0, 0, 2]))


class TestLinearNetworks:
    @pytest.mark.many(quick=3)
    @pytest.mark.parametrize("sizes", [(3, 5, 2), (4, 7, 6, 3), (2, 9, 3, 5, 1), (3, 2, 4, 2)])
    @pytest.mark.parametrize("bias", [True, False])
    def test_the_loss_is_constant(self, sizes: tuple[int, ...], bias: bool) -> None:
        problem = posed(linear(sizes, bias), 1 + normal(11, sizes[0], seed=1), sizes[-1])
        for seed in range(12):
            found = losses(problem, path(problem, seed))
            assert float((found - found[0]).abs().max()) < 1e-12

    @pytest.mark.parametrize("cycles", [[1, 0, 3, 2, 4], [1, 2, 3, 0, 5, 4], [1, 2, 0, 4, 5, 6, 3, 8, 7]])
    def test_of_even_and_mixed_cycles_too(self, cycles: list[int]) -> None:
        problem = posed(linear((3, len(cycles), 2)), 1 + normal(11, 3, seed=1), 2)
        symmetry, theta = find(problem), problem.initial(0)
        (name,) = symmetry.permutations.groups
        move = Move(symmetry, {name: torch.tensor(cycles)})
        found = RotationPath(symmetry, theta, move)
        assert float((losses(problem, found) - losses(problem, found)[0]).abs().max()) < 1e-12
        assert torch.allclose(found.at(1.0), move(theta), rtol=0, atol=1e-13)
        assert not torch.allclose(found.at(0.5), theta, atol=0.01)


class Attention(nn.Module):
    """Heads that are permuted as a whole, and the units of each apart."""

    def __init__(self) -> None:
        super().__init__()
        self.embed, self.query, self.key = nn.Linear(3, 12), nn.Linear(12, 12), nn.Linear(12, 12)
        self.value, self.out, self.read = nn.Linear(12, 12), nn.Linear(12, 12), nn.Linear(12, 2)

    def forward(self, x: Tensor) -> Tensor:
        h = self.embed(x)
        heads = (m(h).unflatten(-1, (3, 4)).transpose(1, 2) for m in (self.query, self.key, self.value))
        mixed = nn.functional.scaled_dot_product_attention(*heads).transpose(1, 2).flatten(2)
        return self.read(self.out(mixed) + h).mean(1)


class Apart(nn.Module):
    """One axis, heads times units, on both sides of one weight."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.c = nn.Linear(3, 12), nn.Linear(12, 12), nn.Linear(12, 2)

    def forward(self, x: Tensor) -> Tensor:
        h = self.a(x)
        h = h + self.b(h.unflatten(1, (3, 4)).softmax(-1).flatten(1))
        return self.c(h.unflatten(1, (3, 4)).softmax(-1).flatten(1))


def convolutions() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(1, 5, 2), nn.ReLU(), nn.Conv2d(5, 3, 2), nn.Flatten(), nn.Linear(12, 4), nn.Linear(4, 2)
    )


def perceptron() -> nn.Module:
    return nn.Sequential(nn.Linear(3, 7), nn.ReLU(), nn.Linear(7, 5), nn.ReLU(), nn.Linear(5, 2))


NETWORKS: list[tuple[Build, tuple[int, ...]]] = [(perceptron, (3,)), (convolutions, (1, 4, 4)), (Attention, (4, 3))]


class TestPath:
    @pytest.mark.parametrize(("build", "shape"), NETWORKS)
    def test_it_leads_from_the_model_to_its_permutation(self, build: Build, shape: tuple[int, ...]) -> None:
        problem = posed(build(), normal(6, *shape, seed=1), 2)
        for seed in range(4):
            found = path(problem, seed)
            assert torch.equal(found.at(0.0), found.theta)
            assert found.at(0.0) is not found.theta
            assert torch.allclose(found.at(1.0), found.move(found.theta), rtol=0, atol=1e-13)
            assert torch.allclose(found.at(1 - 1e-9), found.move(found.theta), rtol=0, atol=1e-7)

    @pytest.mark.parametrize(("build", "shape"), [*NETWORKS, (Apart, (3,))])
    def test_nonlinear_networks_see_it_between_the_ends(self, build: Build, shape: tuple[int, ...]) -> None:
        problem = posed(build(), 1 + normal(6, *shape, seed=1), 2)
        found = losses(problem, path(problem, 2))
        assert abs(float(found[0] - found[-1])) < 1e-12
        assert float((found - found[0]).abs().max()) > 1e-4

    def test_attention_does_not_see_the_units_of_a_head_turn(self) -> None:
        # Queries meet keys in a product, and values are mixed linearly: only heads as a whole are nonlinear.
        problem = posed(Attention(), 1 + normal(6, 4, 3, seed=1), 2)
        drawn = path(problem, 2)
        units = {name: own for name, own in drawn.move.permutations.items() if own.ndim == 2 or len(own) == 12}
        assert len(units) == 3
        found = losses(problem, RotationPath(drawn.symmetry, drawn.theta, Move(drawn.symmetry, units)))
        assert float((found - found[0]).abs().max()) < 1e-12

    @pytest.mark.parametrize(("build", "shape"), [*NETWORKS, (Apart, (3,))])
    def test_it_is_orthogonal(self, build: Build, shape: tuple[int, ...]) -> None:
        problem = posed(build(), normal(6, *shape, seed=1), 2)
        found = path(problem, 2)
        for s in (0.2, 0.7, 1.0):
            turned = RotationPath(found.symmetry, problem.initial(9), found.move).at(s)
            assert float(found.at(s) @ turned) == pytest.approx(float(found.theta @ problem.initial(9)), rel=1e-12)
            assert float(found.at(s).norm()) == pytest.approx(float(found.theta.norm()), rel=1e-12)

    def test_layers_are_multiplied_on_both_sides(self) -> None:
        problem = posed(perceptron(), normal(6, 3, seed=1), 2)
        found = path(problem, 3)
        first, second = (torch.linalg.matrix_exp(0.4 * rotation(own)) for own in found.move.permutations.values())
        before, after = (problem.layout.views(theta) for theta in (found.theta, found.at(0.4)))
        expected = {
            "0.weight": first @ before["0.weight"],
            "0.bias": first @ before["0.bias"],
            "2.weight": second @ before["2.weight"] @ first.T,
            "2.bias": second @ before["2.bias"],
            "4.weight": before["4.weight"] @ second.T,
            "4.bias": before["4.bias"],
        }
        for name, value in expected.items():
            assert torch.allclose(after[name], value, rtol=0, atol=1e-14), name

    @pytest.mark.many(quick=1)
    @pytest.mark.parametrize(("build", "shape"), [*NETWORKS, (Apart, (3,))])
    def test_its_length_is_that_of_fine_chords(self, build: Build, shape: tuple[int, ...]) -> None:
        found = path(posed(build(), normal(6, *shape, seed=1), 2), 2)
        points = torch.stack([found.at(i / 400) for i in range(401)])
        assert found.length == pytest.approx(float(points.diff(dim=0).norm(dim=1).sum()), rel=2e-5)
        assert found.length >= float((points[-1] - points[0]).norm())

    def test_its_speed_is_the_derivative(self) -> None:
        found = path(posed(Attention(), normal(6, 4, 3, seed=1), 2), 2)
        numeric = [float((found.at(s + 1e-5) - found.at(s - 1e-5)).norm()) / 2e-5 for s in (0.2, 0.6)]
        assert [found.speed(0.2), found.speed(0.6)] == pytest.approx(numeric, rel=1e-8)
        assert abs(numeric[0] - numeric[1]) > 1e-3  # heads and their units turn: the speed is not constant

    def test_units_of_an_outer_unit_turn_apart(self) -> None:
        layout = Layout.of(nn.Linear(1, 6, bias=False).double())
        groups = {"head": Group("head", 2, fixed=True), "unit": Group("unit", 3, ("head",))}
        symmetry = Symmetry(layout, Spec(groups, {"weight": (("head", "unit"), None)}))
        orders = torch.tensor([[1, 2, 0], [0, 1, 2]])
        theta = normal(6, seed=4)
        turned = RotationPath(symmetry, theta, Move(symmetry, {"unit": orders})).at(0.5)
        assert torch.equal(turned[3:], theta[3:])
        assert torch.allclose(turned[:3], torch.linalg.matrix_exp(rotation(orders[0]) / 2) @ theta[:3], atol=1e-14)

    def test_float32_is_rounded_once(self) -> None:
        problem = posed(perceptron(), normal(6, 3, seed=1), 2)
        single = ModuleProblem(perceptron(), nn.functional.mse_loss, (torch.ones(2, 3), torch.ones(2, 2)))
        found = path(problem, 1)
        theta = found.theta.float()
        narrow = RotationPath(find(single), theta, Move(find(single), found.move.permutations))
        exact = RotationPath(found.symmetry, theta.double(), found.move)
        assert torch.equal(narrow.at(0.3), exact.at(0.3).float())
        assert torch.equal(narrow.at(1.0), narrow.move(theta))

    def test_groups_left_out_stay(self) -> None:
        problem = posed(perceptron(), normal(6, 3, seed=1), 2)
        symmetry, theta = find(problem), problem.initial(0)
        still = RotationPath(symmetry, theta, Move(symmetry))
        assert torch.equal(still.at(0.5), theta)
        assert still.length == 0

    def test_places_off_the_path_are_refused(self, refused: Callable) -> None:
        found = path(posed(perceptron(), normal(6, 3, seed=1), 2), 1)
        for s in (-0.1, 1.1, math.nan):
            with refused(InvalidSetting, f"s={s} is not on the path: it runs from 0 to 1"):
                found.at(s)
            with refused(InvalidSetting, f"s={s} is not on the path"):
                found.speed(s)

    def test_moves_that_are_no_rotations_are_refused(self, refused: Callable) -> None:
        problem = posed(perceptron(), normal(6, 3, seed=1), 2)
        symmetry, theta = find(problem), problem.initial(0)
        swap = torch.tensor([1, 0, 2, 3, 4, 5, 6])
        with refused(InvalidSetting, r"group '0': .* odd permutation"):
            RotationPath(symmetry, theta, Move(symmetry, {"0": swap}))
        with refused(InvalidSetting, "permutes 'x', but the groups are 0, 2"):
            RotationPath(symmetry, theta, Move(symmetry, {"x": swap}))
        with refused(InvalidSetting, r"of '2' has shape \(7,\) where the symmetry needs \(5,\)"):
            RotationPath(symmetry, theta, Move(symmetry, {"2": swap}))
        with refused(InvalidSetting, "also scales 0"):
            RotationPath(symmetry, theta, Move(symmetry, factors={"0": torch.ones(7, dtype=torch.float64)}))
        with refused(InvalidCheckpoint, "float32"):
            RotationPath(symmetry, theta.float(), Move(symmetry))


def _sign(order: list[int]) -> int:
    return round(float(torch.linalg.det(torch.eye(len(order), dtype=torch.float64)[order])))
