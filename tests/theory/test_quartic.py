"""The quartic toy (III.B) and the same with a ReLU (III.C): paths of constant loss, splitting, exact Γ."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
import pytest
import torch

import weightstring as ws
from weightstring.descent import Hyperplane, Start, Tether, descend
from weightstring.errors import InvalidSetting, LevelNotReached
from weightstring.theory.intervals import coordinates
from weightstring.theory.minimax import decide
from weightstring.theory.quartic import (
    Quartic,
    ReluQuartic,
    depth_bound,
    hyperplane_crossing,
    minimiser,
    rotation,
    segment_bound,
    split_segments,
    two_step,
)

TOYS = [
    Quartic(target=(1.5,), width=2),
    Quartic(target=(2.0, -0.5, 1.0), width=2),
    Quartic(target=(0.7, -1.3), width=5),
    Quartic(target=(1.5,), width=3, x=(1.0, -2.0, 0.5)),
]
RELUS = [
    ReluQuartic(),
    ReluQuartic(x=(2.0, 0.5), y=(3.0, -1.0), width=2),
    ReluQuartic(x=(1.0, -1.0), y=(2.0, 1.0), width=1),
    ReluQuartic(x=(1.0, -2.0, 0.0), y=(2.0, 1.0, 0.5), width=2),
    ReluQuartic(x=(1.0, -1.0, 3.0), y=(2.0, -1.0, 1.0), width=3),
]


def draw(*shape: int, seed: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def random_minimiser(toy: Quartic, seed: int, size: float = 3) -> torch.Tensor:
    optimum = torch.tensor(toy.optimum, dtype=torch.float64)
    free = draw(toy.width, len(optimum), seed=seed)
    return minimiser(size * draw(toy.width, seed=seed + 1000), optimum, free)


def loss(problem, *thetas: torch.Tensor) -> float:
    return float(problem.measure(torch.stack(thetas))["loss"].max())


def on_curve(problem, curve) -> list[float]:
    return problem.measure(torch.stack([curve.at(float(s)) for s in np.linspace(0, 1, 203)]))["loss"].tolist()


def test_the_loss_is_the_draft_s_formula():
    toy, theta = TOYS[3], draw(12, seed=1)
    w1, w2 = theta[:3].numpy(), theta[3:].numpy().reshape(3, 3)
    assert loss(toy, theta) == pytest.approx((w1 @ w2 @ np.array(toy.x) - 1.5) ** 2, rel=1e-12)
    toy = TOYS[1]
    theta = draw(8, seed=2)
    w1, w2 = theta[:2].numpy(), theta[2:].numpy().reshape(2, 3)
    assert loss(toy, theta) == pytest.approx(np.square(w1 @ w2 - np.array(toy.target)).sum(), rel=1e-12)
    relu, theta = RELUS[4], draw(6, seed=3)
    outputs = [theta[:3].numpy() @ np.maximum(theta[3:].numpy() * x, 0) for x in relu.x]
    assert loss(relu, theta) == pytest.approx(np.square(np.array(outputs) - relu.y).sum(), rel=1e-12)


@pytest.mark.parametrize("toy", TOYS)
def test_minimisers_need_the_square_that_the_draft_leaves_out(toy):
    for seed in range(5):
        assert loss(toy, random_minimiser(toy, seed)) < 1e-25
    w1, optimum = 3 * draw(toy.width, seed=7), torch.tensor(toy.optimum, dtype=torch.float64)
    without_square = torch.cat([w1, torch.outer(w1, optimum / w1.norm()).flatten()])
    expected = (float(w1.norm()) - 1) ** 2 * sum(t * t for t in toy.target)
    assert loss(toy, without_square) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("path", [two_step, rotation])
@pytest.mark.parametrize("toy", TOYS)
def test_both_paths_join_minimisers_at_loss_0(toy, path):
    for seed in range(3):
        a, b = random_minimiser(toy, seed), random_minimiser(toy, seed + 50)
        w1, _ = toy.parts(a)
        parallel = minimiser(
            -2.5 * w1, torch.tensor(toy.optimum, dtype=torch.float64), draw(*toy.parts(a)[1].shape, seed=seed + 9)
        )
        nearly = parallel + torch.nn.functional.pad(1e-9 * draw(toy.width, seed=3), (0, toy.size - toy.width))
        nearly = minimiser(nearly[: toy.width], torch.tensor(toy.optimum, dtype=torch.float64))
        for end in (b, -a, parallel, nearly, a):
            curve = path(toy, a, end)
            assert curve.bound < 1e-25
            assert max(on_curve(toy, curve)) < 1e-22
            assert torch.equal(curve.at(0.0), a)
            assert float((curve.at(1.0) - end).norm()) < 1e-12
            for left, right in pairwise(curve.pieces):
                assert float((left(1.0) - right(0.0)).norm()) < 1e-12


@pytest.mark.parametrize("path", [two_step, rotation])
def test_between_any_models_the_paths_stay_under_the_higher_end(path):
    for seed, toy in enumerate(TOYS):
        a, b = draw(toy.size, seed=seed), 2 + draw(toy.size, seed=seed + 20)
        heights = on_curve(toy, path(toy, a, b))
        assert max(heights) <= max(heights[0], heights[-1]) + 1e-12
        assert toy.gamma(a, b) == path(toy, a, b).bound == max(heights[0], heights[-1])


def test_a_first_layer_of_zero_needs_no_detour():
    toy = TOYS[1]
    a, b = torch.cat([torch.zeros(2).double(), draw(6, seed=1)]), random_minimiser(toy, 3)
    curve = two_step(toy, a, b)
    assert max(on_curve(toy, curve)) == pytest.approx(loss(toy, a))
    assert len(curve.pieces) == 3


def test_the_inscribed_path_is_certified():
    toy = TOYS[1]
    a, b = random_minimiser(toy, 1), random_minimiser(toy, 2)
    curve = two_step(toy, a, b)
    corners = torch.stack([curve.at(i / len(curve.pieces)) for i in range(len(curve.pieces) + 1)])
    straight_path = ws.WeightString(toy, corners)
    assert ws.certify(toy, straight_path, threshold=1e-6).holds
    turned = rotation(toy, a, b).to_string(toy, tolerance=1e-3)
    assert ws.certify(toy, turned, threshold=2e-3).holds


@pytest.mark.many(quick=1)
@pytest.mark.parametrize("toy", TOYS)
def test_the_hyperplane_between_minimisers_meets_the_zero_set(toy):
    a, b = random_minimiser(toy, 0, 1.0), random_minimiser(toy, 50, 1.0)
    for end in (b, -a):
        bead = hyperplane_crossing(toy, a, end)
        assert loss(toy, bead) < 1e-22
        assert float((bead - a).norm()) == pytest.approx(float((bead - end).norm()), rel=1e-12)


def test_the_midpoint_of_a_model_and_its_negative_is_stationary():
    toy = TOYS[1]
    a = random_minimiser(toy, 4)
    assert not toy.gradient(torch.zeros(1, toy.size).double()).gradients.any()
    start = Start(torch.zeros_like(a), 1e-10, 1e-10, "m", tether=Tether(Hyperplane(), a, -a))
    (stuck,) = descend(toy, lambda t: toy.measure(t)["loss"], [start], seed=0)
    assert stuck.status == "exhausted"
    assert not stuck.theta.any()


@pytest.mark.slow
def test_with_one_unit_the_plane_between_opposite_signs_has_no_minimiser(refused):
    toy = Quartic(target=(1.0,), width=1)
    with refused(LevelNotReached, r"^hyperplane_crossing: 5 descents came to loss 1, not to 3\.31e-24") as caught:
        hyperplane_crossing(toy, *toy.ends)
    assert caught.value.value == pytest.approx(1.0)
    assert abs(float(caught.value.theta.sum())) < 1e-12


@pytest.mark.parametrize("toy", TOYS)
def test_the_hessian_and_the_segment_stay_in_their_bounds(toy):
    for seed in range(5):
        theta = draw(toy.size, seed=seed)
        hessian = toy.hessian_products(theta, torch.eye(toy.size).double())
        assert float(torch.linalg.eigvalsh(hessian).abs().max()) <= toy.hessian_bound(float(theta.norm()))
        a, b = random_minimiser(toy, seed), draw(toy.size, seed=seed + 9)
        for end in (b, random_minimiser(toy, seed + 5)):
            level, length = loss(toy, a, end), float((end - a).norm())
            highest = ws.locate_maximum(toy, a, end).value
            assert highest <= segment_bound(length, level, toy.scale) * (1 + 1e-9)
            reach = toy.hessian_bound(max(float(a.norm()), float(end.norm())))
            assert highest <= level + reach * length**2 / 8 + 1e-9


def test_the_segment_bound_is_attained():
    for level in (0.0, 0.25):
        toy = Quartic(target=(math.sqrt(level),), width=2)
        half = 0.3 / math.sqrt(8)
        # Products 0 at both ends, −ℓ²/8 in the middle.
        ends = torch.tensor([[0.0, half * 2, 0.0, 0.0], [0.0, 0.0, 0.0, -half * 2]], dtype=torch.float64)
        assert float((ends[1] - ends[0]).norm()) == pytest.approx(0.3)
        rise = ws.locate_maximum(toy, *ends).value
        assert rise == pytest.approx(segment_bound(0.3, level), rel=1e-6)


def slope(lengths: list[float], rises: list[float]) -> float:
    return float(np.polyfit(np.log(lengths), np.log(rises), 1)[0])


@pytest.mark.slow
@pytest.mark.parametrize("toy", TOYS[1::2])
def test_splitting_between_minimisers_gains_the_fourth_power_of_the_length(toy):
    a, b = toy.ends
    lengths, rises = [], []
    for depth in range(2, 5):
        string = split_segments(toy, a, b, depth)
        assert len(string.beads) == 2**depth + 1
        lengths.append(float((string.beads[1:] - string.beads[:-1]).norm(dim=1).max()))
        rises.append(string.max_loss)
        assert rises[-1] <= segment_bound(lengths[-1], 1e-23, toy.scale) * (1 + 1e-9)
    assert slope(lengths, rises) == pytest.approx(4, abs=0.15)
    assert rises[-1] / rises[-2] == pytest.approx(1 / 16, rel=0.05)


def test_at_a_level_above_0_the_excess_falls_like_the_square_of_the_length():
    toy = Quartic(target=(1.0, -2.0), width=3)
    # Product 0.8 a*: loss (0.2 ‖a*‖)² = 0.2 at both ends and all along the turn.
    product = 0.8 * torch.tensor(toy.target, dtype=torch.float64)
    a, b = (minimiser(torch.tensor(w, dtype=torch.float64), product) for w in ([1.0, 0.2, 0.0], [-0.5, 1.0, 0.3]))
    curve = rotation(toy, a, b)
    assert curve.bound == pytest.approx(0.2)
    lengths, rises = [], []
    for parts in (8, 16, 32, 64):
        beads = torch.stack([curve.pieces[0](i / parts) for i in range(parts + 1)])
        lengths.append(float((beads[1:] - beads[:-1]).norm(dim=1).max()))
        rises.append(ws.WeightString(toy, beads).max_loss - 0.2)
        assert rises[-1] <= segment_bound(lengths[-1], 0.2) - 0.2
    assert slope(lengths, rises) == pytest.approx(2, abs=0.05)


@pytest.mark.many(quick=1)
@pytest.mark.parametrize("toy", TOYS)
def test_the_depth_bound_holds_where_the_theorem_applies(toy):
    optimum = torch.tensor(toy.optimum, dtype=torch.float64)
    a = minimiser(torch.arange(1, toy.width + 1).double(), optimum)
    b = minimiser(a[: toy.width] + 0.1 * draw(toy.width, seed=1), optimum, 0.05 * draw(toy.width, len(optimum), seed=2))
    bounds = [depth_bound(toy, a, b, depth) for depth in range(4)]
    assert bounds[3] / bounds[0] == pytest.approx((25 / 256) ** 3, rel=1e-3)
    for depth, bound in enumerate(bounds):
        string = split_segments(toy, a, b, depth)
        assert string.max_loss <= bound
        longest = float((string.beads[1:] - string.beads[:-1]).norm(dim=1).max())
        assert longest <= float((b - a).norm()) * (math.sqrt(5) / 4) ** depth * (1 + 1e-12)
    assert depth_bound(toy, *toy.ends, 3) == math.inf


def over_boxes(toy, low, high):
    found = toy.over_boxes(coordinates(low.numpy(), high.numpy()))
    return torch.from_numpy(found.low), torch.from_numpy(found.high)


@pytest.mark.parametrize("toy", [*TOYS, Quartic(target=(1.0, 0.5), width=1), *RELUS])
def test_bounds_over_boxes_hold_every_sample_and_a_point_is_tight(toy):
    middle, radius = draw(6, toy.size, seed=4), draw(6, toy.size, seed=5).abs()
    low, high = middle - radius, middle + radius
    lower, upper = over_boxes(toy, low, high)
    for share in torch.rand(300, 6, toy.size, generator=torch.Generator().manual_seed(6), dtype=torch.float64):
        losses = toy.loss(low + share.round(decimals=1) * (high - low))
        assert (lower <= losses * (1 + 1e-12)).all()
        assert (losses * (1 - 1e-12) <= upper).all()
    lower, upper = over_boxes(toy, middle, middle)
    assert (lower <= toy.loss(middle) * (1 + 1e-12) + 1e-12).all()
    assert (toy.loss(middle) * (1 - 1e-12) <= upper).all()
    assert float((upper - lower).max()) < 1e-8


@pytest.mark.many(quick=2)
@pytest.mark.parametrize(
    "toy", [ReluQuartic(x=(1.0, -1.3), y=(1.0, 0.8)), ReluQuartic(x=(1.0, -1.0), y=(2.0, 1.0), width=2)]
)
@pytest.mark.parametrize(("share", "verdict"), [(0.9, "disconnected"), (0.99, "disconnected"), (1.001, "connected")])
def test_branch_and_bound_finds_the_barrier_of_the_relu_toy(toy, share, verdict):
    gamma = toy.gamma(*toy.ends)
    corner = torch.full((toy.size,), 3.03, dtype=torch.float64)
    if toy.width == 2 and share > 1:
        share = 1.1  # In four dimensions a corridor of a thousandth of the barrier takes too many boxes.
    found = decide(toy.over_boxes, *toy.ends, share * gamma, -corner, corner + 0.11, max_boxes=500_000)
    assert found.verdict == verdict


@pytest.mark.parametrize("toy", [*TOYS, *RELUS])
def test_chords_are_enclosed(toy):
    a, b = draw(toy.size, seed=8), 0.5 + draw(toy.size, seed=9)
    edges = torch.linspace(0, 1, 33, dtype=torch.float64)
    upper = toy.upper_bounds(a, b, edges[:-1], edges[1:])
    ts = (edges[:-1] + torch.linspace(0, 1, 21, dtype=torch.float64)[:, None] / 32).flatten()
    losses = toy.measure(a * (1 - ts[:, None]) + b * ts[:, None])["loss"].view(21, -1)
    assert (losses.amax(0) <= upper).all()
    string = ws.WeightString(toy, torch.stack([a, b]))
    assert ws.certify(toy, string, threshold=1.01 * string.max_loss).holds


@pytest.mark.many(quick=2)
@pytest.mark.parametrize(
    ("toy", "gamma"),
    [
        (Quartic(target=(1.0, -2.0), width=1), 5.0),
        (Quartic(target=(2.0,), width=1, x=(1.0, 3.0)), 4.0),
        (ReluQuartic(x=(1.0, -1.0), y=(2.0, 1.0), width=1), 5.0),
        (ReluQuartic(x=(1.0, -1.0), y=(2.0, 1.0), width=2), 1.0),
        (ReluQuartic(x=(1.0, -2.0, 0.0), y=(2.0, -3.0, 0.5), width=2), 4.25),
    ],
)
def test_greedy_connects_over_the_pass_and_not_under_it(toy, gamma):
    a, b = toy.ends
    assert toy.gamma(a, b) == pytest.approx(gamma, rel=1e-12)
    over = ws.connect(toy, a, b, 1.02 * gamma)
    assert over.connected
    below = ws.connect(toy, a, b, 0.98 * gamma, strategy=ws.Greedy(max_depth=3, retries=1))
    assert not below.connected


@pytest.mark.parametrize("width", [1, 2, 3])
def test_for_one_example_the_relu_toy_is_connected(width):
    toy = ReluQuartic(x=(1.5,), y=(2.0,), width=width)
    a, b = toy.ends
    assert toy.gamma(a, b) == pytest.approx(0.0, abs=1e-25)
    assert ws.connect(toy, a, b, 0.05, strategy=ws.Greedy(retries=12)).connected


def test_a_third_unit_lets_two_change_places():
    toy = ReluQuartic(x=(1.0, -1.0), y=(2.0, 1.0), width=3)
    a, b = toy.ends
    assert toy.gamma(a, b) == 0
    # w2 of (unit 1, 2, 3), and who carries the slope 2 of x > 0 and the slope 1 of x < 0.
    corners = [
        a, [2, 1, 0, 1, -1, 1], [0, 1, 2, 1, -1, 1], [0, 1, 2, -1, -1, 1], [1, 0, 2, -1, -1, 1],
        [1, 0, 2, -1, 1, 1], [1, 2, 0, -1, 1, 1], b,
    ]  # fmt: skip
    beads = torch.stack([torch.as_tensor(corner, dtype=torch.float64) for corner in corners])
    assert ws.WeightString(toy, beads).max_loss < 1e-25


def test_two_units_on_the_same_side_are_not_separated():
    toy = ReluQuartic(x=(1.0, -1.0), y=(2.0, 1.0), width=2)
    a, b = torch.tensor([1.0, 1.0, 1.0, 1.0]).double(), torch.tensor([1.0, 1.0, -1.0, -1.0]).double()
    assert toy.gamma(a, b) == loss(toy, a, b) == 5.0


def test_other_dtypes():
    toy = Quartic(target=(1.0, 2.0), width=3, dtype=torch.float32)
    a, b = toy.ends
    assert a.dtype == torch.float32
    assert max(on_curve(toy, rotation(toy, a, -a))) < 1e-10
    assert max(on_curve(toy, two_step(toy, a, b))) < 1e-10
    assert loss(toy, hyperplane_crossing(toy, a, b)) < 1e-9


def test_misuse_is_refused(refused):
    toy, one = TOYS[0], Quartic(width=1)
    a, b = one.ends
    for settings in ({"width": 0}, {"target": ()}, {"target": (math.nan,)}, {"x": (math.inf,)}):
        with refused(InvalidSetting, r"give finite numbers$"):
            Quartic(**settings)
    for settings in ({"target": (1.0, 2.0), "x": (1.0,)}, {"x": (0.0, 0.0)}):
        with refused(InvalidSetting, r"with an input that is not 0, give one y$"):
            Quartic(**settings)
    for settings in ({"width": 0}, {"x": (), "y": ()}, {"x": (1.0, 2.0)}, {"y": (math.inf,)}):
        with refused(InvalidSetting, r"^ReluQuartic\(.*give one finite y for each x$"):
            ReluQuartic(**settings)
    with refused(InvalidSetting, r"^minimiser: w1 = 0"):
        minimiser(torch.zeros(2), torch.ones(1))
    with refused(InvalidSetting, r"^two_step: d2 = 1"):
        two_step(one, a, b)
    with refused(InvalidSetting, r"^rotation: d2 = 1"):
        rotation(one, a, b)
    with refused(InvalidSetting, r"^rotation: w1 = 0"):
        rotation(toy, torch.zeros(4).double(), toy.ends[0])
    with refused(InvalidSetting, r"^depth_bound\(depth=-1\)"):
        depth_bound(toy, *toy.ends, -1)
    with refused(InvalidSetting, r"^depth_bound\(depth=2\)"):
        depth_bound(toy, toy.ends[0], draw(4, seed=1), 2)
