"""Factors that scale units, in by c and out by 1/c: balanced ones, and those that bring one network nearest another."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass

import torch
from jaxtyping import Float64
from torch import Tensor

from weightstring.arrays import Theta
from weightstring.symmetry.blocks import Block
from weightstring.symmetry.maps import outers_of
from weightstring.symmetry.moves import Move, along
from weightstring.symmetry.spec import Symmetry

SWEEPS = 200
"""Rounds over all groups after which the factors are taken as they are."""

SETTLED = 1e-8
"""Change of the logarithms of factors in a round, at which they have converged."""

Sums = dict[int, Float64[Tensor, "..."]]
"""For exponents 1 (produced) and −1 (consumed): a sum over all that each unit has there."""


@dataclass(eq=False)
class Scaled:
    """A model with factors on its units, made block by block: θ itself is neither copied nor changed.

    Args:
        symmetry: whose factors.
        theta: the model (P,).
        factors: by group.
    """

    symmetry: Symmetry
    theta: Theta
    factors: Mapping[str, Tensor]

    def __post_init__(self) -> None:
        self._views = self.symmetry.layout.views(self.theta)
        self._alone: dict[tuple[int, bool], Tensor] = {}

    def part(self, block: Block, factors: Mapping[str, Tensor]) -> Float64[Tensor, ...]:
        """A block with factors, a copy."""
        part = block.view(self._views[block.parameter]).to(torch.float64, copy=True)
        for name in sorted(block.groups & factors.keys()):
            for dim in block.dims(name):
                values = along(block, dim, self.symmetry.scales, factors[name]).to(part)
                part.mul_(values if block.factors[dim].exponent == 1 else 1 / values)
        return part

    def rounded(self) -> Theta:
        """The model (P,) with its factors, a copy in its dtype: each number is rounded once."""
        layout = self.symmetry.layout
        return layout.joined((self.parameter(entry.name) for entry in layout.entries), self.theta.device)

    def parameter(self, name: str) -> Tensor:
        """A parameter of that model; a copy where it has factors."""
        names = next(entry.names for entry in self.symmetry.layout.entries if name in entry.names)
        blocks = [block for block in self.symmetry.scaled if block.parameter in names]
        scaled = self._views[name].clone() if blocks else self._views[name]
        for block in blocks:
            block.view(scaled).copy_(self.part(block, self.factors))
        return scaled

    def sums(self, name: str, target: Theta | None = None) -> Sums:
        """Σ b·b over all that each unit of a group has, where it is produced and where it is consumed; or Σ a·b."""
        scales = self.symmetry.scales
        shape = (*scales.copies(name), scales.groups[name].size)
        sums = {exponent: torch.zeros(shape, dtype=torch.float64) for exponent in (1, -1)}
        for number, block in enumerate(self.symmetry.scaled):
            dims = block.dims(name)
            if dims and len([each for factor in block.factors if (each := factor.group) in self.factors]) == 1:
                sums[block.factors[dims[0]].exponent] += self._of_one_group(number, block, dims[0], target)
                continue
            product = self._product(block, self.factors, target) if dims else None
            for dim in dims:
                assert product is not None
                sums[block.factors[dim].exponent] += _per_unit(product, block, dim, self.symmetry).cpu()
        return sums

    def _of_one_group(self, number: int, block: Block, dim: int, target: Theta | None) -> Tensor:
        """The same of a block that no other group has: its sums without factors never change."""
        key = number, target is not None
        if key not in self._alone:
            self._alone[key] = _per_unit(self._product(block, {}, target), block, dim, self.symmetry).cpu()
        name = block.factors[dim].group
        assert name is not None
        power = block.factors[dim].exponent * (2 if target is None else 1)
        return self._alone[key] * self.factors[name] ** power

    def _product(self, block: Block, factors: Mapping[str, Tensor], target: Theta | None) -> Tensor:
        part = self.part(block, factors)
        if target is None:
            return part.square_()
        return part.mul_(block.view(self.symmetry.layout.views(target)[block.parameter]))

    def distance_squared(self, target: Theta, name: str, factors: Mapping[str, Tensor]) -> float:
        """‖b − a‖² of all that has a group, with these factors."""
        views = self.symmetry.layout.views(target)
        apart = (
            self.part(block, factors).sub_(block.view(views[block.parameter])).square_().sum()
            for block in self.symmetry.scaled
            if name in block.groups
        )
        return math.fsum(map(float, apart))


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
    for name, group in symmetry.scales.groups.items():
        if (
            group.negative
            and not group.fixed
            and name not in signed
            and (block := own_vector(symmetry, name)) is not None
        ):
            vector = block.view(symmetry.layout.views(theta)[block.parameter])
            factors[name] = torch.where(vector < 0, -1.0, 1.0).to(torch.float64).cpu()
    now = Scaled(symmetry, theta, factors)
    for _ in range(SWEEPS):
        change = 0.0
        for name, group in symmetry.scales.groups.items():
            if group.fixed or not group.positive:
                continue
            norms = now.sums(name)
            usable = (norms[1] > 0) & (norms[-1] > 0)
            c = torch.where(usable, norms[-1] / torch.where(usable, norms[1], 1.0), 1.0) ** 0.25
            factors[name] = factors[name] * c
            change = max(change, float(c.log().abs().max()))
        if change < SETTLED:
            break
    return Move(symmetry, factors=factors)


def own_vector(symmetry: Symmetry, name: str) -> Block | None:
    """The first vector that has nothing but a group's units, where there is one."""
    return next((block for block in symmetry.scaled if [each.group for each in block.factors] == [name]), None)


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
    factors = _ones(symmetry)
    now = Scaled(symmetry, b, factors)
    twice = {name for block in symmetry.scaled for name in block.groups if len(block.dims(name)) > 1}
    for _ in range(SWEEPS):
        change = 0.0
        for name, group in symmetry.scales.groups.items():
            if group.fixed:
                continue
            sizes, shared = now.sums(name), now.sums(name, a)
            c = _least(sizes[1], shared[1], sizes[-1], shared[-1], group.positive, group.negative)
            scaled = {**factors, name: factors[name] * c}
            if name in twice:  # for which the formula is only of first order
                before, after = (now.distance_squared(a, name, each) for each in (factors, scaled))
                if not after < before:
                    continue
            change = max(change, float((c - 1).abs().max()))
            factors[name] = scaled[name]
        if change < min(SETTLED, 100 * rounding):
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


