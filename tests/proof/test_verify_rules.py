"""Each rule of verify: no value outside its curve, for any error that a curve allows; and exact values of attention."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F  # noqa: N812 - its usual name
from torch import Tensor, nn

import weightstring as ws
from weightstring.proof.verify.curves import Curve
from weightstring.proof.verify.layers import spectral
from weightstring.proof.verify.normalising import standardised
from weightstring.proof.verify.operations import OPERATIONS, At, NotVerifiable
from weightstring.proof.verify.recurrent import lstm
from weightstring.proof.verify.replay import Replay

SHAPE = (2, 3, 4)
SAMPLED = 1e-15
"""What a sample's own rounding may put outside, relative to its size."""


def curve_at(rng: np.random.Generator, width: float, shape: tuple[int, ...] = SHAPE, rounder: bool = True) -> Curve:
    """A random curve, its norm along the last axis less than its errors say."""
    value, slope, bend = rng.standard_normal((3, *shape)) * np.array([1, width, width**2]).reshape(
        3, *(1,) * len(shape)
    )
    error = width**3 * rng.random(shape)
    return Curve(value, slope, bend, error, 0.7 * np.linalg.norm(error, axis=-1, keepdims=True) if rounder else None)


def inside(rng: np.random.Generator, curve: Curve, s: float) -> Tensor:
    """A function of which the curve speaks, at s."""
    e = curve.error * rng.choice([-1.0, -0.9, 0.0, 0.4, 1.0], curve.shape)
    if curve.norm is not None:
        e = e * np.minimum(1, curve.norm / np.maximum(np.linalg.norm(e, axis=-1, keepdims=True), 1e-300))
    return torch.from_numpy(curve.value + curve.slope * s + curve.bend * s * s + e)


def at_of(name: str, target: Any, result: Tensor) -> At:
    return At(name, tuple(result.shape), 1.0, 1.0, 1, torch.float64, lambda place: None, target)


NOWHERE = at_of("", None, torch.empty(0))
"""For operations that do not ask where they stand."""


def require_inside(found: Curve, true: Tensor, s: float) -> None:
    apart = true.numpy() - (found.value + found.slope * s + found.bend * s * s)
    assert (np.abs(apart) <= found.error + SAMPLED * (1 + np.abs(true.numpy()))).all()
    if found.norm is not None:
        assert (np.linalg.norm(apart, axis=found.axis, keepdims=True) <= found.norm + SAMPLED * 100).all()


aten = torch.ops.aten
OF_ONE: dict[str, tuple[Any, Callable[[Tensor], tuple[Any, ...]]]] = {
    **{
        name: (getattr(aten, name).default, lambda x: (x,))
        for name in ("tanh", "sigmoid", "silu", "gelu", "erf", "softplus", "log_sigmoid", "elu", "mish", "sin", "cos",
                     "exp", "relu", "abs", "neg", "square", "hardtanh", "relu6", "expm1")
    },
    "softmax": (aten.softmax.int, lambda x: (x, -1)),
    "softmax over tokens": (aten.softmax.int, lambda x: (x, 1)),
    "log softmax": (aten.log_softmax.int, lambda x: (x, -1)),
    "log sum exp": (aten.logsumexp.default, lambda x: (x, [-1])),
    "layer norm": (aten.layer_norm.default, lambda x: (x, [4], None, None, 0.1)),
    "layer norm of two axes": (aten.layer_norm.default, lambda x: (x, [3, 4], None, None, 0.1)),
    "rms norm": (aten.rms_norm.default, lambda x: (x, [4], None, 0.1)),
    "group norm": (aten.group_norm.default, lambda x: (x, 1, None, None, 0.1)),
    "instance norm": (aten.instance_norm.default, lambda x: (x, None, None, None, None, True, 0.1, 0.1, False)),
    "clamp": (aten.clamp.default, lambda x: (x, -0.25, 0.5)),
    "power": (aten.pow.Tensor_Scalar, lambda x: (x, 3)),
    "variance": (aten.var.dim, lambda x: (x, [-1])),
    "largest": (aten.amax.default, lambda x: (x, [1])),
    "sums so far": (aten.cumsum.default, lambda x: (x, 1)),
    "heads": (aten.view.default, lambda x: (x, [2, 3, 2, 2])),
    "joined heads": (aten.reshape.default, lambda x: (x, [2, 12])),
    "exchanged": (aten.transpose.int, lambda x: (x, 1, 2)),
    "chosen": (aten.select.int, lambda x: (x, 1, 0)),
    "mean": (aten.mean.dim, lambda x: (x, [1])),
}  # fmt: skip
POSITIVE = {name: getattr(aten, name).default for name in ("log", "sqrt", "rsqrt", "reciprocal", "log1p")}
OF_TWO = {
    "sum": (aten.add.Tensor, SHAPE), "difference": (aten.sub.Tensor, SHAPE), "product": (aten.mul.Tensor, SHAPE),
    "larger": (aten.maximum.default, SHAPE), "smaller": (aten.minimum.default, SHAPE),
    "matrices": (aten.bmm.default, (2, 4, 3)), "layer": (aten.linear.default, (5, 4)),
}  # fmt: skip
WIDTHS = (0.01, 0.1, 0.5, 3.0)


