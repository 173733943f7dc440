"""Elements of a symmetry group: permutations of units, and factors that scale them, applied to θ."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import torch
from jaxtyping import Float64, Int64
from torch import Tensor

from weightstring.arrays import BLOCK, Theta
from weightstring.randomness import generator
from weightstring.symmetry.blocks import Block
from weightstring.symmetry.spec import Spec, Symmetry

Permutations = Mapping[str, Int64[Tensor, "..."]]
"""For each group (…, n): unit i of what comes out is unit ``permutation[…, i]`` of what went in. The leading axes are
the units of the groups that it is over, as they lie in what comes out."""

Factors = Mapping[str, Float64[Tensor, "..."]]
"""For each group (…, n): by what each unit is multiplied where it is produced, after the permutation."""


@dataclass(frozen=True, eq=False)
class Move:
    """A permutation of units and then factors, which leave the network's function unchanged.

    Args:
        symmetry: whose.
        permutations: by group; a group left out stays.
        factors: by group; likewise.
    """

    symmetry: Symmetry
    permutations: Permutations = field(default_factory=dict)
    factors: Factors = field(default_factory=dict)

    def __call__(self, theta: Theta) -> Theta:
        """The moved model (P,), a copy."""
        return self.apply_(theta.clone())

    def apply_(self, moved: Theta) -> Theta:
        """Move a model (P,) in place."""
        views = self.symmetry.layout.views(moved)
        for block in self.symmetry.permuted:
            for part in self._apart(block, block.view(views[block.parameter])):
                part.copy_(permuted(part, block, self.symmetry.permutations, self.permutations))
        for block in self.symmetry.scaled:
            part = block.view(views[block.parameter])
            for name in sorted(block.groups & self.factors.keys()):
                for dim in block.dims(name):
                    factors = along(block, dim, self.symmetry.scales, self.factors[name]).to(part)
                    part.mul_(factors if block.factors[dim].exponent == 1 else 1 / factors)
        return moved

    def _apart(self, block: Block, part: Tensor) -> Sequence[Tensor]:
        """A block in parts of few numbers that are permuted by themselves, as far as a dimension stays as it is."""
        spec, dims = self.symmetry.permutations, range(part.ndim)
        moving = {dim for dim in dims if block.factors[dim].group in self.permutations}
        still = [dim for dim in dims if dim not in moving.union(*(outers_of(block, each, spec) for each in moving))]
        if not still or part.numel() <= BLOCK:
            return [part]
        longest = max(still, key=lambda dim: part.shape[dim])
        return torch.split(part, max(1, BLOCK * part.shape[longest] // part.numel()), longest)


def along(block: Block, dim: int, spec: Spec, values: Tensor) -> Tensor:
    """Values (…, n) of a group's units, shaped so that they broadcast over a block's dimension ``dim``."""
    name = block.factors[dim].group
    assert name is not None
    dims = [*outers_of(block, dim, spec), dim]
    order = sorted(range(len(dims)), key=dims.__getitem__)
    shape = [1] * len(block.factors)
    for axis, position in enumerate(dims):
        shape[position] = values.shape[axis]
    return values.permute(order).reshape(shape)


def outers_of(block: Block, dim: int, spec: Spec) -> list[int]:
    """The dimensions on whose indices the permutation along ``dim`` depends, in the order of the outer groups."""
    name = block.factors[dim].group
    dims = [block.outer_dim(dim, outer) for outer in spec.groups[name].over] if name is not None else []
    assert None not in dims  # checked when the specification was made
    return [index for index in dims if index is not None]


def permuted(part: Tensor, block: Block, spec: Spec, permutations: Permutations) -> Tensor:
    """A block with its units permuted, outer ones first; a copy where any is."""
    for name in sorted(block.groups & permutations.keys(), key=lambda group: (len(spec.groups[group].over), group)):
        for dim in block.dims(name):
            order = permutations[name].to(part.device)
            if order.ndim == 1:
                part = part.index_select(dim, order)
            else:
                part = part.take_along_dim(along(block, dim, spec, order), dim)
    return part


def random_permutation(symmetry: Symmetry, seed: int, *, even: bool = False) -> Move:
    """A random permutation of every group's units.

    Args:
        symmetry: the groups.
        seed: of the draw.
        even: draw only even permutations, which the rotation path needs.
    """
    permutations: dict[str, Tensor] = {}
    for name, group in symmetry.permutations.groups.items():
        if group.fixed:
            continue
        copies = symmetry.permutations.copies(name)
        draw = generator(seed, "permutation", name)
        rows = torch.stack([torch.randperm(group.size, generator=draw) for _ in range(math.prod(copies))])
        if even:
            for row in rows:
                if odd(row):
                    row[:2] = row[:2].flip(0)
        permutations[name] = rows.reshape(*copies, group.size)
    return Move(symmetry, permutations)


def odd(permutation: Int64[Tensor, " n"]) -> bool:
    """Whether a permutation is a product of an odd number of exchanges."""
    return (len(permutation) - len(cycles(permutation))) % 2 == 1


def cycles(permutation: Int64[Tensor, " n"]) -> list[list[int]]:
    """The cycles of a permutation, those of length 1 among them.

    >>> cycles(torch.tensor([1, 0, 2]))
    [[0, 1], [2]]
    """
    ahead, left, loops = permutation.tolist(), set(range(len(permutation))), []
    while left:
        cycle = [min(left)]
        left.discard(cycle[0])
        while ahead[cycle[-1]] in left:
            cycle.append(ahead[cycle[-1]])
            left.discard(cycle[-1])
        loops.append(cycle)
    return loops


def random_factors(symmetry: Symmetry, seed: int, largest: float = 2.0) -> Move:
    """Random factors from 1/largest to largest for all units that may be scaled, random signs where they may change."""
    drawn: dict[str, Tensor] = {}
    for name, group in symmetry.scales.groups.items():
        if group.fixed:
            continue
        draw = generator(seed, "factors", name)
        shape = (*symmetry.scales.copies(name), group.size)
        factors = torch.ones(shape, dtype=torch.float64)
        if group.positive:
            uniform = torch.rand(shape, generator=draw, dtype=torch.float64)
            factors = torch.exp((2 * uniform - 1) * math.log(largest))
        if group.negative:
            factors = factors * (2.0 * torch.randint(2, shape, generator=draw) - 1)
        drawn[name] = factors
    return Move(symmetry, factors=drawn)
