"""Generators in verify: no value outside them, exactly and in float64, and deep certificates proved again at once."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from itertools import pairwise

import msgspec
import numpy as np
import pytest
import torch
import torch.nn.functional as F  # noqa: N812 - its usual name
from torch import Tensor, nn

import weightstring as ws
from weightstring.proof.verify import replay, zonotopes
from weightstring.proof.verify.curves import Curve
from weightstring.proof.verify.halving import AGAIN, PATIENCE, Bounds
from weightstring.proof.verify.operations import OPERATIONS, At
from weightstring.proof.verify.replay import Replay
from weightstring.proof.verify.zonotopes import Zonotope

Loss = Callable[[Tensor, Tensor], Tensor]
N, CLASSES = 12, 3


def at(most: int) -> At:
    return At("", (), 1.0, 1.0, 1, torch.float64, lambda place: None, None, most)


def moving(rng: np.random.Generator, *shape: int) -> Curve:
    """Weights on a line, dyadic so that exact arithmetic is quick."""
    value, slope = np.round(rng.standard_normal((2, *shape)) * 256) / 256
    return Curve(value, slope / 2, np.zeros(shape), np.zeros(shape))


def exact(curve: Curve, s: Fraction) -> list[list[Fraction]]:
    return [
        [Fraction(v) + Fraction(m) * s for v, m in zip(*row, strict=True)]
        for row in zip(curve.value.tolist(), curve.slope.tolist(), strict=True)
    ]


@pytest.mark.parametrize("most", [0, 5, 40])
def test_exact_values_of_three_layers_lie_between_low_and_high(most: int) -> None:
    """Rational arithmetic, with nothing allowed: inputs that move, two ReLU, and all of a last layer's outputs."""
    rng = np.random.default_rng(most)
    layers = [moving(rng, 3, 2), moving(rng, 3, 3), moving(rng, 2, 3)]
    inputs = moving(rng, 4, 2)
    x = OPERATIONS["linear.default"](at(most), inputs, layers[0])
    for weight in layers[1:]:
        x = OPERATIONS["linear.default"](at(most), OPERATIONS["relu.default"](at(most), x), weight)
    low, high = ((x.curve() if most else x).low.tolist(), (x.curve() if most else x).high.tolist())
    assert isinstance(x, Zonotope) == bool(most)
    for s in (Fraction(k, 6) for k in range(-6, 7)):
        values = exact(inputs, s)
        for depth, weight in enumerate(layers):
            values = [[max(v, Fraction(0)) for v in row] for row in values] if depth else values
            matrix = exact(weight, s)
            values = [[sum(w * v for w, v in zip(unit, row, strict=True)) for unit in matrix] for row in values]
        for row, bottom, top in zip(values, low, high, strict=True):
            assert all(Fraction(b) <= v <= Fraction(t) for b, v, t in zip(bottom, row, top, strict=True))


def test_a_symbol_keeps_its_sign_through_layers() -> None:
    """A unit that is open, taken twice with opposite signs, leaves nothing; boxes leave twice its band."""
    x = Curve(*(np.array([[part]]) for part in (0.0, 1.0, 0.0, 0.0)))
    twice = Curve(np.array([[1.0], [-1.0]]), *np.zeros((3, 2, 1)))
    summed = Curve(np.array([[1.0, 1.0]]), *np.zeros((3, 1, 2)))

    def width(most: int) -> float:
        z = OPERATIONS["relu.default"](at(most), x)
        for weight in (twice, summed):
            z = OPERATIONS["linear.default"](at(most), z, weight)
        curve = z.curve() if most else z
        return float((curve.high - curve.low)[0, 0])

    assert width(2) < 1e-12
    assert width(0) > 0.9


def problem_of(sizes: tuple[int, ...], loss: Loss, seed: int, scale: float = 1.0) -> ws.ModuleProblem:
    draw = torch.Generator().manual_seed(seed)
    layers = [part for a, b in pairwise(sizes) for part in (nn.Linear(a, b), nn.ReLU())][:-1]
    inputs = scale * torch.randn(N, sizes[0], generator=draw).double()
    targets = torch.randint(CLASSES, (N,), generator=draw)
    if loss is not F.cross_entropy:
        targets = torch.randn(N, sizes[-1], generator=draw).double()
    return ws.ModuleProblem(nn.Sequential(*layers, nn.Dropout()), loss, (inputs, targets), dtype=torch.float64)


