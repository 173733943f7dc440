"""The networks of experiments/soundness_certificates.py, in torch and in extended precision."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import partial
from itertools import pairwise
from typing import Any, NamedTuple

import mpmath
import numpy as np
from soundness_layers import LAYERS, sizes_of
from soundness_operators import OPERATORS
from torch import Tensor, nn

Long = np.longdouble
CHUNK, CHUNKS = 5, (0, 4, 9)
"""The most training inputs at a time, of nine, and where their parts begin and end."""

EPS = 2.0**-10
"""Of BatchNorm."""

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
    "gelu_tanh": lambda x: x / 2 * (1 + np.tanh(np.sqrt(2 / Long(pi())) * (x + Long(0.044715) * x**3))),
    "softplus": _softplus,
    "sin": np.sin,
    "square": np.square,
    "abs": np.abs,
    "gate": lambda x: x * np.maximum(x, Long(0)) / 3 + x,
}


def pi() -> np.longdouble:
    """π in extended precision."""
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
