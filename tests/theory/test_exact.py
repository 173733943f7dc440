"""Exact numbers, determinants and least losses beside fractions and brute force, at every scale."""

from __future__ import annotations

import math
from fractions import Fraction
from itertools import permutations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from weightstring.errors import InvalidSetting
from weightstring.theory.collinear_weights import least_with_collinear_weights
from weightstring.theory.deep_linear_barrier import barrier
from weightstring.theory.exact import Whole, below, determinant, enclosed
from weightstring.theory.quartic_surfaces import Quartic
from weightstring.theory.singular_features import (
    Features,
    clamped,
    hard_sigmoid,
    least_with_singular_features,
    preactivations,
    sigmoid,
    sign_of_determinant,
)

floats = st.floats(allow_nan=False, allow_infinity=False)


def fractions(whole: Whole) -> list[list[Fraction]]:
    return [[Fraction(n) * Fraction(2) ** whole.exponent for n in row] for row in whole.rows]


def rounded(x: Tensor) -> list[list[Fraction]]:
    return [[Fraction(value) for value in row] for row in x.double().tolist()]


class TestWhole:
    @settings(max_examples=50)
    @given(st.lists(floats, min_size=1, max_size=5))
    def test_is_the_stored_number_whatever_its_size(self, values: list[float]) -> None:
        x = torch.tensor([values], dtype=torch.float64)
        assert fractions(Whole.of(x)) == rounded(x)

    @pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
    def test_holds_what_shorter_formats_store(self, dtype: torch.dtype) -> None:
        x = torch.tensor([[1 / 3, -6e-8, 0.0], [5e4, 1.0, -1e-4]]).to(dtype)
        assert fractions(Whole.of(x)) == rounded(x)

    def test_of_a_number_that_is_not_finite_there_is_none(self) -> None:
        with pytest.raises(OverflowError, match="not finite"):
            Whole.of(torch.tensor([[1.0, math.inf]]))

    @settings(max_examples=50)
    @given(st.integers(-(10**40), 10**40), st.integers(-1200, 200))
    def test_enclosures_hold_their_number(self, number: int, exponent: int) -> None:
        low, high = enclosed(number, exponent)
        value = Fraction(number) * Fraction(2) ** exponent
        assert Fraction(low) <= value <= Fraction(high)
        assert math.isclose(low, high, rel_tol=1e-15, abs_tol=1e-270)

    @settings(max_examples=50)
    @given(st.fractions())
    def test_rounding_down_never_rounds_up(self, value: Fraction) -> None:
        assert Fraction(below(value)) <= value < Fraction(math.nextafter(below(value), math.inf))


def naive(rows: list[list[int]]) -> int:
    total = 0
    for order in permutations(range(len(rows))):
        swaps = sum(order[i] > order[j] for i in range(len(rows)) for j in range(i + 1, len(rows)))
        total += (-1) ** swaps * math.prod(rows[i][j] for i, j in enumerate(order))
    return total


squares = st.integers(1, 4).flatmap(
    lambda n: st.lists(st.lists(st.integers(-3, 3), min_size=n, max_size=n), min_size=n, max_size=n)
)


@settings(max_examples=60)
@given(squares)
def test_determinants_are_those_of_the_sum_over_permutations(rows: list[list[int]]) -> None:
    assert determinant(rows) == naive(rows)


class TestNearlyLowerRank:
    def test_inputs_that_floats_cannot_tell_from_a_lower_rank_are_refused(self) -> None:
        one = torch.eye(2, dtype=torch.float64)
        targets = torch.tensor([[1.0, 0.0, 0.5], [0.0, 1.0, -1.0]], dtype=torch.float64)
        flat = torch.tensor([[1.0, 2.0, 3.0], [2.0, 4.0, 6.0]], dtype=torch.float64)
        barrier((one, one), (one, one), flat, targets)  # of rank 1, exactly
        flat[1, 2] += 1e-12
        with pytest.raises(InvalidSetting, match=r"X has rank 2, but singular values .* nearly make it 1"):
            barrier((one, one), (one, one), flat, targets)

    @pytest.mark.parametrize("tiny", [1.0, 1e-200])
    def test_signs_of_weights_do_not_underflow(self, tiny: float) -> None:
        toy = Quartic(target=(3.0, -1.0), width=1)
        a, b = toy.ends
        shrink = torch.tensor([tiny, 1.0, 1.0], dtype=torch.float64)
        assert toy.pass_height(a * shrink, b * shrink) == 10.0


