r"""Upper bounds of polynomials over intervals, from their values.

A polynomial on [0, 1] lies below its largest Bernstein coefficient, and that is second order near in the width of
the interval (Farouki 2012).
"""

from __future__ import annotations

from math import comb

import torch
from jaxtyping import Float64
from torch import Tensor

UNIT = 2.0**-53


def upper_bound(values: Float64[Tensor, "d_plus_1 I"]) -> Float64[Tensor, " I"]:
    """No less than polynomials of degree d on [0, 1], from their values at 0, 1/d, …, 1.

    Exact up to the rounding of ``values``, which it multiplies by at most some tens.

    >>> t = torch.linspace(0, 1, 3, dtype=torch.float64)
    >>> upper_bound((t * (1 - t)).unsqueeze(1))
    tensor([0.5000], dtype=torch.float64)
    """
    degree = len(values) - 1
    at = torch.linspace(0, 1, degree + 1, dtype=torch.float64)
    basis = torch.stack([comb(degree, k) * at**k * (1 - at) ** (degree - k) for k in range(degree + 1)], 1)
    coefficients: Tensor = torch.linalg.solve(basis, values.cpu())
    return (coefficients.amax(0) + 256 * UNIT * coefficients.abs().amax(0)).to(values.device)