def tried(
    name: str, target: Any, of: Callable[..., tuple[Any, ...]], *shapes: tuple[int, ...], far: float = 0.0
) -> None:
    """A rule at random places of random curves of several widths."""
    rng = np.random.default_rng(3)
    rule = OPERATIONS[str(target).removeprefix("aten.")]
    for width in WIDTHS:
        curves = [curve_at(rng, width, shape) for shape in shapes]
        curves = [
            curve._replace(value=np.abs(curve.value) + far * (1 + 4 * width**3)) if far else curve for curve in curves
        ]
        samples = [[inside(rng, curve, s) for curve in curves] for s in (-1.0, -0.3, 0.0, 0.8, 1.0)]
        given = target(*of(*samples[0]))
        with np.errstate(all="ignore"):
            found = rule(at_of(str(target).removeprefix("aten."), target, given), *of(*curves))
        found = found.curve() if hasattr(found, "curve") else found
        if np.isfinite(found.error).all():
            for s, sample in zip((-1.0, -0.3, 0.0, 0.8, 1.0), samples, strict=True):
                require_inside(found, target(*of(*sample)), s)
        else:
            assert width > 1, f"{name} of curves of width {width} says nothing"


@pytest.mark.parametrize("name", OF_ONE)
def test_no_value_lies_outside_its_curve(name):
    target, of = OF_ONE[name]
    tried(name, target, of, SHAPE)


@pytest.mark.parametrize("name", POSITIVE)
def test_where_only_positive_numbers_have_values(name):
    tried(name, POSITIVE[name], lambda x: (x,), SHAPE, far=2.0)
    line = Curve(*(np.array([number]) for number in (0.1, 0.5, 0.0, 0.0)))
    with np.errstate(all="ignore"):
        assert name == "log1p" or not OPERATIONS[f"{name}.default"](NOWHERE, line).finite


@pytest.mark.parametrize("name", OF_TWO)
def test_no_value_of_two_lies_outside_its_curve(name):
    target, shape = OF_TWO[name]
    tried(name, target, lambda *both: both, SHAPE, shape)


@pytest.mark.parametrize("causal", [False, True])
def test_attention_of_errors_that_have_norms(causal):
    def of(*parts: Any) -> tuple[Any, ...]:
        return (*parts, None, 0.0, causal)

    tried("attention", aten.scaled_dot_product_attention.default, of, (2, 2, 3, 4), (2, 2, 3, 4), (2, 2, 3, 4))


def test_a_norm_is_tighter_than_the_errors_one_by_one():
    rng = np.random.default_rng(0)
    x = curve_at(rng, 0.1, (1, 3, 64))
    weight = Curve(rng.standard_normal((64, 64)) / 8, *np.zeros((3, 64, 64)))
    found = OPERATIONS["linear.default"](NOWHERE, x, weight)
    boxes = OPERATIONS["linear.default"](
        NOWHERE, x._replace(norm=np.linalg.norm(x.error, axis=-1, keepdims=True)), weight
    )
    assert (found.norm <= 2.1 * x.norm).all()
    assert (boxes.error <= x.error @ np.abs(weight.value).T * (1 + 1e-9) + 1e-12).all()


