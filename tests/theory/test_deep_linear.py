"""Deep linear networks (III.A): no barrier with spare width, exact barriers without, and the ridge."""

# ruff: noqa: N803, N806 (the symbols of the paper are capitals)

from __future__ import annotations

import itertools
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

import weightstring as ws
from weightstring.errors import InvalidSetting
from weightstring.theory.curve import Curve
from weightstring.theory.deep_linear import SquaredLoss, connect, flatten, network, problem, product, unflatten
from weightstring.theory.deep_linear_barrier import barrier, ridge_path, through_barrier

SHAPES = [
    (3, 4, 2),
    (2, 4, 3),
    (1, 2, 1),
    (3, 4, 3),
    (5, 3, 2),
    (4, 7, 3),
    (2, 3, 3, 2),
    (5, 4, 6, 3),
    (3, 6, 4, 5),
    (4, 3, 5, 3, 2),
    (2, 5, 3, 4, 6),
    (1, 2, 3, 2, 1),
    (6, 2, 2, 1),
    (3, 4, 4, 4, 4, 3),
]
DENSE = 121


def draw(widths: tuple[int, ...], seed: int, kind: str = "random") -> tuple[Tensor, ...]:
    generator = torch.Generator().manual_seed(seed)
    weights = [
        torch.randn(high, low, generator=generator, dtype=torch.float64) for low, high in itertools.pairwise(widths)
    ]
    if kind == "zero":
        weights = [torch.zeros_like(weight) for weight in weights]
    elif kind == "rank one":
        weights = [torch.outer(weight[:, 0], weight[0]) for weight in weights]
    elif kind == "zero top":
        weights[-1] = torch.zeros_like(weights[-1])
    elif kind == "nearly deficient":
        weights = [torch.outer(weight[:, 0], weight[0]) + 1e-9 * weight for weight in weights]
    return tuple(weights)


def data(widths: tuple[int, ...], seed: int, n: int = 9, rank: int | None = None) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(10_000 + seed)
    X = 0.7 + torch.randn(widths[0], n, generator=generator, dtype=torch.float64)
    if rank is not None:
        # Sixteenths: their products are exact, and so is the rank.
        factors = X[:, :rank], torch.randn(rank, n, generator=generator, dtype=torch.float64)
        X = torch.mul(
            *(((16 * factor).round() / 16).unsqueeze(axis) for factor, axis in zip(factors, (2, 0), strict=True))
        ).sum(1)
    return X, torch.randn(widths[-1], n, generator=generator, dtype=torch.float64) - 0.4


def naive_loss(theta: np.ndarray, widths: tuple[int, ...], X: Tensor, Y: Tensor) -> float:
    """By NumPy, from θ alone: the layers applied to the data one after another."""
    outputs, start = X.numpy(), 0
    for low, high in itertools.pairwise(widths):
        outputs = theta[start : start + low * high].reshape(high, low) @ outputs
        start += low * high
    return float(((outputs - Y.numpy()) ** 2).sum() / X.shape[1])


def heights(curve: Curve, widths: tuple[int, ...], X: Tensor, Y: Tensor, points: int = DENSE) -> list[float]:
    return [naive_loss(curve.at(s / (points - 1)).numpy(), widths, X, Y) for s in range(points)]


def jump(curve: Curve, nearby: float = 1e-13) -> float:
    """The largest distance between points just before and just after the ends of a piece, and those ends."""
    gaps = []
    for x, y in itertools.pairwise([None, *curve.pieces, None]):
        before = [] if x is None else [x(1 - nearby), x(1.0)]
        after = [] if y is None else [y(0.0), y(nearby)]
        gaps += [float((p - q).abs().max()) for p, q in itertools.pairwise(before + after)]
    return max(gaps)


