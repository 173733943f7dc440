r"""Smooth activations: interpolation at the nodes, with the remainder of the third derivative.

For f(σ) = φ(p(σ)) and the parabola through its values at −1, 0, 1 the error is at most max|f'''|/6 · max|σ³ − σ|, with

    f''' = φ'''·p'³ + 3 φ''·p'·p''.

The derivatives are bounded near the middle of the interval, φ'' ≤ |φ''(mid)| + w·max|φ'''| for values within w of it,
and never above their largest value anywhere. An input's own radius is multiplied by the largest |φ'| nearby.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from weightstring.proof.enclose.enclosure import CUBIC, Enclosure, measured
from weightstring.proof.enclose.groups import length
from weightstring.proof.enclose.rounding import ELEMENTWISE, FLOOR

Derivatives = Callable[[Tensor], tuple[Tensor, Tensor, Tensor]]


@dataclass(frozen=True)
class Smooth:
    """A function of one variable and what its derivatives reach.

    Args:
        value: φ.
        derivatives: φ', φ'', φ''' at once.
        bounds: no less than max |φ'|, |φ''|, |φ'''| and |φ''''| anywhere.
        limit: no less than |φ|, where it is bounded.
        at_zero: no less than |φ(0)|: what rounding is relative to where the argument is small.
    """

    value: Callable[[Tensor], Tensor]
    derivatives: Derivatives
    bounds: tuple[float, float, float, float]
    limit: float = math.inf
    at_zero: float = 0.0

    def __call__(self, x: Enclosure) -> Enclosure:
        """φ of an enclosure."""
        middle = x.nodes[1] if x.degree == 2 else (x.nodes[0] + x.nodes[1]) / 2
        slope = (x.nodes[-1] - x.nodes[0]).abs() / 2
        curve = x.top.abs() if x.degree == 2 else torch.zeros_like(slope)
        reach = slope + curve  # |p − p(0)|
        first, second, third = (derivative.abs() for derivative in self.derivatives(middle))
        steepest = (first + self.bounds[1] * (reach + x.radius)).clamp_(max=self.bounds[0])
        second = (second + self.bounds[2] * reach).clamp_(max=self.bounds[1])
        rate = slope + 2 * curve  # |p'|
        if x.degree == 2:
            third = (third + self.bounds[3] * reach).clamp_(max=self.bounds[2])
        error = remainder_of(x, rate, second, third)
        flat = self.value(middle)
        # On a wide interval a constant is the better polynomial.
        around = torch.minimum(self.bounds[0] * (reach + x.radius), flat.abs() + self.limit)
        constant = around < error + steepest * x.radius
        nodes = tuple(torch.where(constant, flat, self.value(node)) for node in x.nodes)
        radius = torch.where(constant, around, error + steepest * x.radius)
        # |φ(z)| ≤ |φ(0)| + |z| max|φ'|, and derivatives of order 1 come with one factor of |z| at least.
        size = 4 * (self.at_zero + (1 + self.bounds[0]) * x.size)
        norm = None
        if x.norm is not None:
            remainder = torch.where(constant, self.bounds[0] * reach, error)
            norm = steepest.amax(x.axes, keepdim=True) * x.norm + length(remainder, x.axes)
        found = measured(nodes, radius, ELEMENTWISE * size, norm)
        if math.isfinite(self.limit):
            # Where rounding leaves nothing of φ, it is still bounded.
            lost = found.radius > self.limit
            if bool(lost.any()):
                nodes = tuple(node.where(~lost, 0.0) for node in nodes)
                return measured(nodes, found.radius.where(~lost, self.limit))
        return found


def remainder_of(x: Enclosure, rate: Tensor, second: Tensor, third: Tensor) -> Tensor:
    """What interpolation at the nodes leaves of φ(p(σ)): |p'| is at most ``rate``, φ's derivatives as given."""
    if x.degree == 1:
        return second * rate**2 / 2
    return (third * rate**3 + 6 * second * rate * x.top.abs()) * (CUBIC / 6)


def _of_tanh(z: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    y = z.tanh()
    first = 1 - y * y
    return first, -2 * y * first, first * (6 * y * y - 2)


def _of_sigmoid(z: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    y = z.sigmoid()
    first = y * (-z).sigmoid()  # 1 − y would be all rounding where z is large
    return first, first * (1 - 2 * y), first * (1 - 6 * first)


def _of_silu(z: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    first, second, third = _of_sigmoid(z)
    return z.sigmoid() + z * first, 2 * first + z * second, 3 * second + z * third


def _of_gelu(z: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    z = z.clamp(-40, 40)  # beyond, the density is 0 as far as float64 goes
    density = (-z * z / 2).exp() / math.sqrt(2 * math.pi)
    below = torch.special.ndtr(z)
    return below + z * density, density * (2 - z * z), density * (z**3 - 4 * z)


def _of_sine(z: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    return z.cos(), -z.sin(), -z.cos()


def _of_cosine(z: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    return -z.sin(), -z.cos(), z.sin()


TANH = Smooth(torch.tanh, _of_tanh, (1.0, 0.7699, 2.0, 4.0860), limit=1.0)
SIGMOID = Smooth(torch.sigmoid, _of_sigmoid, (0.25, 0.09623, 0.125, 0.1277), limit=1.0, at_zero=0.5)
SILU = Smooth(torch.nn.functional.silu, _of_silu, (1.0999, 0.5, 0.3098, 0.5), limit=math.inf)
GELU = Smooth(torch.nn.functional.gelu, _of_gelu, (1.1290, 0.7979, 0.7998, 1.5958), limit=math.inf)
SINE = Smooth(torch.sin, _of_sine, (1.0, 1.0, 1.0, 1.0), limit=1.0)
COSINE = Smooth(torch.cos, _of_cosine, (1.0, 1.0, 1.0, 1.0), limit=1.0, at_zero=1.0)


def softplus(x: Enclosure, beta: float = 1.0, threshold: float = 20.0) -> Enclosure:
    """log(1 + exp(βx)) / β, and x where βx > threshold: as torch does, log(1 + exp(−threshold)) / β away at most."""

    def derivatives(z: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        first, second, _ = _of_sigmoid(z)
        return z.sigmoid(), first, second

    def value(z: Tensor) -> Tensor:
        return torch.nn.functional.softplus(z, threshold=700.0)  # above, its last bit is that of z

    whole = Smooth(value, derivatives, (1.0, 0.25, 0.09623, 0.125), at_zero=1.0)
    inner = x.scaled(beta)
    smooth = whole(inner).scaled(1 / beta)
    # Below the threshold it is the smooth function, above it the identity; on both sides of it, somewhere between.
    low, high = inner.range()
    above, doubtful = low > threshold, (high > threshold) & (low <= threshold)
    away = (max(-threshold, 0.0) + math.log1p(math.exp(-abs(threshold)))) * (1 + ELEMENTWISE) / beta + FLOOR
    nodes = tuple(torch.where(above, mine, its) for mine, its in zip(x.nodes, smooth.nodes, strict=True))
    radius = torch.where(above, x.radius, torch.where(doubtful, smooth.radius + away, smooth.radius))
    return Enclosure(nodes, radius, smooth.size + 2 * x.size + away)


def gelu_by_tanh(x: Enclosure) -> Enclosure:
    """½x(1 + tanh(√(2/π)(x + 0.044715 x³)))."""
    inside = (x + (x * x * x).scaled(0.044715)).scaled(math.sqrt(2 / math.pi))
    return x.scaled(0.5) * TANH(inside).shifted(1.0)
