"""Factors that scale units, in by c and out by 1/c: balanced ones, and those that bring one network nearest another."""

from __future__ import annotations

from collections.abc import Collection

import torch
from jaxtyping import Float64
from torch import Tensor

from weightstring.arrays import Theta
from weightstring.symmetry.blocks import Block
from weightstring.symmetry.moves import Move, outers_of
from weightstring.symmetry.spec import Symmetry

SWEEPS = 200
"""Rounds over all groups after which the factors are taken as they are."""

SETTLED = 1e-8
"""Change of the logarithms of factors in a round, at which they have converged."""

Sums = dict[int, Float64[Tensor, "..."]]
"""For exponents 1 (produced) and −1 (consumed): a sum over all that each unit has there."""


def canonical(symmetry: Symmetry, theta: Theta, signed: Collection[str] = ()) -> Move:
    """Factors that make all rescaled copies of a model the same one, up to rounding.

    Each unit gets as large incoming as outgoing weights, c⁴ = ‖out‖² / ‖in‖², one group after the other until
    nothing changes. Where signs may change, those of a vector that the units have for themselves, such as the weights
    of a LayerNorm, become positive.

    Args:
        symmetry: whose factors.
        theta: the model (P,).
        signed: groups of scales whose signs are left alone.
    """
    factors = _ones(symmetry)
    now = theta.to(torch.float64)
    for name, group in symmetry.scales.groups.items():
        if (
            group.negative
            and not group.fixed
            and name not in signed
            and (vector := _own_vector(symmetry, name, now)) is not None
        ):
            factors[name] = torch.where(vector < 0, -1.0, 1.0).to(torch.float64).cpu()
    now = Move(symmetry, factors=factors)(now)
    for _ in range(SWEEPS):
        change = 0.0
        for name, group in symmetry.scales.groups.items():
            if group.fixed or not group.positive:
                continue
            norms = _sums(symmetry, name, now, now)
            usable = (norms[1] > 0) & (norms[-1] > 0)
            c = torch.where(usable, norms[-1] / torch.where(usable, norms[1], 1.0), 1.0) ** 0.25
            now = Move(symmetry, factors={name: c})(now)
            factors[name] = factors[name] * c
            change = max(change, float(c.log().abs().max()))
        if change < SETTLED:
            break
    return Move(symmetry, factors=factors)


def _own_vector(symmetry: Symmetry, name: str, theta: Theta) -> Tensor | None:
    """The first vector that has nothing but a group's units, where there is one."""
    views = symmetry.layout.views(theta)
    for block in symmetry.scaled:
        if len(block.factors) == 1 and block.factors[0].group == name:
            return block.view(views[block.parameter])
    return None


def nearest(symmetry: Symmetry, a: Theta, b: Theta) -> Move:
    """Factors that bring ``b`` as near to ``a`` as coordinate descent finds, 1 where that is what rounding leaves.

    For one unit, with all others held, the squared distance is α c² − 2β c + γ/c² − 2δ/c up to a constant, where
    α = ‖b_in‖², β = ⟨a_in, b_in⟩, γ = ‖b_out‖² and δ = ⟨a_out, b_out⟩: least at a root of α c⁴ − β c³ + δ c − γ.

    Args:
        symmetry: whose factors.
        a: the model to come near to (P,).
        b: the model to be scaled (P,).
    """
    rounding = 64 * torch.finfo(b.dtype).eps
    target, start = a.to(torch.float64), b.to(torch.float64)
    factors = _ones(symmetry)
    now = start
    for _ in range(SWEEPS):
        change = 0.0
        for name, group in symmetry.scales.groups.items():
            if group.fixed:
                continue
            c = _nearest_of(symmetry, name, target, now)
            moved = Move(symmetry, factors={name: c})(now)
            if float((moved - target).norm()) >= float((now - target).norm()):
                continue  # of a group that a weight has twice, the formula is only of first order
            change = max(change, float((c - 1).abs().max()))
            now, factors[name] = moved, factors[name] * c
        if change < SETTLED:
            break
    exact = {name: torch.where((c - 1).abs() < rounding, 1.0, c) for name, c in factors.items()}
    return Move(symmetry, factors={name: c for name, c in exact.items() if bool((c != 1).any())})


def _ones(symmetry: Symmetry) -> dict[str, Tensor]:
    scales = symmetry.scales
    return {
        name: torch.ones((*scales.copies(name), group.size), dtype=torch.float64)
        for name, group in scales.groups.items()
        if not group.fixed
    }


def _nearest_of(symmetry: Symmetry, name: str, a: Theta, b: Theta) -> Float64[Tensor, ...]:
    group = symmetry.scales.groups[name]
    sizes, shared = _sums(symmetry, name, b, b), _sums(symmetry, name, a, b)
    return _least(sizes[1], shared[1], sizes[-1], shared[-1], group.positive, group.negative)


def _least(alpha: Tensor, beta: Tensor, gamma: Tensor, delta: Tensor, positive: bool, negative: bool) -> Tensor:
    """The factor c that makes each unit's distance least."""

    def distance(c: Tensor) -> Tensor:
        ahead = (coefficient.unsqueeze(-1) for coefficient in (alpha, beta, gamma, delta))
        al, be, ga, de = ahead
        return al * c**2 - 2 * be * c + ga / c**2 - 2 * de / c

    ones = torch.ones_like(alpha).unsqueeze(-1)
    if not positive:
        candidates = torch.cat([ones, -ones], -1)
        return candidates.gather(-1, distance(candidates).argmin(-1, keepdim=True)).squeeze(-1)
    # A unit that nothing feeds, or that feeds nothing, has no best scale.
    usable = (alpha > 0) & (gamma > 0)
    scale = torch.where(usable, alpha, 1.0)
    companion = torch.zeros((*alpha.shape, 4, 4), dtype=torch.float64)
    companion[..., 0, 0], companion[..., 0, 2], companion[..., 0, 3] = beta / scale, -delta / scale, gamma / scale
    for row in range(1, 4):
        companion[..., row, row - 1] = 1.0
    roots = torch.linalg.eigvals(companion)
    real = (roots.imag.abs() <= 1e-9 * roots.abs()) & (roots.real != 0) & usable.unsqueeze(-1)
    if not negative:
        real &= roots.real > 0
    candidates = torch.cat([ones, torch.where(real, roots.real, 1.0)], -1)
    return candidates.gather(-1, distance(candidates).argmin(-1, keepdim=True)).squeeze(-1)


def _sums(symmetry: Symmetry, name: str, a: Theta, b: Theta) -> Sums:
    """Σ a·b over all that each unit has, where it is produced and where it is consumed."""
    scales = symmetry.scales
    shape = (*scales.copies(name), scales.groups[name].size)
    sums = {exponent: torch.zeros(shape, dtype=torch.float64) for exponent in (1, -1)}
    views = [symmetry.layout.views(x) for x in (a, b)]
    for block in symmetry.scaled:
        product: Tensor | None = None
        for dim in block.dims(name):
            if product is None:
                product = block.view(views[0][block.parameter]) * block.view(views[1][block.parameter])
            sums[block.factors[dim].exponent] += _per_unit(product, block, dim, symmetry).cpu()
    return sums


def _per_unit(product: Tensor, block: Block, dim: int, symmetry: Symmetry) -> Tensor:
    """A block summed over all but one group's dimension and those of the groups that it is over."""
    dims = [*outers_of(block, dim, symmetry.scales), dim]
    rest = [other for other in range(product.ndim) if other not in dims]
    return product.permute(*dims, *rest).flatten(len(dims)).sum(-1) if rest else product.permute(dims)