class TestFeatures:
    def test_nearly_equal_rows_have_a_sign_and_equal_ones_none(self) -> None:
        nearly = Whole.of(torch.tensor([[1e-300, 2e-300], [1e200, math.nextafter(2e200, 3e200)]], dtype=torch.float64))
        assert {sign_of_determinant(Features(rows)) for rows in (nearly.rows, nearly.rows[::-1])} == {1, -1}
        assert sign_of_determinant(Features(((1, 2), (2, 4)))) == 0

    def test_are_exact_with_bias_at_mixed_scales(self) -> None:
        generator = torch.Generator().manual_seed(0)
        scales = 10.0 ** torch.tensor([-150.0, 0.0, 150.0], dtype=torch.float64)
        weights = torch.randn(3, 3, generator=generator, dtype=torch.float64) * scales
        inputs = torch.randn(2, 3, generator=generator, dtype=torch.float64) / scales
        bias = torch.tensor([[1e-200, 2.0, -3.5]], dtype=torch.float64)
        z = fractions(preactivations(Whole.of(weights), Whole.of(bias), Whole.of(inputs)))
        w, x, b = rounded(weights), rounded(inputs), rounded(bias)[0]
        assert z == [[sum((p * q for p, q in zip(w[i], x[j], strict=True)), b[i]) for j in range(2)] for i in range(3)]

    @pytest.mark.parametrize(
        ("rho", "numbers"),
        [
            (clamped(0.0, math.inf), torch.relu),
            (clamped(0.0, 6.0), torch.nn.functional.relu6),
            (clamped(0.25, 1.5), lambda z: z.clamp(0.25, 1.5)),
            (hard_sigmoid, torch.nn.functional.hardsigmoid),
            (sigmoid, torch.sigmoid),
        ],
    )
    def test_are_multiples_of_the_activation(self, rho, numbers) -> None:  # type: ignore[no-untyped-def]
        z = torch.tensor([[0.7, -2.9, 9.0], [-50.0, 0.0, 5.0], [1e-9, 3.0, -3.0]], dtype=torch.float64)
        found = rho(Whole.of(z))
        values, expected = torch.tensor(found.rows, dtype=torch.float64), numbers(z)
        unit = values[0, 2] / expected[0, 2]
        assert torch.allclose(values, expected * unit, rtol=1e-12, atol=2 * found.radius + float(unit) * 1e-16)

    def test_a_radius_that_could_change_the_sign_leaves_none(self) -> None:
        assert sign_of_determinant(Features(((1000, 0), (0, 1000)), 3)) == 1
        assert sign_of_determinant(Features(((1000, 999), (999, 1000)), 3)) == 0

    def test_a_logistic_feature_too_steep_to_compute_is_left_open(self) -> None:
        assert sigmoid(Whole.of(torch.tensor([[1e300]], dtype=torch.float64))) is None


def least_over_rotations(x: Tensor, y: Tensor, places: int = 721) -> float:
    """The best fit of two collinear units for many directions, near the directions across examples above all."""
    across = torch.atan2(x[:, 0], -x[:, 1])
    near = torch.cat([across + sign * 10.0**-k for sign in (1, -1) for k in range(1, 13)])
    angles = torch.cat([torch.linspace(0, math.pi, places, dtype=torch.float64), near])
    z = torch.stack([angles.cos(), angles.sin()], 1) @ x.T
    explained = torch.zeros(len(angles), dtype=torch.float64)
    for side in (z.clamp(min=0), (-z).clamp(min=0)):
        size = side.square().sum(1)
        explained += torch.where(size > 0, (side @ y).square().sum(1) / size.clamp(min=1e-300), 0.0)
    return float(y.square().sum() - explained.max())


class TestCollinearWeights:
    @pytest.mark.parametrize("flatness", [1.0, 1e-3, 1e-7, 1e-12])
    def test_are_bounded_from_below_however_flat_the_examples_lie(self, flatness: float) -> None:
        generator = torch.Generator().manual_seed(7)
        for count in (3, 4, 5, 7):
            x = torch.randn(count, 2, generator=generator, dtype=torch.float64)
            x[:, 1] = flatness * x[:, 1] + (0.5 * x[:, 0] if count % 2 else 0)
            y = torch.randn(count, 3, generator=generator, dtype=torch.float64)
            bound, met = float(least_with_collinear_weights(x, y)), least_over_rotations(x, y)
            assert bound <= met + 1e-9
            assert bound >= 0.8 * met - 1e-9 or flatness < 1e-3

    def test_a_piece_that_holds_the_least_fit_is_bounded_by_its_ends(self) -> None:
        """Where R has its minimum inside a piece, the larger of the ends counts: here by 27 %."""
        x = [[1.7426, 7.8483e-4], [1.4165, 1.0728e-3], [-2.5715, -1.5917e-3], [-2.0288, -1.1889e-2]]
        y = [[-0.1659, -1.0200], [-0.3245, -3.3863], [-1.6920, 0.0716], [1.0729, 0.0234]]
        inputs, targets = (torch.tensor(rows, dtype=torch.float64) for rows in (x, y))
        angle = torch.tensor(1.57115285, dtype=torch.float64)
        z = inputs @ torch.stack([angle.cos(), angle.sin()])
        met = float(targets.square().sum()) - sum(
            float((side @ targets).square().sum() / side.square().sum()) for side in (z.clamp(min=0), (-z).clamp(min=0))
        )
        bound = float(least_with_collinear_weights(inputs, targets))
        assert bound <= met
        assert bound == pytest.approx(met, rel=1e-6)

    @pytest.mark.parametrize("power", [-500, -40, 40, 500])
    def test_scale_with_the_targets_and_not_with_the_inputs(self, power: int) -> None:
        generator = torch.Generator().manual_seed(1)
        x, y = (torch.randn(4, n, generator=generator, dtype=torch.float64) for n in (2, 2))
        plain = least_with_collinear_weights(x, y)
        assert least_with_collinear_weights(x * 2.0**power, y) == plain
        assert least_with_collinear_weights(x, y * 2.0**power) == plain * Fraction(4) ** power

    def test_repeated_and_zero_and_opposite_examples(self) -> None:
        x = torch.tensor([[1.0, 2.0], [2.0, 4.0], [-0.5, -1.0], [0.0, 0.0], [0.0, 3.0]], dtype=torch.float64)
        y = torch.tensor([[1.0], [-2.0], [1.0], [5.0], [0.0]], dtype=torch.float64)
        bound, met = float(least_with_collinear_weights(x, y)), least_over_rotations(x, y)
        assert met - 1e-6 <= bound <= met + 1e-9
        assert bound > 25  # The zero example is never fitted.

    def test_of_subnormal_inputs_the_directions_are_exact(self) -> None:
        x = torch.tensor([[5e-324, 1e-323], [1e-322, 0.0], [0.0, -5e-324]], dtype=torch.float64)
        y = torch.tensor([[1.0, 0.0], [0.0, 2.0], [1.0, -1.0]], dtype=torch.float64)
        assert least_with_collinear_weights(x, y) == least_with_collinear_weights(x * 2.0**1000, y)


