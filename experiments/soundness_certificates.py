"""A search for a certificate that is wrong: bounds of both implementations beside values in extended precision.

python experiments/soundness_certificates.py [--checks 1000000] [--seconds 2400] [--out FILE.jsonl]

Each draw is a network, a loss, data and two models, of ordinary or extreme scale (1e±150, subnormal numbers, zeros,
powers of two, near ties) and dtype. On some intervals of the segment between the models, every output at some places
must lie in its enclosure, and the mean loss must not exceed the bounds that ``proof.enclose`` and ``proof.verify``
give, nor, where the network is plain, those of compiled code in float32 and in float64. The values are computed in
80-bit floating point, whose rounding is 2048 times smaller than float64's, which bounds allow for several times over,
and whose exponents reach 1e±4932; so nothing is allowed for the comparison. Of fully connected networks some outputs
are computed with 60 digits as well. A draw is a function of (seed, number), one JSON line each; what is there is not
drawn again. The summary is kept as ``results/soundness_certificates.json``.
"""

from __future__ import annotations

import argparse
import json
import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import mpmath
import numpy as np
import torch
from soundness_layers import LAYERS, of_tokens, sizes_of, tokens
from soundness_operators import ATEN, OPERATORS
from torch import Tensor, nn

from weightstring.errors import InvalidSetting, Unsupported
from weightstring.problem.capabilities import Recalibration, TraceInputs
from weightstring.problem.datasets.data import Examples
from weightstring.problem.flat import Layout
from weightstring.problem.losses.means import Criterion
from weightstring.problem.module import ModuleProblem
from weightstring.proof.enclose.enclosing import Enclosing
from weightstring.proof.enclose.exponential import raised
from weightstring.proof.enclose.intervals import Intervals
from weightstring.proof.enclose.native.compiled import Compiled
from weightstring.proof.enclose.native.plain import plain
from weightstring.proof.enclose.rules import GROUPED, RULES, SMOOTH
from weightstring.proof.verify.calibrating import Calibration
from weightstring.proof.verify.marks import name_of
from weightstring.proof.verify.of_data import Made
from weightstring.proof.verify.operations import OPERATIONS, NotVerifiable
from weightstring.proof.verify.replay import Replay
from weightstring.proof.verify.tracing import calls_of
from weightstring.tracing.program import trace_mean

Long = np.longdouble
EXAMPLES, INTERVALS, PLACES = 9, 12, 17
COMPILED = ((torch.float32, 0), (torch.float64, 0), (torch.float64, 1), (torch.float64, 8), (torch.float64, 16))
"""Arithmetic and generators of compiled bounds; a single generator soon leaves the rest to the radius."""
CHUNK, CHUNKS = 5, (0, 4, EXAMPLES)
"""The most training inputs at a time, which are as many as there are examples, and where these parts of them begin."""

EPS = 2.0**-10
"""Of BatchNorm."""

RESULTS = Path(__file__).parent / "results" / "soundness_certificates.json"

F = nn.functional


class Layer(NamedTuple):
    """A layer of a network: a kind and its numbers."""

    kind: str
    numbers: tuple[Any, ...] = ()


KNOWN = {**LAYERS, **OPERATORS}
"""Layers whose values are known in extended precision, by kind."""


class Case(NamedTuple):
    """A network and what is measured of it.

    Args:
        layers: in order.
        loss: a key of :data:`LOSSES`.
        inputs: the shape of one example.
    """

    layers: tuple[Layer, ...]
    loss: str
    inputs: tuple[int, ...] = (3,)


# The networks, in torch and in extended precision ---------------------------------------------------------------------


def module_of(layer: Layer) -> nn.Module:
    """A layer as torch knows it."""
    if layer.kind in KNOWN:
        return KNOWN[layer.kind].module(*layer.numbers)
    known: dict[str, Callable[..., nn.Module]] = {
        "linear": nn.Linear, "conv1": nn.Conv1d, "conv2": nn.Conv2d, "flatten": nn.Flatten, "relu": nn.ReLU,
        "leaky": nn.LeakyReLU, "hardtanh": nn.Hardtanh, "relu6": nn.ReLU6, "tanh": nn.Tanh, "sigmoid": nn.Sigmoid,
        "silu": nn.SiLU, "gelu": nn.GELU, "gelu_tanh": lambda: nn.GELU("tanh"), "softplus": nn.Softplus, "sin": Sine,
        "max1": nn.MaxPool1d, "max2": nn.MaxPool2d, "avg1": nn.AvgPool1d, "avg2": nn.AvgPool2d, "square": Square,
        "abs": Absolute, "gate": Gate, "batch norm": partial(nn.BatchNorm1d, eps=EPS),
    }  # fmt: skip
    return known[layer.kind](*layer.numbers)


class Sine(nn.Module):
    """sin x."""

    def forward(self, x: Tensor) -> Tensor:
        """Of any shape."""
        return x.sin()


class Square(nn.Module):
    """x²."""

    def forward(self, x: Tensor) -> Tensor:
        """Of any shape."""
        return x.square()


class Absolute(nn.Module):
    """|x|."""

    def forward(self, x: Tensor) -> Tensor:
        """Of any shape."""
        return x.abs()


class Gate(nn.Module):
    """x · max(0, x) / 3 + x."""

    def forward(self, x: Tensor) -> Tensor:
        """Of any shape."""
        return x * x.relu() / 3 + x


def _windows(x: np.ndarray, size: int, stride: int, padding: int, axes: int, fill: float) -> np.ndarray:
    pads = [(0, 0)] * (x.ndim - axes) + [(padding, padding)] * axes
    found = np.lib.stride_tricks.sliding_window_view(
        np.pad(x, pads, constant_values=Long(fill)), (size,) * axes, tuple(range(-axes, 0))
    )
    steps = (..., *(slice(None, None, stride),) * axes, *(slice(None),) * axes)
    return found[steps]