@pytest.mark.slow
@pytest.mark.parametrize(("sizes", "loss"), [
    ((4, 7, 6, 5, CLASSES), F.cross_entropy), ((3, 5, 4, 2), F.mse_loss),
])  # fmt: skip
def test_no_loss_lies_above_a_bound(sizes: tuple[int, ...], loss: Loss, monkeypatch: pytest.MonkeyPatch) -> None:
    """Far models, weights of several sizes, wide and narrow intervals; generators that do not suffice, or are cut."""
    problem = problem_of(sizes, loss, seed=1)
    again, draw = Replay(problem, "loss"), torch.Generator().manual_seed(2)
    assert again.generators
    for scale in (1e-160, 0.5, 30.0, 1.0):
        a, b = scale * torch.randn(2, problem.size, generator=draw).double()
        for low, width in ((0.0, 1.0), (0.625, 2.0**-4), (0.375, 2.0**-9), (0.5, 0.0)):
            ts = torch.linspace(low, low + width, 33, dtype=torch.float64).unsqueeze(1)
            highest = float(problem.measure(torch.lerp(a, b, ts))["loss"].max())
            for generators, most in ((1, 1 << 24), (30, 1 << 24), (30, 100)):
                monkeypatch.setattr(zonotopes, "MOST", most)
                bound = again.bound(a.numpy(), b.numpy(), low, low + width, generators)
                assert highest <= bound * (1 + 1e-12) + 1e-300
    near = again.bound(a.numpy(), torch.lerp(a, b, 1e-4).numpy(), 0.0, 1.0, 30)
    assert near < 1.1 * float(problem.measure(a.unsqueeze(0))["loss"][0])


@pytest.fixture(scope="module")
def deep() -> tuple[ws.ModuleProblem, ws.WeightString]:
    """Nine layers of ten, between two models that are near."""
    problem = problem_of((5, *(10,) * 9, CLASSES), F.cross_entropy, seed=3)
    draw = torch.Generator().manual_seed(2)
    a = 0.45 * torch.randn(problem.size, generator=draw).double()
    return problem, ws.WeightString(problem, torch.stack([a, a + 0.05 * torch.randn(len(a), generator=draw).double()]))


def whole_of(problem: ws.ModuleProblem, string: ws.WeightString, slack: float) -> ws.Certificate:
    """One interval, with a bound so far over the largest sample."""
    certificate = ws.certify(problem, string, tol=0.5)
    ts = torch.linspace(0, 1, 101, dtype=torch.float64).unsqueeze(1)
    bound = float(problem.measure(torch.lerp(string[0], string[1], ts))["loss"].max()) * (1 + slack)
    piece = ws.proof.certificate.Piece(0, 0.0, 1.0, bound)
    changed = msgspec.structs.replace(certificate, partition=(piece,), upper_bound=bound, largest_sample=bound)
    return changed.sealed()


@pytest.mark.slow
def test_where_the_plain_bound_fails_generators_prove(deep, monkeypatch: pytest.MonkeyPatch) -> None:
    problem, string = deep
    certificate = whole_of(problem, string, 0.05)
    asked = list[int]()
    bound = Replay.bound

    def counted(self: Replay, *given, generators: int = 0) -> float:
        asked.append(given[4] if len(given) > 4 else generators)
        return bound(self, *given)

    monkeypatch.setattr(Replay, "bound", counted)
    assert ws.verify(problem, string, certificate).ok
    with_them = len(asked)
    assert replay.GENERATORS in asked
    monkeypatch.setattr(replay, "GENERATORS", 0)
    asked.clear()
    assert ws.verify(problem, string, certificate).ok
    assert len(asked) > with_them


@pytest.mark.slow
def test_a_bound_that_is_too_low_is_refuted(deep) -> None:
    problem, string = deep
    verification = ws.verify(problem, string, whole_of(problem, string, -1e-3))
    assert not verification.ok


def test_which_bound_goes_first() -> None:
    asked = list[str]()

    def bound(name: str, below: float) -> Callable[[int, float, float], float]:
        def found(segment: int, low: float, high: float) -> float:
            asked.append(name)
            return 0.0 if high < below else 1.0

        return found

    bounds = Bounds(bound("plain", 1.0), bound("finer", 2.0))
    assert bounds.prove(0, 0.0, 0.5, 0.0)
    assert asked == ["plain"]
    assert bounds.prove(0, 0.0, 1.5, 0.0)
    assert asked == ["plain", "plain", "finer"]
    asked.clear()
    assert all(bounds.prove(0, 0.0, 0.5, 0.0) for _ in range(AGAIN - 2))
    assert asked == [*["finer"] * (AGAIN - 3), "plain"]  # which suffices again, and goes first from there
    useless = Bounds(bound("plain", 1.0), bound("finer", 1.0))
    asked.clear()
    assert not any(useless.prove(0, 0.0, 1.5, 0.0) for _ in range(PATIENCE + 3))
    assert asked.count("finer") == PATIENCE
