"""Γ in few dimensions beside barriers that are known exactly."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from weightstring.errors import InvalidSetting
from weightstring.problem.surfaces import Maze, Ring, Surface, TwoWells
from weightstring.theory.intervals import Interval, coordinates, mean
from weightstring.theory.minimax import decide, on_grid, without_outer_weights

INPUTS, TARGETS = (1.0, -1.3), (1.0, 0.8)


def doubles(*values: float) -> Tensor:
    return torch.tensor(values, dtype=torch.float64)


def units(count: int) -> Callable[[list[Interval]], Interval]:
    """The mean of (Σ w1 ρ(w2 x) − y)² over two data, θ = (w1 of each unit, w2 of each unit)."""

    def loss(w: list[Interval]) -> Interval:
        terms = []
        for x, y in zip(INPUTS, TARGETS, strict=True):
            output = sum((w[i] * (w[count + i] * x).relu() for i in range(count)), start=Interval.of(0.0))
            terms.append((output - y).square())
        return mean(terms)

    return loss


# One unit fits one of the two data; from one to the other it passes w2 = 0, where the output is 0.
ONE_UNIT = doubles(1.0, 1.0), doubles(0.8 / 1.3, -1.0)
ONE_BARRIER = (1.0**2 + 0.8**2) / 2
# Two units and their swapped copy: on the way one of them has w2 = 0, and the other serves one datum at most.
TWO_UNITS = doubles(1.0, 0.8, 1.0, -1 / 1.3), doubles(0.8, 1.0, -1 / 1.3, 1.0)
TWO_BARRIER = 0.8**2 / 2


@pytest.mark.parametrize(
    ("share", "verdict"), [(0.9, "disconnected"), (0.99, "disconnected"), (0.999, "disconnected"), (1.001, "connected")]
)
def test_one_relu_unit(share: float, verdict: str) -> None:
    found = decide(units(1), *ONE_UNIT, share * ONE_BARRIER, doubles(-3, -3), doubles(3.1, 2.9))
    assert found.verdict == verdict
    assert found.boxes < 1000


@pytest.mark.parametrize(
    ("share", "verdict"), [(0.9, "disconnected"), (0.99, "disconnected"), (1.1, "connected"), (1.5, "connected")]
)
def test_two_relu_units_and_their_swapped_copy(share: float, verdict: str) -> None:
    corner = doubles(2, 2, 2, 2)
    found = decide(units(2), *TWO_UNITS, share * TWO_BARRIER, -corner, corner + 0.1, max_boxes=500_000)
    assert found.verdict == verdict


def test_a_budget_that_ends_decides_nothing() -> None:
    found = decide(units(1), *ONE_UNIT, 0.999 * ONE_BARRIER, doubles(-3, -3), doubles(3.1, 2.9), max_boxes=10)
    assert found.verdict == "undecided"
    found = decide(units(1), *ONE_UNIT, 0.999 * ONE_BARRIER, doubles(-3, -3), doubles(3.1, 2.9), seconds=0.0)
    assert (found.verdict, found.boxes) == ("undecided", 1)


def test_ends_over_the_level_are_in_no_component() -> None:
    found = decide(units(1), doubles(2.5, 2.5), ONE_UNIT[1], 0.5, doubles(-3, -3), doubles(3.1, 2.9))
    assert found.verdict == "disconnected"


def test_a_wall_thinner_than_a_billionth_of_the_box_is_not_passed() -> None:
    """Boxes as small as it are open, and their length is next to nothing beside the box: still no way leads through."""

    def wall(w: list[Interval]) -> Interval:
        return (1.0 - ((w[0] - 0.1) * 1e11).square()).relu()

    verdict = decide(wall, doubles(-1), doubles(1), 0.5, doubles(-2), doubles(2.3)).verdict
    assert verdict == "disconnected"


@pytest.mark.parametrize("reach", [1e9, 1e11, 3e11, 1e13])
def test_a_barrier_is_not_passed_however_large_the_root_box(reach: float) -> None:
    def double_well(w: list[Interval]) -> Interval:
        return (w[0].square() - 1.0).square()

    found = decide(double_well, doubles(-1), doubles(1), 0.9, doubles(-reach), doubles(1.03 * reach), max_boxes=5000)
    assert found.verdict == ("disconnected" if reach < 3e11 else "undecided")  # where the lattice is too coarse to tell


def test_a_bound_that_is_no_number_proves_nothing() -> None:
    def unknown(w: list[Interval]) -> Interval:
        return Interval(np.full_like(w[0].low, np.nan), np.full_like(w[0].low, np.nan))

    found = decide(unknown, doubles(-1), doubles(1), 0.5, doubles(-2), doubles(2), max_boxes=200)
    assert found.verdict == "undecided"


@pytest.mark.parametrize("surface", [TwoWells(), TwoWells(bend=-1.0, left=1.7), Ring(ridge=0.3), Maze()], ids=str)
def test_a_grid_is_near_the_known_value(surface: Surface) -> None:
    ends = torch.stack(surface.ends)
    low, high = ends.amin(0) - 3.03, ends.amax(0) + 3.11
    found = on_grid(surface.loss, *surface.ends, low, high, points=401)
    assert found == pytest.approx(surface.gamma(*surface.ends), abs=0.03)


def test_the_outer_weights_projected_out_leave_the_barrier() -> None:
    x, y = doubles(*INPUTS), doubles(*TARGETS).unsqueeze(1)
    loss = without_outer_weights(lambda w: torch.relu(w.unsqueeze(1) * x.view(1, -1, 1)), y)
    assert float(loss(doubles(1.0, -1.0).unsqueeze(0))[0]) == pytest.approx(0, abs=1e-20)
    assert float(loss(doubles(1.0, 0.5).unsqueeze(0))[0]) == pytest.approx(TWO_BARRIER)
    assert float(loss(doubles(0.0, 0.0).unsqueeze(0))[0]) == pytest.approx(ONE_BARRIER)
    corner = doubles(2.0, 2.0)
    found = on_grid(loss, TWO_UNITS[0][2:], TWO_UNITS[1][2:], -corner, corner + 0.1, points=201)
    assert found == pytest.approx(TWO_BARRIER, rel=1e-9)


@settings(max_examples=50)
@given(seed=st.integers(0, 2**31))
def test_intervals_hold_every_value(seed: int) -> None:
    random = np.random.default_rng(seed)
    low = random.normal(size=(40, 3)) * 10.0 ** random.integers(-6, 4)
    high = low + random.random((40, 3)) * 10.0 ** random.integers(-9, 3)
    boxes = coordinates(low, high)

    def formula(w: list[Any], square: Callable[[Any], Any], relu: Callable[[Any], Any]) -> Any:
        return square(w[0] * relu(w[1] * 1.7 - 0.3) + w[2] * -2.0 - 1.0) - 3.0 * square(w[1])

    found = formula(boxes, Interval.square, Interval.relu)
    for _ in range(50):
        place = low + (high - low) * random.random((40, 3))
        values = formula([place[:, i] for i in range(3)], np.square, lambda v: np.maximum(v, 0.0))
        slack = 1e-12 * (1 + np.abs(values))  # the samples' own rounding
        assert (found.low - slack <= values).all()
        assert (values <= found.high + slack).all()


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda: on_grid(lambda t: t.sum(1), *torch.zeros(2, 4).double(), *doubles(-1, 1).repeat(4, 1).T, 5), "1 to 3"),
        (lambda: on_grid(lambda t: t.sum(1), *torch.zeros(2, 1).double(), doubles(-1), doubles(1), 1), "2 points"),
        (lambda: decide(units(1), *ONE_UNIT, 0.5, doubles(-3, -3), doubles(0.5, 3)), "outside the box"),
        (lambda: decide(units(1), *ONE_UNIT, 0.5, doubles(3, 3), doubles(-3, -3)), "span no box"),
        (lambda: decide(units(1), *ONE_UNIT, 0.5, doubles(-3, -torch.inf), doubles(3, 3)), "too far apart"),
        (lambda: decide(units(1), *ONE_UNIT, 0.5, doubles(-1e308, -3), doubles(1e308, 3)), "too far apart"),
    ],
)
def test_refused(call: Callable[[], object], said: str) -> None:
    with pytest.raises(InvalidSetting, match=said) as caught:
        call()
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("number", [2**53 + 1, -(2**53) - 1, 2**64 - 1, 10**30 + 7, Fraction(1, 3), 3, 2**53 + 2])
def test_a_number_that_floats_do_not_hold_lies_in_its_interval(number: Any) -> None:
    whole = Interval.of(number)
    low, high = Fraction(float(whole.low[0])), Fraction(float(whole.high[0]))
    assert low <= number <= high
    assert (low == high) == (Fraction(float(number)) == number)
    many = Interval.of(np.array([number, 1], dtype=object))
    assert many.low.shape == (2,)
    assert Fraction(float(many.low[0])) <= number <= Fraction(float(many.high[0]))


def test_integers_of_numpy_are_rounded_outwards() -> None:
    whole = Interval.of(np.array([2**53 + 1, 2**62 + 1, 7]))
    assert [
        int(low) <= n <= int(high)
        for low, n, high in zip(whole.low, (2**53 + 1, 2**62 + 1, 7), whole.high, strict=True)
    ] == [True] * 3
    assert whole.low[2] == whole.high[2] == 7