def test_spectral_norms_are_not_below_the_largest_singular_value():
    rng = np.random.default_rng(0)
    for shape in ((3, 5), (40, 40), (7, 1)):
        for size in (1e-90, 1.0, 1e90):
            matrix = rng.standard_normal(shape) * size
            largest = np.linalg.svd(matrix, compute_uv=False)[0]
            assert largest <= spectral(matrix) <= largest * (1 + 1e-6)
    assert spectral(np.zeros((3, 3))) == 0


def test_powers_of_numbers_whose_derivatives_underflow():
    x = Curve(*(np.array([number]) for number in (1e152, 5e151, 0.0, 0.0)))
    found = OPERATIONS["rsqrt.default"](NOWHERE, x)
    for s in (-1.0, 0.5, 1.0):
        require_inside(found, torch.tensor([(1e152 + 5e151 * s) ** -0.5], dtype=torch.float64), s)


def test_normalising_without_eps_is_refused():
    with pytest.raises(NotVerifiable, match="eps"):
        standardised(curve_at(np.random.default_rng(0), 0.1), 0.0)


def test_recurrent_layers_step_by_step():
    rng = np.random.default_rng(1)
    net = nn.LSTM(4, 3, batch_first=True).double()
    x = curve_at(rng, 0.2, (2, 3, 4), rounder=False)
    weights = [Curve(p.detach().numpy(), *np.zeros((3, *p.shape))) for p in net.parameters()]
    start = [np.zeros((1, 2, 3))] * 2
    found, *_ = lstm(NOWHERE, x, start, weights, True, 1, 0.0, False, False, True)
    for s in (-1.0, 0.4, 1.0):
        require_inside(found, net(inside(rng, x, s))[0].detach(), s)


def test_a_mask_that_hides_everything_is_refused():
    x = curve_at(np.random.default_rng(0), 0.1, (1, 1, 2, 2))
    with pytest.raises(NotVerifiable, match="−inf"):
        OPERATIONS["scaled_dot_product_attention.default"](NOWHERE, x, x, x, np.zeros((2, 2), dtype=bool))
    assert F.softmax(torch.full((2,), -torch.inf), 0).isnan().all()


def test_scores_that_overflow_are_not_taken_for_a_mask() -> None:
    # At s = 1 the first score is 0, as large as the second; at s = 0 it is below what float64 holds.
    q = Curve.of(np.full((1, 1, 1), value) for value in (-1e200, 1e200, 0.0, 0.0))
    k, v = (Curve.of(np.array([[[part], [0.0]]]) for part in (value, 0, 0, 0)) for value in (1e200, 1.0))
    with np.errstate(all="ignore"):
        found = OPERATIONS["scaled_dot_product_attention.default"](NOWHERE, q, k, v)
    assert not found.finite or float(found.high.max()) >= 0.5


class Moved(nn.Module):
    """What torch does not call pointwise, or leaves to a formula, and yet keeps examples apart."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(4, 4)

    def forward(self, x: Tensor) -> Tensor:
        mask = torch.tensor([True, False, True, False])
        h = self.layer(x)
        h = torch.rsub(h, x) + torch.where(mask, h, 0.5) * torch.where(mask, 0.25, h)
        h = h.sum(1, keepdim=True).expand_as(h) + h.tril() * h.triu()
        return torch.index_select(h, 1, torch.tensor([2, 0, 0]))


@pytest.mark.slow
def test_examples_stay_apart_where_torch_calls_nothing_pointwise() -> None:
    draw = torch.Generator().manual_seed(0)
    data = torch.randn(5, 3, 4, generator=draw).double(), torch.randn(5, 3, 4, generator=draw).double()
    problem = ws.ModuleProblem(Moved(), nn.functional.mse_loss, data, dtype=torch.float64)
    a, b = torch.randn(2, problem.size, generator=draw).double()
    ts = torch.linspace(0.25, 0.375, 9).double().unsqueeze(1)
    highest = float(problem.measure(torch.lerp(a, b, ts))["loss"].max())
    assert highest <= Replay(problem, "loss").bound(a.numpy(), b.numpy(), 0.25, 0.375) <= 1.2 * highest
