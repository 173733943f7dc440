r"""Products of matrices both of which depend on θ: scores of attention, and what it gathers.

X(σ) Y(σ) is a polynomial of degree 4: the parabola through the nodes' products, (S_x T_y + T_x S_y)(σ³ − σ) and
T_x T_y (σ⁴ − σ²), with S the slopes and T the highest coefficients. Errors are bounded number by number and by Cauchy
and Schwarz over the summed axis, those of a whole row by the triangle inequality.
"""

from __future__ import annotations

import torch
from torch import Tensor

from weightstring.proof.enclose.enclosure import CUBIC, Enclosure, measured
from weightstring.proof.enclose.groups import Axes, length
from weightstring.proof.enclose.rounding import FLOOR, gamma


def matrix_product(x: Enclosure, y: Enclosure) -> Enclosure:
    """(I, n, ..., a, k) times (I, n, ..., k, b), whose other axes broadcast."""
    nodes = tuple(p @ q for p, q in zip(x.nodes, y.nodes, strict=True))
    if x.degree == 1:
        square = x.top @ y.top  # of σ², which exceeds the line by square·(σ² − 1)
        nodes, remainder = tuple(node - square / 2 for node in nodes), square.abs() / 2
    else:
        cubic = x.slope @ y.top + x.top @ y.slope
        remainder = CUBIC * cubic.abs() + (x.top @ y.top).abs() / 4
    left, right = x.largest(), y.largest()
    radius = left @ y.radius + x.radius @ (right + y.radius)
    norm = None
    if x.norm is not None or y.norm is not None:
        across = longest(x, (-1,)) * y.over((-2,)) + x.over((-1,)) * (longest(y, (-2,)) + y.over((-2,)))
        radius = torch.minimum(radius, across)
        rows = y.over((-1,))
        norm = left @ rows.expand(*y.shape[:-1], 1) + x.radius @ (longest(y, (-1,)) + rows) + length(remainder, (-1,))
    terms = x.shape[-1]
    rounding = gamma(terms) * (4 * terms * x.size * y.size + FLOOR)
    return measured(nodes, radius + remainder, rounding, norm)


def longest(x: Enclosure, axes: Axes) -> Tensor:
    """No less than the polynomials' length over axes, anywhere in the interval."""
    ends = torch.maximum(length(x.nodes[0], axes), length(x.nodes[-1], axes))
    return ends if x.degree == 1 else ends + length(x.top, axes)