@pytest.mark.many(quick=1)
@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize("widths", SHAPES, ids=str)
def test_no_barrier_with_spare_width(widths: tuple[int, ...]) -> None:
    kinds = ("random", "zero", "rank one", "zero top", "nearly deficient")
    for seed, (kind_a, kind_b) in itertools.product(range(3), itertools.product(kinds, kinds)):
        if seed and kind_a != "random" and kind_b != "random":
            continue  # all pairs of kinds once, those with a random end three times
        A, B = draw(widths, seed, kind_a), draw(widths, 100 + seed, kind_b)
        X, Y = data(widths, seed)
        curve = connect(A, B, SquaredLoss(X, Y))
        ends = [naive_loss(flatten(end).numpy(), widths, X, Y) for end in (A, B)]
        assert curve.bound == pytest.approx(max(ends), rel=1e-12)
        assert max(heights(curve, widths, X, Y, 1 + 16 * len(curve.pieces))) <= max(ends) + 1e-10
        assert (curve.at(0.0) - flatten(A)).abs().max() <= 1e-12
        assert (curve.at(1.0) - flatten(B)).abs().max() <= 1e-12
        assert jump(curve) <= 1e-8


@pytest.mark.parametrize("widths", [(3, 4, 2), (2, 3, 5, 3)], ids=str)
def test_the_product_moves_straight_between_the_lifted_ends(widths: tuple[int, ...]) -> None:
    A, B = draw(widths, 1), draw(widths, 2)
    curve = connect(A, B)
    assert curve.bound == float("inf")
    P_A, P_B = product(A), product(B)
    moved = [product(unflatten(curve.at(s / 200), widths)) for s in range(201)]
    shares = [float(((P - P_A) * (P_B - P_A)).sum() / (P_B - P_A).square().sum()) for P in moved]
    assert all(later >= earlier - 1e-12 for earlier, later in itertools.pairwise(shares))
    for share, P in zip(shares, moved, strict=True):
        torch.testing.assert_close(P, torch.lerp(P_A, P_B, share), atol=1e-11, rtol=0)


def test_the_path_is_continuous() -> None:
    widths = (3, 4, 6, 2)
    curve = connect(draw(widths, 3, "zero top"), draw(widths, 4, "rank one"))
    for points in (400, 4000):
        thetas = torch.stack([curve.at(s / points) for s in range(points + 1)])
        assert (thetas[1:] - thetas[:-1]).norm(dim=1).max() * points < 200


def test_other_convex_losses_too() -> None:
    widths = (2, 4, 5, 3)
    A, B = draw(widths, 5), draw(widths, 6)
    X, Y = data(widths, 5)

    def absolute(P: Tensor) -> float:
        return float((P @ X - Y).abs().mean())

    curve = connect(A, B, absolute)
    sampled = [absolute(product(unflatten(curve.at(s / 200), widths))) for s in range(201)]
    assert max(sampled) <= curve.bound + 1e-12
    assert curve.bound == max(absolute(product(A)), absolute(product(B)))


def test_the_problem_has_the_same_loss_and_order_of_parameters() -> None:
    widths = (3, 5, 4, 2)
    A = draw(widths, 7)
    X, Y = data(widths, 7)
    measured = problem(widths, X, Y).measure(flatten(A)[None])["loss"].item()
    assert measured == pytest.approx(naive_loss(flatten(A).numpy(), widths, X, Y), rel=1e-13)
    assert SquaredLoss(X, Y)(product(A)) == pytest.approx(measured, rel=1e-13)
    net = network(widths)
    torch.nn.utils.vector_to_parameters(flatten(A), net.parameters())
    torch.testing.assert_close(net(X.T).T, product(A) @ X)
    assert all(torch.equal(x, y) for x, y in zip(unflatten(flatten(A), widths), A, strict=True))