def _softplus(x: np.ndarray, beta: float = 1.0, threshold: float = 20.0) -> np.ndarray:
    z = x * Long(beta)
    return np.where(z > threshold, x, np.logaddexp(Long(0), z) / Long(beta))


def _normal(x: np.ndarray) -> np.ndarray:
    near = np.clip(x, -140, 140)  # beyond, Φ is 0 or 1 as far as 80 bits go
    with mpmath.workdps(25):
        found = [Long(mpmath.nstr(mpmath.ncdf(mpmath.mpf(np.format_float_scientific(v))), 22)) for v in near.ravel()]
    return np.where(x < -140, Long(0), np.array(found, dtype=Long).reshape(x.shape))


ACTIVATIONS: dict[str, Callable[..., np.ndarray]] = {
    "flatten": lambda x: x.reshape(*x.shape[:2], -1),
    "relu": lambda x: np.maximum(x, Long(0)),
    "leaky": lambda x, slope=0.01: np.where(x > 0, x, x * Long(slope)),
    "hardtanh": lambda x, low=-1.0, high=1.0: np.clip(x, Long(low), Long(high)),
    "relu6": lambda x: np.clip(x, Long(0), Long(6)),
    "tanh": np.tanh,
    "sigmoid": lambda x: np.exp(-np.logaddexp(Long(0), -x)),
    "silu": lambda x: x * np.exp(-np.logaddexp(Long(0), -x)),
    "gelu": lambda x: x * _normal(x),
    "gelu_tanh": lambda x: x / 2 * (1 + np.tanh(np.sqrt(2 / Long(_pi())) * (x + Long(0.044715) * x**3))),
    "softplus": _softplus,
    "sin": np.sin,
    "square": np.square,
    "abs": np.abs,
    "gate": lambda x: x * np.maximum(x, Long(0)) / 3 + x,
}


def _pi() -> np.longdouble:
    return 4 * np.arctan(Long(1))


def _normed(x: np.ndarray, mean: np.ndarray, variance: np.ndarray, parameters: Sequence[np.ndarray]) -> np.ndarray:
    def wide(numbers: np.ndarray) -> np.ndarray:
        return numbers.reshape(len(numbers), 1, -1, *(1,) * (x.ndim - 3))

    return (x - wide(mean)) / np.sqrt(wide(variance) + Long(EPS)) * wide(parameters[0]) + wide(parameters[1])


