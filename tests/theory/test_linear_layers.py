"""Linear networks: λ* as a proved lower bound, beside Eckart and Young in floats, and what is made of it."""

from __future__ import annotations

from fractions import Fraction
from itertools import pairwise

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

import weightstring as ws
from weightstring.path import Disconnected
from weightstring.proof.disconnect import prove, stands
from weightstring.theory import deep_linear
from weightstring.theory.deep_linear_barrier import barrier, through_barrier
from weightstring.theory.linear_layers import read_linear
from weightstring.theory.low_rank import least_with_rank

ROUNDED = 1e-12
"""What a bound may fall short of the formula in floats, relative to it."""


def numbers(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def in_floats(X: Tensor, Y: Tensor, rank: int) -> float:  # noqa: N803
    """Eckart and Young."""
    Z = X @ torch.linalg.pinv(X, rtol=1e-10) @ Y  # noqa: N806
    return float((Y - Z).square().sum() + torch.linalg.svdvals(Z)[rank:].square().sum())


class TestLeastWithRank:
    @pytest.mark.parametrize(("n", "d", "c"), [(9, 2, 2), (30, 5, 3), (20, 3, 5), (4, 6, 3), (2, 3, 3)])
    def test_is_eckart_and_young_rounded_down(self, n: int, d: int, c: int) -> None:
        X, Y = numbers(n, d), 3 + numbers(n, c, seed=1)  # noqa: N806
        for rank in range(min(d, c) + 1):
            found, expected = least_with_rank(X, Y, rank), in_floats(X, Y, rank)
            assert float(found) == pytest.approx(expected, rel=ROUNDED, abs=1e-24)

    def test_is_exact_where_numbers_are_whole(self) -> None:
        X, Y = torch.eye(3).double(), torch.diag(torch.tensor([5.0, 4.0, 3.0])).double()  # noqa: N806
        assert [least_with_rank(X, Y, rank) for rank in (0, 1, 2, 3)] == [50, 25, 9, 0]

    def test_inputs_of_lower_rank_are_seen_exactly(self) -> None:
        X = numbers(12, 2) @ torch.tensor([[1.0, 0.0, 2.0], [0.0, 1.0, -1.0]]).double()  # noqa: N806
        X = (X * 2**20).round() / 2**20  # noqa: N806
        X[:, 2] = 2 * X[:, 0] - X[:, 1]
        Y = numbers(12, 3, seed=2)  # noqa: N806
        assert float(least_with_rank(X, Y, 1)) == pytest.approx(in_floats(X, Y, 1), rel=ROUNDED)
        assert least_with_rank(torch.zeros(4, 2), torch.ones(4, 1), 1) == 4

    @pytest.mark.parametrize("size", [1e-150, 1e150])
    def test_neither_underflows_nor_overflows(self, size: float) -> None:
        X, Y = numbers(7, 2), numbers(7, 2, seed=3)  # noqa: N806
        scaled = least_with_rank(size * X, size * Y, 1)
        assert float(scaled / Fraction(size) ** 2) == pytest.approx(float(least_with_rank(X, Y, 1)), rel=ROUNDED)

    @settings(max_examples=25)
    @given(st.integers(0, 10_000), st.integers(1, 3), st.integers(1, 3), st.integers(0, 2))
    def test_no_product_of_that_rank_is_lower(self, seed: int, d: int, c: int, rank: int) -> None:
        X, Y = numbers(5, d, seed=seed), numbers(5, c, seed=seed + 1)  # noqa: N806
        bound = float(least_with_rank(X, Y, rank))
        U, sigma, V = torch.linalg.svd(X @ torch.linalg.pinv(X) @ Y, full_matrices=False)  # noqa: N806
        best = (U[:, :rank] * sigma[:rank]) @ V[:rank]
        assert bound <= float((Y - best).square().sum()) * (1 + 1e-9) + 1e-12

    def test_a_number_that_is_not_finite_is_refused(self) -> None:
        with pytest.raises(OverflowError):
            least_with_rank(torch.tensor([[float("inf")]]), torch.ones(1, 1), 0)


def network(widths: tuple[int, ...], seed: int) -> tuple[ws.ModuleProblem, list[list[Tensor]], Tensor, Tensor]:
    X, Y = numbers(widths[0], 11, seed=seed), numbers(widths[-1], 11, seed=seed + 1)  # noqa: N806
    ends = [[numbers(o, i, seed=seed + 10 * e + k) for k, (i, o) in enumerate(pairwise(widths))] for e in (1, 2)]
    return deep_linear.problem(widths, X, Y), ends, X, Y


@pytest.mark.many(quick=4)
@pytest.mark.parametrize("widths", [(2, 2, 2), (3, 3, 3, 3), (5, 3, 4, 3), (2, 2, 4), (1, 1, 1, 1)])
@pytest.mark.parametrize("seed", range(3))
def test_the_proof_is_lambda_star_just_where_signs_differ(widths: tuple[int, ...], seed: int) -> None:
    problem, (a, b), X, Y = network(widths, seed)  # noqa: N806
    exact = barrier(a, b, X, Y)
    proof = prove(problem, deep_linear.flatten(a), deep_linear.flatten(b))
    if exact.signs_a == exact.signs_b and widths[0] != widths[-1]:
        assert proof is None
    elif exact.signs_a != exact.signs_b:
        assert proof is not None
        assert exact.lambda_star * (1 - ROUNDED) <= proof.bound <= exact.lambda_star
        path = through_barrier(a, b, X, Y)
        heights = problem.measure(torch.stack([path.at(t / 20) for t in range(21)]))["loss"]
        assert float(heights.max()) >= proof.bound or path.bound >= proof.bound


@pytest.mark.slow
def test_a_bottleneck_narrower_than_both_sides_is_bounded_too() -> None:
    X, Y = numbers(8, 5, seed=4), numbers(8, 4, seed=5)  # noqa: N806
    net = nn.Sequential(*(nn.Linear(i, o, bias=False) for i, o in pairwise((5, 2, 3, 2, 4)))).double()
    problem = ws.ModuleProblem(net, nn.MSELoss(), (X, Y), batch_size=None)
    a = problem.initial(0)
    views = problem.unflatten(a)
    b = problem.flatten({**views, "1.weight": views["1.weight"] * -1, "2.weight": views["2.weight"][[1, 0]]})
    proof = prove(problem, a, b)
    assert proof is not None
    assert proof.bound == pytest.approx(in_floats(X, Y, 1) / Y.numel(), rel=1e-9)
    assert "layers 2 to 3" in proof.argument


class TestReading:
    def net(self, *layers: nn.Module) -> ws.ModuleProblem:
        data = numbers(6, 2), numbers(6, 2, seed=1)
        return ws.ModuleProblem(nn.Sequential(*layers).double(), nn.MSELoss(), data, batch_size=None)

    def linear(self, bias: bool = False) -> nn.Linear:
        return nn.Linear(2, 2, bias=bias)

    @pytest.mark.slow
    def test_what_is_no_chain_is_not_taken_for_one(self) -> None:
        for layers in (
            (self.linear(), nn.ReLU(), self.linear(), self.linear()),
            (self.linear(), self.linear(), nn.ReLU(), self.linear()),
            (self.linear(), self.linear(bias=True), self.linear()),
            (self.linear(bias=True), self.linear()),
        ):
            assert read_linear(self.net(*layers)) is None

    def test_a_hook_is_seen(self) -> None:
        layer = self.linear()
        layer.register_forward_hook(lambda module, args, output: output.abs())
        assert read_linear(self.net(layer, self.linear(), self.linear())) is None

    def test_what_does_not_change_the_product_is_read_through(self) -> None:
        found = read_linear(self.net(self.linear(), nn.Identity(), nn.Dropout(0.5), self.linear(), self.linear()))
        assert found is not None
        assert found.widths == (2, 2, 2, 2)
        assert found.squares == [(0, 1), (0, 2), (1, 2), (1, 3), (2, 3)]


def exchanged(seed: int = 0) -> tuple[ws.ModuleProblem, Tensor, Tensor, float]:
    """2-2-2, fitted exactly, and its copy with both hidden units exchanged."""
    X = numbers(2, 9, seed=seed)  # noqa: N806
    goal = torch.tensor([[1.5, 0.2], [-0.1, 0.8]]).double()
    first = torch.tensor([[1.2, 0.1], [0.2, 0.9]]).double()
    second = goal @ torch.linalg.inv(first)
    a, b = [first, second], [first[[1, 0]], second[:, [1, 0]]]
    problem = deep_linear.problem((2, 2, 2), X, goal @ X)
    return problem, deep_linear.flatten(a), deep_linear.flatten(b), barrier(a, b, X, goal @ X).lambda_star


def test_connect_says_disconnected_under_lambda_star_and_searches_over_it() -> None:
    problem, a, b, lambda_star = exchanged()
    under = ws.connect(problem, a, b, 0.999 * lambda_star, progress=False)
    assert isinstance(under.outcome, Disconnected)
    assert under.outcome.proof.bound == pytest.approx(lambda_star, rel=ROUNDED)
    assert "linear" in str(under.outcome)
    assert under.steps == 0
    over = ws.connect(problem, a, b, 1.2 * lambda_star, progress=False, stop=ws.MaxSteps(10))
    assert not isinstance(over.outcome, Disconnected)


@pytest.mark.slow
def test_minimax_tells_lambda_star_as_its_proved_lower_bound() -> None:
    problem, a, b, lambda_star = exchanged()
    found = ws.minimax(problem, a, b, stop=ws.MaxSteps(200), progress=False)
    assert found.lower_bound == pytest.approx(lambda_star, rel=ROUNDED)
    assert found.lower_bound <= found.level
    assert f"{found.lower_bound:.6g} <= Γ" in str(found)


def test_samples_that_miss_the_top_by_a_little_leave_the_proof_standing() -> None:
    problem, a, b, lambda_star = exchanged()
    proof = prove(problem, a, b)
    assert proof is not None
    line = ws.WeightString(problem, [a, b])
    assert stands(problem, proof, line, (1 - 1e-5) * lambda_star, "a string")
    assert not stands(problem, proof, line, (1 - 1e-3) * lambda_star, "a string")