def test_an_inscribed_string_is_certified_close_to_the_bound() -> None:
    widths = (2, 3, 2)
    X, Y = data(widths, 8)
    P = Y @ torch.linalg.pinv(X)
    A, B = draw(widths, 8), draw(widths, 9)
    A, B = ((W[0], P @ torch.linalg.pinv(W[0])) for W in (A, B))  # two minimisers
    curve = connect(A, B, SquaredLoss(X, Y))
    measured = problem(widths, X, Y)
    string = curve.to_string(measured, tolerance=1e-3)
    certificate = ws.certify(measured, string, threshold=curve.bound + 1.5e-3)
    assert certificate.holds
    assert curve.bound - 1e-12 <= string.max_loss <= certificate.upper_bound


def best_of_deficient_rank(X: Tensor, Y: Tensor, rank: int, seed: int) -> float:
    """min ‖UVX − Y‖²/N over U (h_K, rank), V (rank, h_0): alternating least squares from four starts, in NumPy."""
    x, y = X.numpy(), Y.numpy()
    if rank == 0:
        return float((y**2).sum() / x.shape[1])
    rng, fitted = np.random.default_rng(seed), y @ np.linalg.pinv(x)

    def descend(V: np.ndarray) -> float:
        before = np.inf
        for _ in range(20_000):
            U = y @ np.linalg.pinv(V @ x)
            V = np.linalg.lstsq(U, fitted, rcond=None)[0]
            value = float(((U @ V @ x - y) ** 2).sum() / x.shape[1])
            if before - value < 1e-12:
                break
            before = value
        return value

    return min(descend(rng.normal(size=(rank, len(x)))) for _ in range(4))


EQUAL = {
    1: [(1, 1, 1), (3, 1, 1), (1, 1, 4), (2, 1, 1, 1), (1, 2, 1, 3), (1, 1, 1, 1, 1)],
    2: [(2, 2, 2), (4, 2, 2), (2, 2, 3), (3, 2, 3, 2), (2, 2, 2, 4), (2, 4, 2, 2, 3)],
    3: [(3, 3, 3), (5, 3, 3), (3, 3, 4), (4, 3, 5, 3), (3, 3, 3, 6), (3, 3, 4, 3, 3)],
}