def batch_normed(x: np.ndarray, trained: np.ndarray, parameters: Sequence[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Examples by the mean of statistics of the chunks of training inputs, and these by those of their own chunk."""
    axes, chunks, means, variances = (1, *range(3, x.ndim)), [], [], []
    for low, high in pairwise(CHUNKS):
        part = trained[:, low:high]
        means.append(part.mean(axes))
        variances.append(part.var(axes))
        chunks.append(_normed(part, means[-1], variances[-1], parameters))
        count = part[0, :, 0].size
        variances[-1] = variances[-1] * (Long(count) / Long(count - 1))
    found = _normed(x, sum(means) / Long(len(means)), sum(variances) / Long(len(variances)), parameters)
    return found, np.concatenate(chunks, 1)


def values_of(case: Case, theta: np.ndarray, x: np.ndarray, trained: np.ndarray) -> np.ndarray:
    """Outputs (T, n, ...) of T models (T, P) for examples (n, ...), with statistics of training inputs."""
    if not any(kind == "batch norm" for kind, _ in case.layers):
        return _values_of(case, theta, np.broadcast_to(x, (len(theta), *x.shape)))
    both, at, found = len(x), 0, np.broadcast_to(np.concatenate([x, trained]), (len(theta), 2 * len(x), *x.shape[1:]))
    for layer in case.layers:
        sizes = sizes_of(module_of(layer))
        end = at + sum(size for _, size in sizes)
        if layer.kind == "batch norm":
            parameters = np.split(theta[:, at:end], 2, 1)
            found = np.concatenate(batch_normed(found[:, :both], found[:, both:], parameters), 1)
        else:
            found = _values_of(case._replace(layers=(layer,)), theta[:, at:end], found)
        at = end
    return found[:, :both]


def _values_of(case: Case, theta: np.ndarray, found: np.ndarray) -> np.ndarray:
    """Outputs of layers each of whose examples is by itself, for examples (T, n, ...)."""
    at = 0
    for kind, numbers in case.layers:
        if kind in KNOWN:
            parameters = []
            for shape, size in sizes_of(module_of(Layer(kind, numbers))):
                parameters.append(theta[:, at : at + size].reshape(-1, *shape))
                at += size
            found = KNOWN[kind].values(found, parameters, *numbers)
        elif kind in ("linear", "conv1", "conv2"):
            module = module_of(Layer(kind, numbers))
            shape = tuple(module.weight.shape)
            size = math.prod(shape)
            weight = theta[:, at : at + size].reshape(-1, *shape)
            bias = theta[:, at + size : at + size + shape[0]]
            at += size + shape[0]
            if kind == "linear":
                wide = bias.reshape(len(bias), *(1,) * (found.ndim - 2), -1)
                found = np.einsum("tn...i,toi->tn...o", found, weight) + wide
            else:
                axes = int(kind[-1])
                windows = _windows(found, shape[-1], module.stride[0], module.padding[0], axes, 0.0)
                sums = "tnixa,toia->tnox" if axes == 1 else "tnixyab,toiab->tnoxy"
                found = np.einsum(sums, windows, weight) + bias.reshape(len(bias), 1, -1, *(1,) * axes)
        elif kind[:3] in ("max", "avg"):
            axes = int(kind[-1])
            size, stride, padding = (*numbers, 0)[:3]
            windows = _windows(found, size, stride, padding, axes, -np.inf if kind.startswith("max") else 0.0)
            over = tuple(range(-axes, 0))
            found = windows.max(over) if kind.startswith("max") else windows.mean(over)
        else:
            found = ACTIVATIONS[kind](found, *map(float, numbers)) if numbers else ACTIVATIONS[kind](found)
    return found


def _sigmoid(v: Any) -> Any:
    return 1 / (1 + mpmath.exp(-v)) if v > -1e6 else mpmath.exp(v)


EXACT: dict[str, Callable[..., Any]] = {
    "relu": lambda v: max(v, 0),
    "leaky": lambda v, slope: v if v > 0 else v * slope,
    "hardtanh": lambda v, low, high: min(max(v, low), high),
    "relu6": lambda v: min(max(v, 0), 6),
    "tanh": lambda v: mpmath.tanh(v) if abs(v) < 1e6 else mpmath.sign(v),
    "sigmoid": _sigmoid,
    "silu": lambda v: v * _sigmoid(v),
    "gelu": lambda v: v * mpmath.ncdf(v) if abs(v) < 1e3 else max(v, 0),
    "sin": lambda v: mpmath.sin(v) if abs(v) < 1e40 else None,
    "square": lambda v: v * v,
    "abs": abs,
    "gate": lambda v: v * max(v, 0) / 3 + v,
}
"""Activations with as many digits as are asked for; None: more than were."""


def exact_outputs(case: Case, theta: Sequence[Any], x: Sequence[Any]) -> list[Any] | None:
    """Outputs of a fully connected network for one example, with 60 digits; None: it is none."""
    if any(kind != "linear" and kind not in EXACT for kind, _ in case.layers):
        return None
    rest, found = iter(theta), list(x)
    for kind, given in case.layers:
        if kind == "linear":
            weight = [[next(rest) for _ in range(given[0])] for _ in range(given[1])]
            found = [mpmath.fdot(row, found) + next(rest) for row in weight]
        else:
            found = [EXACT[kind](v, *map(mpmath.mpf, given)) for v in found]
            if any(v is None for v in found):
                return None
    return found


class Measured(NamedTuple):
    """A loss: in torch, in extended precision of outputs (T, n, C) and targets, and what targets it takes."""

    torch: Callable[[Tensor, Tensor], Tensor]
    exact: Callable[[np.ndarray, np.ndarray], np.ndarray]
    targets: str


def _cross_entropy(z: np.ndarray, q: np.ndarray) -> np.ndarray:
    """Σ_k q_k (logsumexp z − z_k), each difference by itself so that small losses keep their digits."""
    order = np.sort(z, -1)
    rest = np.log1p(np.exp(order[..., :-1] - order[..., -1:]).sum(-1))
    return (q * ((order[..., -1:] - z) + rest[..., None])).sum(-1)


def _classes(loss: Callable[[np.ndarray, np.ndarray], np.ndarray]) -> Callable[[np.ndarray, np.ndarray], np.ndarray]:
    return lambda z, y: loss(z, np.eye(z.shape[-1], dtype=Long)[y]).mean(-1)


def _of_distance(loss: Callable[[np.ndarray], np.ndarray]) -> Callable[[np.ndarray, np.ndarray], np.ndarray]:
    return lambda z, y: loss(np.abs(z - y)).mean((-2, -1))


COSTS, POSITIVE = torch.tensor([0.25, 3.0, 1.5]).double(), torch.tensor([2.5]).double()


def _weighted(z: np.ndarray, y: np.ndarray) -> np.ndarray:
    costs = COSTS.numpy().astype(Long)[y]
    return (_cross_entropy(z, np.eye(z.shape[-1], dtype=Long)[y]) * costs).sum(-1) / costs.sum()


def _focal(o: Tensor, y: Tensor) -> Tensor:
    losses = F.cross_entropy(o, y, reduction="none")
    return (losses * (1 - (-losses).exp()) ** 2).mean()


def _focal_of_shares(o: Tensor, y: Tensor) -> Tensor:
    losses = F.binary_cross_entropy_with_logits(o, y, reduction="none")
    return (losses * (1 - (-losses).exp()) ** 2).mean()


def _focal_values(losses: np.ndarray) -> np.ndarray:
    return (losses * np.expm1(-losses) ** 2).reshape(len(losses), -1).mean(-1)


def _each(z: np.ndarray, y: np.ndarray) -> np.ndarray:
    return _cross_entropy(z, np.eye(z.shape[-1], dtype=Long)[y])


def _each_share(z: np.ndarray, y: np.ndarray) -> np.ndarray:
    return (1 - y) * np.logaddexp(Long(0), z) + y * np.logaddexp(Long(0), -z)


def _logs(z: np.ndarray) -> np.ndarray:
    apart = z - z.max(-1, keepdims=True)
    return apart - np.log(np.exp(apart).sum(-1, keepdims=True))


def _gaussian(apart: np.ndarray, variance: Any) -> np.ndarray:
    return ((np.log(variance) + apart * apart / variance + np.log(2 * _pi())) / 2).mean((-2, -1))


LOSSES: dict[str, Measured] = {
    "squared": Measured(F.mse_loss, _of_distance(np.square), "numbers"),
    "absolute": Measured(F.l1_loss, _of_distance(lambda d: d), "numbers"),
    "huber": Measured(
        lambda o, y: F.huber_loss(o, y, delta=0.3),
        _of_distance(lambda d: np.where(d < Long(0.3), d * d / 2, Long(0.3) * (d - Long(0.3) / 2))),
        "numbers",
    ),
    "smooth l1": Measured(
        lambda o, y: F.smooth_l1_loss(o, y, beta=0.7),
        _of_distance(lambda d: np.where(d < Long(0.7), d * d / (2 * Long(0.7)), d - Long(0.7) / 2)),
        "numbers",
    ),
    "entropy": Measured(F.cross_entropy, _classes(_cross_entropy), "classes"),
    "weighted": Measured(lambda o, y: F.cross_entropy(o, y, COSTS), _weighted, "classes"),
    "smoothed": Measured(
        lambda o, y: F.cross_entropy(o, y, label_smoothing=0.25),
        _classes(lambda z, q: _cross_entropy(z, q * Long(0.75) + Long(0.25) / z.shape[-1])),
        "classes",
    ),
    "binary": Measured(
        F.binary_cross_entropy_with_logits,
        lambda z, y: ((1 - y) * np.logaddexp(Long(0), z) + y * np.logaddexp(Long(0), -z)).mean((-2, -1)),
        "shares",
    ),
    "positive": Measured(
        lambda o, y: F.binary_cross_entropy_with_logits(o, y, pos_weight=POSITIVE),
        lambda z, y: ((1 - y) * np.logaddexp(Long(0), z) + Long(2.5) * y * np.logaddexp(Long(0), -z)).mean((-2, -1)),
        "shares",
    ),
    "errors": Measured(
        lambda o, y: (o.argmax(1) != y).double().mean(), lambda z, y: (z.argmax(-1) != y).mean(-1), "classes"
    ),
    "outputs": Measured(lambda o, y: o.mean(), lambda z, y: z.reshape(len(z), -1).mean(-1), "numbers"),
    "tokens": Measured(of_tokens, tokens, "tokens"),
    "perplexity": Measured(
        lambda o, y: F.cross_entropy(o, y).exp(), lambda z, y: np.exp(_classes(_cross_entropy)(z, y)), "classes"
    ),
    "likelihood": Measured(lambda o, y: F.nll_loss(o.log_softmax(1), y), _classes(_cross_entropy), "classes"),
    "likelihood by its name": Measured(
        lambda o, y: ATEN.nll_loss(o.log_softmax(1), y, None, 1, -100), _classes(_cross_entropy), "classes"
    ),
    "focal": Measured(_focal, lambda z, y: _focal_values(_each(z, y)), "classes"),
    "focal of yes and no": Measured(_focal_of_shares, lambda z, y: _focal_values(_each_share(z, y)), "shares"),
    "divergence": Measured(
        lambda o, y: F.kl_div(o.log_softmax(1), y, reduction="mean"),
        lambda z, y: (y * (np.log(np.where(y > 0, y, Long(1))) - _logs(z))).mean((-2, -1)),
        "shares",
    ),
    "gaussian": Measured(
        lambda o, y: F.gaussian_nll_loss(o[:, :1], y[:, :1], o[:, 1:].square(), full=True, eps=0.5),
        lambda z, y: _gaussian(z[..., :1] - y[:, :1], np.maximum(np.square(z[..., 1:]), Long(0.5))),
        "numbers",
    ),
    "gaussian, fixed": Measured(
        lambda o, y: F.gaussian_nll_loss(o, y, 0.25) - 1,
        lambda z, y: _gaussian(z - y, Long(0.25)) - np.log(2 * _pi()) / 2 - 1,
        "numbers",
    ),
    **{
        f"{name}, each": Measured(
            lambda o, y, each=each: (each(o, y) * y.abs()).mean(),
            lambda z, y, exact=exact: (exact(np.abs(z - y)) * np.abs(y)).mean((-2, -1)),
            "numbers",
        )
        for name, each, exact in [
            ("squared", lambda o, y: F.mse_loss(o, y, reduction="none"), np.square),
            ("absolute", lambda o, y: F.l1_loss(o, y, reduction="none"), lambda d: d),
            (
                "huber",
                lambda o, y: F.huber_loss(o, y, reduction="none", delta=0.25),
                lambda d: np.where(d < 0.25, d * d / 2, (d - Long(0.125)) / 4),
            ),
            (
                "smooth l1",
                lambda o, y: F.smooth_l1_loss(o, y, reduction="none", beta=0.5),
                lambda d: np.where(d < 0.5, d * d, d - Long(0.25)),
            ),
        ]
    },
    "probabilities": Measured(
        lambda o, y: F.binary_cross_entropy(o.sigmoid(), y),
        lambda z, y: (
            (1 - y) * np.minimum(np.logaddexp(Long(0), z), 100) + y * np.minimum(np.logaddexp(Long(0), -z), 100)
        ).mean((-2, -1)),
        "shares",
    ),
    "total": Measured(lambda o, y: o.square().sum(), lambda z, y: np.square(z).sum((-2, -1)), "numbers"),
    "mean": Measured(lambda o, y: o.square().mean() + 0.5, lambda z, y: np.square(z).mean((-2, -1)) + 0.5, "numbers"),
}


def _stack(activation: Layer, outputs: int = 3) -> tuple[Layer, ...]:
    return (
        Layer("linear", (3, 4)), activation, Layer("linear", (4, 4)), activation, Layer("linear", (4, outputs)),
    )  # fmt: skip


def _tokens(*layers: Layer, outputs: int = 3, width: int = 4) -> tuple[Layer, ...]:
    return (Layer("linear", (3, width)), *layers, Layer("linear", (width, outputs)))


TOKENS = (3, 3)
NORM, ATTENTION = Layer("layer norm", (4,)), Layer("attention", (4, 2))

CASES: dict[str, Case] = {
    "layer norm": Case(_tokens(NORM), "tokens", TOKENS),
    "rms norm": Case(_tokens(Layer("rms norm", (4,)), Layer("silu")), "outputs", TOKENS),
    "group norm": Case(_tokens(Layer("group norm", (1, 3))), "outputs", TOKENS),
    "instance norm": Case(_tokens(Layer("instance norm", (3,)), Layer("relu")), "tokens", TOKENS),
    **{
        f"attention, {how}": Case(_tokens(Layer("attention", (4, 2, how))), "tokens", TOKENS)
        for how in ("fused", "masked", "by hand", "multihead")
    },
    "grouped heads": Case(_tokens(Layer("grouped", (4, 2))), "outputs", TOKENS),
    "block": Case(
        _tokens(Layer("lookup", (5, 4)), NORM, ATTENTION, NORM, Layer("linear", (4, 4)), Layer("gelu_tanh"), NORM),
        "tokens", TOKENS),
    **{
        kind: Case((Layer(kind, (3, 2)), Layer("last"), Layer("linear", (2, 3))), "entropy", TOKENS)
        for kind in ("lstm", "gru", "rnn")
    },
    **{
        kind: Case(_tokens(Layer(kind)), "outputs", TOKENS)
        for kind in (
            "softmax", "log softmax", "log sum exp", "root", "over root", "power", "quotient", "reciprocal",
            "logarithm", "exponential", "extremes", "clamped", "chosen",
        )
    },
    "products": Case(_tokens(Layer("products")), "outputs", TOKENS),
    "stacked": Case((Layer("linear", (3, 2)), Layer("stacked"), Layer("linear", (4, 3))), "outputs", TOKENS),
    "mean over tokens": Case(
        (*_tokens(Layer("softmax"))[:2], Layer("turned"), Layer("turned"), Layer("mean over tokens"),
         Layer("linear", (4, 3))), "entropy", TOKENS),
    **{
        kind: Case(_stack(Layer(kind, numbers)), loss)
        for kind, numbers, loss in [
            ("relu", (), "entropy"), ("leaky", (0.25,), "squared"), ("hardtanh", (-0.5, 2.0), "huber"),
            ("relu6", (), "smooth l1"), ("tanh", (), "entropy"), ("sigmoid", (), "squared"), ("silu", (), "weighted"),
            ("gelu_tanh", (), "absolute"), ("softplus", (2.0, 1.0), "squared"), ("sin", (), "smoothed"),
            ("square", (), "squared"), ("abs", (), "absolute"), ("gate", (), "entropy"), ("gelu", (), "squared"),
        ]
    },
    **{f"relu, {loss}": Case(_stack(Layer("relu")), loss) for loss in ("squared", "weighted", "smoothed", "errors")},
    **{f"{kind}, outputs": Case(_stack(Layer(kind)), "outputs") for kind in ("relu", "tanh", "silu", "square")},
    "linear, outputs": Case((Layer("linear", (3, 2)), Layer("linear", (2, 1))), "outputs"),
    "linear": Case((Layer("linear", (3, 3)), Layer("linear", (3, 3))), "squared"),
    "wide": Case(
        (Layer("linear", (3, 40)), Layer("relu"), Layer("linear", (40, 35)), Layer("relu"), Layer("linear", (35, 3))),
        "entropy"),
    "deep": Case((*(Layer("linear", (3, 12)), Layer("relu")), *(Layer("linear", (12, 12)), Layer("relu")) * 4,
                  Layer("linear", (12, 3))), "entropy"),
    "one hidden": Case((Layer("linear", (3, 20)), Layer("relu"), Layer("linear", (20, 3))), "entropy"),
    "one layer": Case((Layer("linear", (3, 3)),), "entropy"),
    "one unit": Case((Layer("linear", (3, 1)), Layer("relu"), Layer("linear", (1, 1))), "squared"),
    "binary": Case(_stack(Layer("relu"), 1), "binary"),
    "positive": Case(_stack(Layer("tanh"), 1), "positive"),
    "mean": Case(_stack(Layer("softplus"), 2), "mean"),
    "signal": Case(
        (Layer("conv1", (1, 3, 3, 1, 1)), Layer("relu"), Layer("max1", (3, 2, 1)), Layer("flatten"),
         Layer("linear", (12, 3))), "entropy", (1, 8)),
    "averages": Case(
        (Layer("conv1", (1, 3, 3, 2, 0)), Layer("tanh"), Layer("avg1", (2, 1, 0)), Layer("flatten"),
         Layer("linear", (6, 3))), "squared", (1, 8)),
    "image": Case(
        (Layer("conv2", (1, 2, 3, 1, 1)), Layer("relu"), Layer("max2", (2, 2, 0)), Layer("conv2", (2, 3, 2, 1, 0)),
         Layer("leaky", (0.1,)), Layer("flatten"), Layer("linear", (3, 3))), "errors", (1, 4, 4)),
    "pooled": Case(
        (Layer("conv2", (1, 2, 3, 1, 1)), Layer("hardtanh"), Layer("avg2", (3, 1, 1)), Layer("max2", (3, 2, 1)),
         Layer("flatten"), Layer("linear", (8, 3))), "entropy", (1, 4, 4)),
    **{
        kind: Case(_tokens(Layer(kind)), "outputs", TOKENS)
        for kind in (
            "numbers", "limits", "waves", "copies", "parts", "hidden", "matrices", "soft by its name", "curves",
            "error function", "spreads", "places", "sums",
        )
    },
    **{
        f"frozen norm{', in place' * other}": Case(_tokens(Layer("frozen norm", (other,))), "outputs", TOKENS)
        for other in (False, True)
    },
    "windows": Case((Layer("linear", (3, 4)), Layer("windows"), Layer("linear", (2, 3))), "outputs", TOKENS),
    "windows of images": Case(
        (Layer("same size", (2, 2)), Layer("windows of images"), Layer("flatten"), Layer("linear", (4, 3))), "entropy",
        (2, 3, 4)),
    "same length": Case(
        (Layer("same length", (2, 2)), Layer("relu"), Layer("flatten"), Layer("linear", (8, 3))), "entropy", (2, 4)),
    **{
        loss: Case(_stack(Layer(kind), outputs), loss)
        for loss, kind, outputs in [
            ("perplexity", "relu", 3), ("likelihood", "tanh", 3), ("likelihood by its name", "relu", 3),
            ("focal", "relu", 3), ("focal of yes and no", "tanh", 3), ("divergence", "tanh", 3),
            ("gaussian", "tanh", 2),
            ("gaussian, fixed", "relu", 2), ("squared, each", "relu", 3), ("absolute, each", "tanh", 3),
            ("huber, each", "relu", 3), ("smooth l1, each", "relu", 3), ("probabilities", "relu", 3),
            ("total", "tanh", 2),
        ]
    },
    "statistics": Case(
        (Layer("linear", (3, 4)), Layer("batch norm", (4,)), Layer("relu"), Layer("linear", (4, 4)),
         Layer("batch norm", (4,)), Layer("tanh"), Layer("linear", (4, 3))), "entropy"),
    "statistics of signals": Case(
        (Layer("conv1", (1, 2, 3, 1, 1)), Layer("batch norm", (2,)), Layer("relu"), Layer("avg1", (2, 2, 0)),
         Layer("flatten"), Layer("linear", (8, 3))), "squared", (1, 8)),
}  # fmt: skip

# Random numbers -------------------------------------------------------------------------------------------------------

DTYPES = {"float64": torch.float64, "float32": torch.float32, "float16": torch.float16, "bfloat16": torch.bfloat16}


def scales(how: str, shape: Sequence[int], generator: np.random.Generator) -> np.ndarray:
    """What random numbers are multiplied by."""
    if how == "ordinary":
        return np.ones(shape)
    if how == "one":
        return np.full(shape, 10 ** generator.uniform(-150, 150))
    if how == "tiny":
        return np.full(shape, 10 ** generator.uniform(-170, -70))
    if how == "subnormal":
        return 10 ** generator.uniform(-323, -290, shape)
    if how == "mixed":
        return 10 ** generator.uniform(-150, 150, shape)
    if how == "rows":
        return np.broadcast_to(10 ** generator.uniform(-150, 150, (*shape[:-1], 1)), shape)
    if how == "blocks":  # runs of entries, such as layers
        lengths = np.cumsum(generator.random(shape[-1]) < 0.15)
        return np.broadcast_to((10 ** generator.uniform(-150, 150, lengths[-1] + 1))[lengths], shape)
    assert how == "near one", how
    return 10 ** generator.uniform(-6, 6, shape)


HOW = ("ordinary", "one", "tiny", "subnormal", "mixed", "blocks", "near one")


def numbers(how: str, shape: Sequence[int], dtype: str, generator: np.random.Generator) -> Tensor:
    """Random numbers of a dtype, some of them 0 or powers of two, as float64."""
    found = generator.standard_normal(shape) * scales(how, shape, generator)
    odd = generator.random(shape)
    with np.errstate(divide="ignore"):
        powers = np.sign(found) * np.exp2(np.round(np.log2(np.abs(found))))
    found = np.where(odd < 0.1, 0.0, np.where(odd < 0.25, np.nan_to_num(powers), found))
    limit = torch.finfo(DTYPES[dtype]).max
    return torch.tensor(np.clip(found, -limit, limit)).to(DTYPES[dtype]).double()


class Draw(NamedTuple):
    """What is drawn: two models, inputs, of which some are to train with, targets, intervals."""

    beads: Tensor
    inputs: Tensor
    training: Tensor
    targets: Tensor
    intervals: Intervals


def estimates(case: Case) -> bool:
    """Whether running statistics are functions of θ."""
    return any(layer.kind == "batch norm" for layer in case.layers)


def drawn(case: Case, size: int, kind: str, generator: np.random.Generator) -> tuple[Draw, dict[str, str]]:
    """A draw and how it was made."""
    dtype = str(generator.choice(list(DTYPES)))
    how, of_data = (str(generator.choice(HOW)) for _ in range(2))
    beads = numbers(how, (2, size), dtype, generator)
    if generator.random() < 0.2:  # a short segment, of near ties
        beads[1] = (beads[0] * (1 + torch.tensor(generator.standard_normal(size)) * 1e-9)).to(DTYPES[dtype]).double()
    inputs = numbers(of_data, (EXAMPLES, *case.inputs), dtype, generator)
    outputs = next(layer.numbers[1] for layer in reversed(case.layers) if layer.kind == "linear")
    if kind == "tokens":
        targets = torch.tensor(generator.integers(outputs, size=(EXAMPLES, case.inputs[0])))
        targets[0, 0] = 1  # or all may be ignored
    elif kind == "classes":
        targets = torch.tensor(generator.integers(outputs, size=EXAMPLES))
    elif kind == "shares":
        targets = torch.tensor(generator.choice([0.0, 1.0, 0.3], (EXAMPLES, outputs)))
    else:
        targets = numbers(str(generator.choice(HOW)), (EXAMPLES, outputs), dtype, generator)
    width = 0.5 ** generator.integers(0, 12, INTERVALS).astype(float)
    low = np.floor(generator.random(INTERVALS) / width) * width
    intervals = Intervals(torch.zeros(INTERVALS, dtype=torch.int64), torch.tensor(low), torch.tensor(low + width))
    training = numbers(of_data, (EXAMPLES, *case.inputs), dtype, generator) if estimates(case) else inputs
    return Draw(beads, inputs, training, targets, intervals), {"dtype": dtype, "models": how, "data": of_data}


# The comparison -------------------------------------------------------------------------------------------------------


class Given(ModuleProblem):
    """Of a problem, what verification asks of it."""

    def __init__(self, net: nn.Module, criterion: Criterion, examples: Examples) -> None:
        self._given = TraceInputs(net, criterion, examples, EXAMPLES)
        self._layout = Layout.of(net)

    @property
    def layout(self) -> Layout:
        """Where each parameter lies in θ."""
        return self._layout

    # What a problem must have beside, or it is not asked how running statistics come from θ.
    quantities, evaluation = ("loss",), "evaluate"
    size = dtype = device = recipe = batch_size = train_size = None  # type: ignore[assignment]

    def traceable(self, quantity: str) -> TraceInputs:
        """What it was given."""
        return self._given

    def recalibration(self, quantity: str) -> Recalibration | None:
        """How running statistics come from θ, on inputs that are exchanged."""
        net, examples = self._given.module, self._given.examples
        names = running(net)
        return Recalibration(self._given, net, examples, CHUNK, names) if names else None


def running(net: nn.Module) -> frozenset[str]:
    """Names of running statistics."""
    return frozenset(name for name, _ in net.named_buffers() if name.rpartition(".")[2].startswith("running_"))


class Traced:
    """A network traced once for both implementations, whose data and models are exchanged."""

    def __init__(self, case: Case) -> None:
        self.case = case
        self.net = nn.Sequential(*map(module_of, case.layers)).double().eval()
        self.measured = LOSSES[case.loss]
        self.layout = Layout.of(self.net)
        generator = np.random.default_rng(0)
        draw, _ = drawn(case, self.layout.size, self.measured.targets, generator)
        self.examples = Examples((draw.inputs,), draw.targets, None)
        self.replay = Replay(Given(self.net, self.measured.torch, self.examples), "loss")
        self.degree = 1
        try:
            names = running(self.net)
            sizes = {EXAMPLES, *(high - low for low, high in pairwise(CHUNKS))} if names else {EXAMPLES}
            self.program = trace_mean(self.net, self.measured.torch, self.examples, sizes, names)
            self.outputs = trace_mean(self.net, lambda output, _: output, self.examples, sizes, names)
            self.degree = 2 if any(step.op in SMOOTH | GROUPED for step in self.program.steps) else 1
            self.enclosing(self.program, draw, self.examples).rehearse()
        except (Unsupported, InvalidSetting):
            self.program = None  # certify has no rule for it

    def again(self, draw: Draw, examples: Examples) -> np.ndarray:
        """What verification bounds the loss by on each interval."""
        course = self.replay._course
        made = Made(course.programs, course.blocks, examples, course.made._along, course.dtype)
        self.replay._examples, self.replay._course = examples, replace(course, examples=examples, made=made)
        if (estimated := self.replay._estimated) is not None:
            training = estimated._replace(examples=Examples((draw.training,), draw.targets, None))
            self.replay._calibration = Calibration(training, self.replay._course, course.made._along)
        a, b = draw.beads.numpy()
        edges = zip(draw.intervals.low.tolist(), draw.intervals.high.tolist(), strict=True)
        return np.array([self._bound(a, b, *edge) for edge in edges])

    def _bound(self, a: np.ndarray, b: np.ndarray, low: float, high: float) -> float:
        try:
            return self.replay.bound(a, b, low, high)
        except NotVerifiable:  # which says nothing of the loss
            return math.inf

    def enclosing(self, program: Any, draw: Draw, examples: Examples) -> Enclosing:
        """Enclosures of a program for a draw."""
        training = (Examples((draw.training,), draw.targets, None), CHUNKS) if program.statistics else None
        return Enclosing(program, draw.beads, self.layout, examples, [0, EXAMPLES], self.degree, 1 << 28, training)

    @property
    def operators(self) -> dict[str, list[str]]:
        """By whose rules it is bounded: those of both implementations."""
        traced = (node for each in self.replay._programs.values() for node in calls_of(each))
        steps = () if self.program is None else self.program.steps
        own = {step.op for step in steps if step.name not in self.program.of_data} & set(RULES)
        return {
            "certified by": sorted(own),
            "verified by": sorted({name_of(node) for node in traced} & set(OPERATIONS)),
        }


def check(traced: Traced, draw: Draw, generator: np.random.Generator) -> dict[str, int]:
    """Comparisons made and contradictions met."""
    case, intervals = traced.case, draw.intervals
    examples = Examples((draw.inputs,), draw.targets, None)
    sigmas = np.concatenate([[-1.0, 0.0, 1.0], generator.uniform(-1, 1, PLACES - 3)]).astype(Long)
    low, high = (edge.numpy().astype(Long) for edge in (intervals.low, intervals.high))
    ts = ((low + high)[:, None] + (high - low)[:, None] * sigmas) / 2
    first, last = draw.beads.numpy().astype(Long)
    thetas = (first * (1 - ts.reshape(-1, 1)) + last * ts.reshape(-1, 1)).reshape(-1, len(first))
    outputs = values_of(case, thetas, *(part.numpy().astype(Long) for part in (draw.inputs, draw.training)))
    targets = draw.targets.numpy()
    losses = traced.measured.exact(outputs, targets if targets.dtype.kind == "i" else targets.astype(Long))
    outputs, losses = outputs.reshape(INTERVALS, PLACES, *outputs.shape[1:]), losses.reshape(INTERVALS, PLACES)

    counts = _of_certify(traced, draw, examples, (sigmas, outputs, losses), generator)
    again = traced.again(draw, examples)
    return {
        "outputs": INTERVALS * PLACES * EXAMPLES,
        "losses": 2 * INTERVALS * PLACES,
        "wrong verified": int((losses > again.astype(Long)[:, None]).sum()),
        "finite verified": int(np.isfinite(again).sum()),
        **counts,
    }


def _of_certify(
    traced: Traced, draw: Draw, examples: Examples, values: tuple[np.ndarray, ...], generator: np.random.Generator
) -> dict[str, int]:
    """Of the enclosures, the bounds that are made of them, and those of compiled code."""
    if traced.program is None:
        return {"outputs": 0, "losses": INTERVALS * PLACES}
    intervals, (sigmas, outputs, losses) = draw.intervals, values
    found = traced.enclosing(traced.outputs, draw, examples).outputs(intervals)
    nodes = [node.numpy().astype(Long)[:, None] for node in found.nodes]
    at = sigmas.reshape(-1, *(1,) * (outputs.ndim - 2))
    if len(nodes) == 2:
        centre = nodes[0] * (1 - at) / 2 + nodes[1] * (1 + at) / 2
    else:
        centre = nodes[0] * at * (at - 1) / 2 + nodes[1] * (1 - at**2) + nodes[2] * at * (at + 1) / 2
    excess = np.abs(outputs - centre) > found.radius.numpy().astype(Long)[:, None]
    with mpmath.workdps(60):
        exact = list(_held_to_digits(traced.case, draw, found, generator))
    enclosing = traced.enclosing(traced.program, draw, examples)
    mean = enclosing.bounds(intervals)
    bounds = (raised(mean) if traced.program.exponential else mean).numpy()
    network = None if traced.program.exponential else plain(enclosing)
    compiled = [
        Compiled(enclosing, network, dtype, generators).bounds(intervals).numpy()
        for dtype, generators in COMPILED
        if network is not None
    ]
    return {
        "wrong outputs": int(excess.any(-1).sum()),
        "outputs with 60 digits": len(exact),
        "wrong with 60 digits": exact.count(False),
        "losses under compiled bounds": len(compiled) * INTERVALS * PLACES,
        "wrong certified": int((losses > bounds.astype(Long)[:, None]).sum()),
        "wrong compiled": sum(int((losses > each.astype(Long)[:, None]).sum()) for each in compiled),
        "finite compiled": sum(int(np.isfinite(each).sum()) for each in compiled),
        "finite certified": int(np.isfinite(bounds).sum()),
    }


def _held_to_digits(case: Case, draw: Draw, found: Any, generator: np.random.Generator) -> Iterator[bool]:
    """Whether one output in each interval lies in its enclosure, in arithmetic of 60 digits."""
    for i in range(INTERVALS):
        row, sigma = int(generator.integers(EXAMPLES)), mpmath.mpf(float(generator.uniform(-1, 1)))
        low, high = (mpmath.mpf(float(edge[i])) for edge in (draw.intervals.low, draw.intervals.high))
        t = (low + high + (high - low) * sigma) / 2
        theta = [mpmath.mpf(a) * (1 - t) + mpmath.mpf(b) * t for a, b in zip(*draw.beads.tolist(), strict=True)]
        outputs = exact_outputs(case, theta, [mpmath.mpf(v) for v in draw.inputs[row].flatten().tolist()])
        if outputs is None or not bool(found.size[i].isfinite()):
            continue
        for k, value in enumerate(outputs):
            p = [mpmath.mpf(float(node[i, row, k])) for node in found.nodes]
            if len(p) == 2:
                centre = p[0] * (1 - sigma) / 2 + p[1] * (1 + sigma) / 2
            else:
                centre = p[0] * sigma * (sigma - 1) / 2 + p[1] * (1 - sigma**2) + p[2] * sigma * (sigma + 1) / 2
            yield bool(abs(value - centre) <= mpmath.mpf(float(found.radius[i, row, k])))


def campaign(seed: int, done: set[int], names: Sequence[str]) -> Iterator[dict[str, Any]]:
    """Draws of some cases, each a function of (seed, number), that are not done yet."""
    traced: dict[str, Traced] = {}
    number = 0
    while True:
        if number not in done:
            generator = np.random.default_rng([seed, number])
            name = names[number % len(names)]
            if name not in traced:
                traced[name] = Traced(CASES[name])
            mine = traced[name]
            draw, how = drawn(mine.case, mine.layout.size, mine.measured.targets, generator)
            with np.errstate(all="ignore"):
                found = check(mine, draw, generator)
                yield {"seed": seed, "number": number, "case": name, **how, **found, **mine.operators}
        number += 1


def main() -> None:
    """Draw until there are enough comparisons, or the time is over."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--checks", type=int, default=1_000_000)
    parser.add_argument("--seconds", type=float, default=2400.0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--cases", nargs="+", choices=CASES, default=list(CASES))
    parser.add_argument("--out", type=Path, default=Path("soundness_certificates.jsonl"))
    parser.add_argument("--summary", type=Path, help=f"such as {RESULTS}")
    options = parser.parse_args()
    torch.set_num_threads(1)
    rows = [json.loads(line) for line in options.out.read_text().splitlines()] if options.out.exists() else []
    started, checks = time.process_time(), sum(row["outputs"] + row["losses"] for row in rows)
    with options.out.open("a") as file:
        for row in campaign(options.seed, {row["number"] for row in rows}, options.cases):
            rows.append(row)
            file.write(json.dumps(row) + "\n")
            file.flush()
            checks += row["outputs"] + row["losses"]
            if checks >= options.checks or time.process_time() - started > options.seconds:
                break
    kept = {key for row in rows for key, value in row.items() if isinstance(value, int)} - {"seed", "number"}
    summary = {
        "seed": options.seed,
        "draws": len(rows),
        **{key: sum(row.get(key, 0) for row in rows) for key in sorted(kept)},
        "losses certified": INTERVALS * PLACES * sum(row["outputs"] > 0 for row in rows),
        "losses verified": INTERVALS * PLACES * len(rows),
        "kinds": len({row["case"] for row in rows}),
        **{
            key: sorted({op for row in rows for op in row[key]} & set(known))
            for key, known in (("certified by", RULES), ("verified by", OPERATIONS))
        },
    }
    print(summary)
    if options.summary:
        options.summary.write_text(json.dumps(summary, indent=1) + "\n")


if __name__ == "__main__":
    main()