class TestSingularFeatures:
    @pytest.mark.parametrize("power", [-480, 0, 480])
    def test_scale_with_the_targets(self, power: int) -> None:
        y = torch.tensor([[1.0, 0.5, 0.0], [-0.3, 1.0, 0.2], [0.1, -0.7, 1.0]], dtype=torch.float64)
        plain = least_with_singular_features(y)
        assert plain > 0
        assert least_with_singular_features(y * 2.0**power) == plain * Fraction(4) ** power

    def test_equal_targets_bound_nothing_and_a_row_of_zeros_neither(self) -> None:
        alike = torch.ones(3, 2, dtype=torch.float64)
        assert float(least_with_singular_features(alike)) < 1e-12
        assert float(least_with_singular_features(torch.diag(torch.tensor([1.0, 0.0], dtype=torch.float64)))) < 1e-12

    @pytest.mark.parametrize("tilt", [0.0, 1e-18, 1e-9, 1e-3])
    def test_a_null_vector_on_the_edge_of_strictness_is_treated_soundly(self, tilt: float) -> None:
        """YYᵀ has a null vector (1, 1, ±tilt): strict on one side only."""
        for sign in (1.0, -1.0):
            null = torch.tensor([1.0, 1.0, sign * tilt], dtype=torch.float64)
            null = null / null.norm()
            y = torch.eye(3, dtype=torch.float64) - torch.outer(null, null)
            c = torch.tensor([1.0, 1.0, 0.0], dtype=torch.float64) / math.sqrt(2)
            assert float(least_with_singular_features(y)) <= float((c @ y).square().sum()) + 1e-13


class TestManyInstances:
    """A small version of ``experiments/soundness_disconnection.py``: no place on the wall lies under a bound."""

    @pytest.mark.slow
    def test_no_collinear_units_fit_better_than_the_bound(self) -> None:
        generator = torch.Generator().manual_seed(11)
        proved = 0
        for i in range(0, 100, 7):
            count, outputs, flatness = 3 + i % 4, 1 + i % 3, 10.0 ** -(i % 10)
            x = torch.randn(count, 2, generator=generator, dtype=torch.float64)
            x = x[:, :1] * torch.randn(1, 2, generator=generator, dtype=torch.float64) + flatness * x
            x[-1] = (x[-1], -x[0], 0 * x[0], x[0])[i % 4]
            y = torch.randn(count, outputs, generator=generator, dtype=torch.float64)
            bound, met = float(least_with_collinear_weights(x, y)), least_over_rotations(x, y, 121)
            assert bound <= met + 1e-9
            proved += bound > 1e-6
        assert proved > 8

    def test_no_singular_features_fit_better_than_the_bound(self) -> None:
        generator = torch.Generator().manual_seed(12)
        proved = 0
        for i in range(100):
            count, outputs = 2 + i % 4, 2 + i % 5
            y = torch.randn(count, outputs, generator=generator, dtype=torch.float64)
            y[-1] = (y[-1], y[0] + 10.0 ** -(i % 12) * y[-1])[i % 2]
            hidden = torch.relu(torch.randn(200, count, count, generator=generator, dtype=torch.float64))
            hidden[:, 1] = hidden[:, 0]  # units in rows: two alike
            hidden[100:, :, 0] = 0.5 * hidden[100:, :, 1]  # two examples seen alike
            projected = torch.linalg.pinv(hidden) @ hidden @ y
            met = float((projected - y).square().sum((1, 2)).min())
            bound = float(least_with_singular_features(y))
            assert bound <= met + 1e-9
            proved += bound > 1e-6
        assert proved > 40