def low_end(widths: tuple[int, ...], X: Tensor, Y: Tensor, seed: int, size: float) -> tuple[Tensor, ...]:
    """An end whose product is the minimiser plus noise, so that many lie below λ*, of random signs."""
    weights = list(draw(widths, seed))
    noise = size * torch.randn(len(Y), len(X), generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    P = Y @ torch.linalg.pinv(X) + noise
    if widths[-1] <= widths[0]:
        weights[0] = torch.linalg.pinv(product(weights[1:])) @ P
    else:
        weights[-1] = P @ torch.linalg.pinv(product(weights[:-1]))
    return tuple(weights)


@pytest.mark.many(quick=1)
@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize("m", [1, 2, 3])
def test_the_barrier_is_exact(m: int) -> None:
    """Upper bound: a path of that height, measured by NumPy. Lower bound: λ* by minimisation, and det T_k by signs."""
    found = {"apart": 0, "together": 0, "above": 0}
    for seed in range(30):
        widths = EQUAL[m][seed % len(EQUAL[m])]
        X, Y = data(widths, seed)
        A, B = (low_end(widths, X, Y, 1000 * i + seed, (0.01, 0.1, 1.0)[seed % 3]) for i in (1, 2))
        answer = barrier(A, B, X, Y)
        curve = through_barrier(A, B, X, Y)
        ends = [naive_loss(flatten(end).numpy(), widths, X, Y) for end in (A, B)]
        sampled = max(heights(curve, widths, X, Y, 1 + 12 * len(curve.pieces)))
        assert sampled == pytest.approx(answer.gamma, abs=1e-9)
        assert curve.bound == answer.gamma
        assert (curve.at(0.0) - flatten(A)).abs().max() <= 1e-12
        assert (curve.at(1.0) - flatten(B)).abs().max() <= 1e-12
        assert jump(curve) <= 1e-8
        if not answer.same_component:
            assert answer.gamma == answer.lambda_star > max(ends)
            assert answer.signs_a != answer.signs_b
            if seed % 2 == 0:
                assert best_of_deficient_rank(X, Y, m - 1, seed) == pytest.approx(answer.gamma, abs=1e-6)
        else:
            assert answer.gamma == pytest.approx(max(ends), rel=1e-12)
        kind = "apart" if not answer.same_component else "above" if max(ends) >= answer.lambda_star else "together"
        found[kind] += 1
    assert min(found.values()) >= 2, found


def test_signs_are_those_of_the_oriented_chain_and_all_are_needed() -> None:
    widths = (2, 1, 1, 1)
    X, Y = data(widths, 1)
    A = low_end(widths, X, Y, 1, 0.01)
    flips = {"W_1, W_2": (0, 1), "W_2, W_3": (1, 2), "W_1, W_3": (0, 2)}
    answers = {
        name: barrier(A, tuple(-W if k in pair else W for k, W in enumerate(A)), X, Y) for name, pair in flips.items()
    }
    signs = {
        name: tuple(x * y for x, y in zip(found.signs_a, found.signs_b, strict=True)) for name, found in answers.items()
    }
    assert signs == {"W_1, W_2": (-1, 1), "W_2, W_3": (1, -1), "W_1, W_3": (-1, -1)}
    assert not any(found.same_component for found in answers.values())
    assert barrier(A, A, X, Y).same_component


@pytest.mark.parametrize("widths", [(3, 2, 2), (2, 2, 4), (2, 1, 1), (3, 3, 3)], ids=str)
def test_inputs_of_any_rank(widths: tuple[int, ...]) -> None:
    """X without full row rank, of rank m or less: the formula holds all the same."""
    for rank in (1, 2):
        X, Y = data(widths, 3, rank=rank)
        A, B = low_end(widths, X, Y, 1, 0.01), low_end(widths, X, Y, 2, 0.01)
        found, curve = barrier(A, B, X, Y), through_barrier(A, B, X, Y)
        m = min(widths[0], widths[-1])
        assert best_of_deficient_rank(X, Y, m - 1, 0) == pytest.approx(found.lambda_star, abs=1e-6)
        assert max(heights(curve, widths, X, Y)) <= found.gamma + 1e-9


def test_inputs_of_nearly_lower_rank_are_refused(refused) -> None:
    widths = (3, 2, 2)
    X, Y = data(widths, 3, rank=1)
    nearly = X + 1e-17 * torch.linspace(-1, 1, X.numel(), dtype=torch.float64).view_as(X) * X.abs().max() * 8
    with refused(InvalidSetting, "nearly make it 1: Γ cannot be computed reliably"):
        barrier(draw(widths, 1), draw(widths, 2), nearly, Y)


def test_fewer_examples_than_outputs() -> None:
    widths = (3, 3, 3)
    X, Y = data(widths, 4, n=2)
    found = barrier(draw(widths, 1), draw(widths, 2), X, Y)
    assert found.lambda_star == pytest.approx(0, abs=1e-20)
    assert found.same_component


def test_ends_whose_determinant_is_zero() -> None:
    """They lie at λ* or above, so Γ is the larger end, and the path finds it."""
    for widths, kind in itertools.product([(3, 2, 2), (2, 2, 3, 4), (2, 2, 2, 2)], ("zero", "rank one", "zero top")):
        X, Y = data(widths, 5)
        A, B = draw(widths, 1, kind), low_end(widths, X, Y, 2, 0.01)
        found, curve = barrier(A, B, X, Y), through_barrier(A, B, X, Y)
        larger = max(naive_loss(flatten(end).numpy(), widths, X, Y) for end in (A, B))
        assert found.same_component
        assert found.gamma == pytest.approx(larger, rel=1e-12)
        assert larger >= found.lambda_star - 1e-12
        assert max(heights(curve, widths, X, Y)) <= larger + 1e-10


def test_no_barrier_where_no_width_is_m() -> None:
    widths = (3, 4, 3)
    X, Y = data(widths, 6)
    A, B = low_end(widths, X, Y, 1, 0.01), low_end(widths, X, Y, 2, 0.3)
    found = barrier(A, B, X, Y)
    assert (found.signs_a, found.signs_b, found.same_component) == ((), (), True)
    assert max(heights(through_barrier(A, B, X, Y), widths, X, Y)) <= found.gamma + 1e-10


@pytest.mark.many(quick=2)
@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize("widths", [(2, 1, 1), (1, 1, 1, 2), (3, 2, 2), (2, 2, 2, 3), (3, 3, 4), (4, 3, 3, 3)], ids=str)
def test_no_certificate_lies_under_an_exact_barrier(widths: tuple[int, ...]) -> None:
    """Seven strings between ends of different signs: nobody may tunnel; and on the best path the bound is sharp."""
    X, Y = data(widths, 11)
    measured = problem(widths, X, Y)
    A = low_end(widths, X, Y, 11, 0.01)
    mirrored = list(A)
    mirrored[-1], mirrored[-2] = A[-1].clone(), A[-2].clone()
    mirrored[-1][:, 0] *= -1  # the same product, the sign of a determinant changed
    mirrored[-2][0] *= -1
    B = tuple(mirrored)
    found = barrier(A, B, X, Y)
    assert not found.same_component
    generator = torch.Generator().manual_seed(1)
    for count in (0, 1, 2, 3, 1, 2, 3):
        noise = torch.randn(count, measured.size, generator=generator, dtype=torch.float64)
        inner = [torch.lerp(flatten(A), flatten(B), (i + 1) / (len(noise) + 1)) + 0.3 * x for i, x in enumerate(noise)]
        string = ws.WeightString(measured, torch.stack([flatten(A), *inner, flatten(B)]))
        assert ws.certify(measured, string).upper_bound >= found.lambda_star
    sharp = through_barrier(A, B, X, Y).to_string(measured, tolerance=1e-3)
    certificate = ws.certify(measured, sharp, threshold=found.lambda_star + 1.5e-3)
    assert certificate.holds
    assert certificate.upper_bound >= found.lambda_star


@pytest.mark.many(quick=2)
@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize("widths", [(3, 4, 2), (2, 4, 3), (1, 2, 1), (3, 4, 3), (5, 3, 2), (3, 9, 4)], ids=str)
def test_no_barrier_with_a_ridge(widths: tuple[int, ...]) -> None:
    kinds = ("random", "zero", "rank one", "zero top", "nearly deficient")
    for (seed, ridge), (kind_a, kind_b) in itertools.product(
        enumerate((0.0, 0.03, 2.0)), itertools.product(kinds, kinds)
    ):
        if seed and kind_a != "random":
            continue  # all pairs of kinds once, those with a random end three times
        A, B = draw(widths, seed, kind_a), draw(widths, 50 + seed, kind_b)
        X, Y = data(widths, seed)

        def regularised(theta: Tensor, ridge: float = ridge, X: Tensor = X, Y: Tensor = Y) -> float:
            return naive_loss(theta.numpy(), widths, X, Y) + ridge / 2 * float(theta.square().sum())

        curve = ridge_path(A, B, ridge, SquaredLoss(X, Y))
        larger = max(regularised(flatten(A)), regularised(flatten(B)))
        points = 16 * len(curve.pieces)
        assert curve.bound == pytest.approx(larger, rel=1e-12)
        assert max(regularised(curve.at(s / points)) for s in range(points + 1)) <= larger + 1e-9
        assert (curve.at(0.0) - flatten(A)).abs().max() <= 1e-12
        assert (curve.at(1.0) - flatten(B)).abs().max() <= 1e-12
        assert jump(curve) <= 1e-5


def test_the_norm_falls_to_the_nuclear_norm_and_follows_it() -> None:
    widths = (3, 5, 2)
    A, B = draw(widths, 1), draw(widths, 2)
    curve = ridge_path(A, B, 0.1)
    middle = len(curve.pieces) // 2
    ordered = [float(piece(i / 20).square().sum()) for piece in curve.pieces[:middle] for i in range(21)]
    assert all(later <= earlier + 1e-12 for earlier, later in itertools.pairwise(ordered))
    for i in range(11):
        theta = curve.pieces[middle](i / 10)
        P = torch.lerp(product(A), product(B), i / 10)
        torch.testing.assert_close(product(unflatten(theta, widths)), P)
        assert float(theta.square().sum()) / 2 == pytest.approx(float(torch.linalg.svdvals(P).sum()), rel=1e-10)


def test_the_ridge_path_is_continuous_where_the_rank_drops() -> None:
    """From P to −P it passes 0, where the factors move like a square root."""
    one = torch.ones(1, 1, dtype=torch.float64)
    A, B = (torch.cat([one, one]), torch.cat([one, one], 1)), (torch.cat([-one, -one]), torch.cat([one, one], 1))
    curve = ridge_path(A, B, 0.1)
    for points in (500, 5000, 50_000):
        places = torch.linspace(0.45, 0.55, points // 10).tolist()
        thetas = torch.stack([curve.at(s) for s in places])
        assert (thetas[1:] - thetas[:-1]).norm(dim=1).max() * points**0.5 < 12


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda A, B, X, Y: connect(draw((2, 2, 2), 0), draw((2, 2, 2), 1)), "ask deep_linear_barrier.barrier"),
        (lambda A, B, X, Y: connect(A, draw((3, 5, 2), 1)), "two models of one network"),
        (lambda A, B, X, Y: connect(A[::-1], B), "W_k must be"),
        (lambda A, B, X, Y: connect(tuple(W.float() for W in A), B), r"\.double\(\)"),
        (lambda A, B, X, Y: connect((), B), "A is no chain"),
        (lambda A, B, X, Y: connect(A, (B[0], B[1] * float("nan"))), "B holds a value that is not finite"),
        (lambda A, B, X, Y: SquaredLoss(X, Y[:, :3]), "one column per example"),
        (lambda A, B, X, Y: problem((3, 4, 2), X[:, :0], Y[:, :0]), "at least one"),
        (lambda A, B, X, Y: network((3,)), "at least h_0 and h_K"),
        (lambda A, B, X, Y: network((3, 0, 1)), "each 1 or more"),
        (lambda A, B, X, Y: unflatten(flatten(A), (3, 4, 3)), "θ has 20 entries"),
        (lambda A, B, X, Y: barrier(A, B, Y, X), "X has 2 rows and Y 3"),
        (lambda A, B, X, Y: barrier(draw((3, 1, 2), 0), draw((3, 1, 2), 1), X, Y), "below it nothing is proved"),
        (lambda A, B, X, Y: ridge_path(A, B, -1.0), "ridge=-1.0"),
        (lambda A, B, X, Y: ridge_path(draw((2, 3, 3, 2), 0), draw((2, 3, 3, 2), 1), 1.0), "3 layers"),
    ],
)
def test_misuse_is_refused(call: object, message: str, refused: object) -> None:
    A, B = draw((3, 4, 2), 0), draw((3, 4, 2), 1)
    X, Y = data((3, 4, 2), 0)
    with refused(InvalidSetting, message):
        call(A, B, X, Y)


@pytest.mark.slow
def test_the_examples_of_the_page_run() -> None:
    page = (Path(__file__).parents[2] / "docs/theory/deep-linear.md").read_text(encoding="utf-8")
    examples = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    names: dict[str, object] = {}
    for example in examples:
        exec(compile(example, "deep-linear.md", "exec"), names)
    assert len(examples) >= 4
    assert sum(example.count("assert ") for example in examples) >= 6