def _least(alpha: Tensor, beta: Tensor, gamma: Tensor, delta: Tensor, positive: bool, negative: bool) -> Tensor:
    """The factor c that makes each unit's distance least."""

    def apart(c: Tensor) -> Tensor:
        return _apart(c, *(coefficient.unsqueeze(-1) for coefficient in (alpha, beta, gamma, delta)))

    ones = torch.ones_like(alpha).unsqueeze(-1)
    if not positive:
        candidates = torch.cat([ones, -ones], -1)
        return candidates.gather(-1, apart(candidates).argmin(-1, keepdim=True)).squeeze(-1)
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
    # Not compared with 1: near the minimum distances differ by less than their rounding, long before factors do.
    candidates = torch.where(real, roots.real, 1.0)
    distances = torch.where(real, apart(candidates), torch.inf)
    return candidates.gather(-1, distances.argmin(-1, keepdim=True)).squeeze(-1)


def _apart(c: Tensor, alpha: Tensor, beta: Tensor, gamma: Tensor, delta: Tensor) -> Tensor:
    """Each unit's squared distance with a factor c, up to a constant."""
    return alpha * c**2 - 2 * beta * c + gamma / c**2 - 2 * delta / c


def _per_unit(product: Tensor, block: Block, dim: int, symmetry: Symmetry) -> Tensor:
    """A block summed over all but one group's dimension and those of the groups that it is over."""
    dims = [*outers_of(block, dim, symmetry.scales), dim]
    rest = [other for other in range(product.ndim) if other not in dims]
    return product.permute(*dims, *rest).flatten(len(dims)).sum(-1) if rest else product.permute(dims)
