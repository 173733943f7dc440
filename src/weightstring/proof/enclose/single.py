r"""Products in float32 that only ever widen a radius, twice as fast, with what float32 may have made of them.

Of a layer with weights W₀ + σ V, an activation's radius E is multiplied by |W| ≥ |W(σ)|, and its highest coefficient c
by V. Neither product has to be right, as long as the radius that comes out is not too small. With u = 2⁻²⁴ and products
of n terms summed in any order (Higham 2002, section 3.5), a computed fl(x·y) has

    |fl(x·y) − x·y| ≤ γ_{n+2} Σ|x_k||y_k| + η,    γ_n = n u / (1 − n u),

the two further roundings being those of casting x and y. The sum is the product itself for |W| E, which is therefore
taken times 1 + γ; it is at most ‖V‖₂ ‖c‖₂ for V c (Cauchy and Schwarz), which is added. η stands for underflow: at most
2⁻¹²⁶ for each cast, product and sum, times the factor that it meets.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache

import torch
from torch import Tensor

from weightstring.proof.enclose.rounding import SPARE

UNIT = 2.0**-24
"""u of float32."""

SMALL, LARGE = 2.0**-20, 2.0**40
"""Sizes between which numbers are taken to float32: their products are far from where it under- or overflows."""

UNDERFLOW = 2.0**-80
"""No less than what underflow takes of each term, for sizes and sums of weights up to ``LARGE``: at most four times
2⁻¹²⁶ · 2⁴⁰."""

SQUARED_AWAY = 2.0**-62
"""Numbers whose squares are normal in float32; what is smaller may be missing from a norm."""


def gamma(count: int) -> float:
    """γ_n of float32, with twice the room: sums of ``count`` products and what is done to them afterwards."""
    n = 2 * (count + SPARE) * UNIT
    return n / (1 - n) if n < 0.5 else math.inf


def carried(values: Tensor, size: Tensor, sums: Tensor) -> bool:
    """Whether the radius of activations can be found in float32.

    Args:
        values: (I, n, ..., in) on the processor whose products are known to be sums in float32.
        size: (I,) of the activations.
        sums: (I, out) of the absolute weights.
    """
    low, high = torch.aminmax(torch.cat([size, sums.amax(1)]))
    fits = float(low) >= SMALL and float(high) <= LARGE
    return fits and gamma(values.shape[-1]) * math.sqrt(values[0, 0].numel()) <= 1 / 16 and _exact(values.device)


def _exact(device: torch.device) -> bool:
    """Whether float32 products are those of float32, not of a coarser dtype."""
    backends = (torch.backends, torch.backends.mkldnn, getattr(torch.backends.mkldnn, "matmul", None))
    allowed = {getattr(backend, "fp32_precision", "none") for backend in backends}
    try:
        highest = torch.get_float32_matmul_precision() == "highest"
    except RuntimeError:  # torch does not say where it was set in two ways
        return False
    return device.type == "cpu" and highest and allowed <= {"none", "ieee"} and _as_stated()


@cache
def _as_stated() -> bool:
    """Whether a product of this process is as near as float32 must be: environment variables can make it coarser."""
    draw = torch.Generator().manual_seed(0)
    x, y = torch.randn(1, 64, 256, generator=draw), torch.randn(1, 256, 128, generator=draw)
    exact, magnitude = torch.bmm(x.double(), y.double()), torch.bmm(x.abs().double(), y.abs().double())
    return bool(((torch.bmm(x, y) - exact).abs() <= 256 * UNIT * magnitude).all())


@dataclass(frozen=True, eq=False)
class Single:
    """Weights in float32, for the radius of a fully connected layer's output.

    Args:
        largest: (I, out, in) |W|, times 1 + γ.
        slope: (I, out, in) V.
        lost: (I, 1, out) γ ‖V‖₂ of each output.
        share: by how much of |V c| the radius grows.
        count: terms of a product.
    """

    largest: Tensor
    slope: Tensor
    lost: Tensor
    share: float
    count: int

    @classmethod
    def of(cls, largest: Tensor, slope: Tensor, share: float) -> Single:
        """Of weights in float64."""
        count = slope.shape[2]
        more = 1 + gamma(count)
        lost = gamma(count) * more * torch.linalg.vector_norm(slope, dim=2).unsqueeze(1)
        return cls((largest * more).float(), slope.float(), lost.float(), share, count)

    def widened(self, radius: Tensor, top: Tensor | None) -> tuple[Tensor, Tensor | None]:
        """(I, n, out) no less than |W| E + share·|V c| with η left out, and V c in float32; each None without c."""
        flat = torch.bmm(radius.flatten(1, -2).float(), self.largest.mT)
        shape = (*radius.shape[:-1], flat.shape[-1])
        if top is None:
            return flat.double().view(shape), None
        coefficients = top.flatten(1, -2).float()
        remainder = torch.bmm(coefficients, self.slope.mT)
        norms = torch.linalg.vector_norm(coefficients, dim=2, keepdim=True)
        norms = norms + math.sqrt(self.count) * SQUARED_AWAY
        flat.add_(remainder.abs(), alpha=self.share * (1 + gamma(self.count))).addcmul_(norms, self.lost)
        return flat.double().view(shape), remainder.view(shape)

    @property
    def underflow(self) -> float:
        """η."""
        return self.count * UNDERFLOW
